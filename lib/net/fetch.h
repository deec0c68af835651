/* The only way out: fetches an address that somebody else chose. Nothing but public addresses is
 * ever connected to, whatever a name resolves to, at the first request and at each redirect. */
#ifndef NET_FETCH_H
#define NET_FETCH_H

#include "base/str.h"

struct arena;
struct sockaddr;

enum fetch_status {
	FETCH_OK,
	FETCH_BAD_URL, /* not an https URL without user and fragment, with an allowed port */
	FETCH_BLOCKED, /* leads to an address that is not public, or to this service itself */
	FETCH_DNS_FAILED,
	FETCH_CONNECT_FAILED,
	FETCH_TLS_FAILED,
	FETCH_TIMEOUT, /* also when bytes only trickle */
	FETCH_TOO_LARGE,
	FETCH_TOO_MANY_REDIRECTS,
	FETCH_HTTP_ERROR, /* the answer's status is in http_status */
	FETCH_ENCODED,    /* compressed although that was not asked for */
	FETCH_BROKEN,     /* the answer ended early or was no HTTP */
	FETCH_CANCELLED   /* a callback said stop */
};

struct fetch_request {
	struct str url;
	int64_t most_bytes;
	int64_t timeout_ms; /* for everything, redirects included */
	int redirects_most;
	/* Bytes of the body, in order, when the status is 2xx. False: stop. */
	bool (*write)(void *ctx, const void *p, size_t n);
	/* Now and then, at least once a second; total 0 when unknown. False: stop. NULL: never. */
	bool (*progress)(void *ctx, int64_t done, int64_t total);
	void *ctx;
};

struct fetch_result {
	enum fetch_status status;
	int http_status;         /* of the last answer; 0 when there was none */
	struct str content_type; /* as sent; STR_NONE */
	struct str filename;     /* of Content-Disposition, else STR_NONE; see fetch_filename */
	int64_t size;
};

/* Given when the process starts. NULL and "" mean the same. */
struct fetch_rules {
	const char *ca_file; /* NULL: the system's */
	const char *own_url; /* the service's public URL; its host is not fetched from */
	/* More of that sort, names and networks by commas: "print.example.com,192.0.2.0/24,
	 * 2001:db8::7". This machine's addresses always count. */
	const char *deny;
	/* For unit tests, no program sets it: a network, "127.66.0.0/16", that counts as public. */
	const char *test_net;
	bool http; /* http:// too; never as a redirect from https:// */
};

struct fetch;

/* Borrows the rules and their strings. NULL when they cannot be used; the reason is logged. */
struct fetch *fetch_new(const struct fetch_rules *rules);
void fetch_free(struct fetch *f);

/* Blocks. The result's strings are in the arena. */
void fetch_run(
    struct fetch *f, struct arena *a, const struct fetch_request *in, struct fetch_result *out);

/* What there is to say about it, as a closed list of codes: "blocked_address", "dns_failed",
 * "http_404" ... and a sentence. Neither ever tells an address. In the arena. */
struct str fetch_reason(struct arena *a, const struct fetch_result *r);
struct str fetch_sentence(struct arena *a, const struct fetch_result *r);
/* May the same request go well later? */
bool fetch_transient(const struct fetch_result *r);

/* --- what is judged, for those who must say no before anything is fetched --- */

struct fetch_url {
	struct str text;     /* normalised: what is requested */
	struct str host;     /* lower case, an IPv6 address in brackets */
	struct str filename; /* the path's last segment when it can be one; STR_NONE */
	int port;
	bool http;
};

/* The policy on URLs; asks no network. FETCH_OK, FETCH_BAD_URL or FETCH_BLOCKED. In the arena. */
enum fetch_status fetch_url_check(
    const struct fetch_rules *rules, struct arena *a, struct str url, struct fetch_url *out);

/* Is it an address that anybody may be sent to? AF_INET or AF_INET6; nothing else is. */
bool fetch_address_public(const struct fetch_rules *rules, const struct sockaddr *sa);

/* The file name of a Content-Disposition header (RFC 6266), made harmless: STR_NONE when there is
 * none. fetch_filename makes harmless what came from elsewhere: no folders, no control characters,
 * valid UTF-8, at most 255 characters. */
struct str fetch_disposition(struct arena *a, struct str header);
struct str fetch_filename(struct arena *a, struct str name);

#endif
