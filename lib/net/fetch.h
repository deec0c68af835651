/* The only way out: fetches an address that somebody else chose. Nothing but public addresses is
 * ever connected to, whatever a name resolves to, at the first request and at each redirect. */
#ifndef NET_FETCH_H
#define NET_FETCH_H

#include "base/str.h"

struct arena;

enum fetch_status {
	FETCH_OK,
	FETCH_BAD_URL,        /* not an https URL without user, with an allowed port */
	FETCH_BLOCKED,        /* leads to an address that is not public */
	FETCH_DNS_FAILED,
	FETCH_CONNECT_FAILED,
	FETCH_TLS_FAILED,
	FETCH_TIMEOUT,
	FETCH_TOO_LARGE,
	FETCH_TOO_MANY_REDIRECTS,
	FETCH_HTTP_ERROR, /* the answer's status is in http_status */
	FETCH_BROKEN,     /* the answer ended early or was no HTTP */
	FETCH_CANCELLED   /* the callback said stop */
};

struct fetch_request {
	struct str url;
	int64_t most_bytes;
	int64_t timeout_ms;
	int redirects_most;
	/* Bytes of the body, in order, when the status is 2xx. False: stop. */
	bool (*write)(void *ctx, const void *p, size_t n);
	/* Now and then; total 0 when unknown. False: stop. */
	bool (*progress)(void *ctx, int64_t done, int64_t total);
	void *ctx;
};

struct fetch_result {
	enum fetch_status status;
	int http_status;
	struct str content_type;
	struct str filename; /* of Content-Disposition, else the path's last segment; STR_NONE */
	int64_t size;
};

/* Settings that weaken the rules exist for tests only and are given when the process starts. */
struct fetch_rules {
	const char *ca_file;  /* NULL: the system's */
	const char *test_net; /* a network, "198.18.0.0/15", that counts as public; NULL */
	const char *test_dns; /* a DNS server, "127.0.0.1:5353"; NULL: the system's */
	bool http;            /* http:// too */
};

struct fetch;

/* NULL when the rules cannot be used. */
struct fetch *fetch_new(const struct fetch_rules *rules);
void fetch_free(struct fetch *f);

/* Blocks. The result's strings are in the arena. */
void fetch_run(struct fetch *f, struct arena *a, const struct fetch_request *in, struct fetch_result *out);
/* Closed list of codes for people and programs: "blocked_address", "dns_failed", "http_404" ... never an
 * address. In the arena. */
struct str fetch_reason(struct arena *a, const struct fetch_result *r);

/* True when a connection to this address may be made: sockaddr of AF_INET or AF_INET6. */
struct sockaddr;
bool fetch_address_public(const struct fetch_rules *rules, const struct sockaddr *sa);

#endif
