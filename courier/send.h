/* The sender: one process that keeps many deliveries under way at once. What it works with, and one
 * attempt from the claim to its result. */
#ifndef COURIER_SEND_H
#define COURIER_SEND_H

#include <curl/curl.h>

#include "base/buf.h"
#include "base/uuid.h"
#include "courier/mail.h"
#include "net/fetch_guard.h"

struct seal_private;
struct sender;

enum {
	SEND_TIMEOUT_MS = 15000,
	SEND_READ_MOST = 64 << 10, /* bytes of an answer; more are not waited for */
	SEND_HEAD = 1024,          /* bytes of an answer that are kept */
};

/* What every attempt needs; borrowed. complain_at_ms: when the log may be told again that
 * something is misconfigured, monotonic. */
struct send_tools {
	const struct fetch_rules *rules; /* NULL: they cannot be used */
	const struct seal_private *key;  /* NULL: nothing sealed can be opened */
	struct mail_config mail;
	int64_t complain_at_ms;
};

/* One attempt. Texts are in its arena, as the database gave them; sealed ones are bytes. */
struct delivery {
	struct arena *arena;
	struct sender *owner;
	struct delivery *next, **link; /* the sender's list */
	bool message;                  /* of a notification rule; else of a webhook */
	struct uuid id, org_id, endpoint_id, event_id;
	int64_t fencing;
	struct str channel, url, body, headers_sealed, target_sealed;
	struct str secrets, recipients, content; /* JSON */

	/* Under way. */
	CURL *easy;
	struct curl_slist *headers;
	struct mail mail;
	bool by_mail;
	struct fetch_guard guard;
	int signatures;
	int64_t began_ms; /* monotonic */
	char head[SEND_HEAD];
	size_t head_n, read; /* bytes of the answer: kept, come */
	bool enough;         /* the rest of it is not wanted */
};

/* What became of it. */
struct send_end {
	int status;            /* of HTTP; 0: no answer came */
	struct str error;      /* a code; STR_NONE: it was taken */
	bool permanent;        /* it will never be */
	int64_t retry_after_s; /* -1: nothing was said */
	int64_t latency_ms;
	struct str head; /* STR_NONE: not kept */
};

/* Makes the handle, ready to run. False: nothing can be sent, *end says why. */
bool send_prepare(struct send_tools *t, struct delivery *d, struct send_end *end);
/* Reads the end off the handle. */
void send_ended(struct delivery *d, CURLcode code, struct send_end *end);
/* One element of the array that sec.deliveries_finish takes, in d's arena. */
struct str send_result(const struct delivery *d, const struct send_end *end);
/* Frees handle, headers and mail; secrets are wiped. */
void send_release(struct delivery *d);

/* --- parts, for their tests ------------------------------------------------------------------- */

/* Seconds of a Retry-After header, at most a day; -1 when it says nothing. */
int64_t send_retry_after(struct str value, int64_t now_s);
/* What may be shown of an answer's first bytes: text of a type that is text, whole characters. */
struct str send_shown(const char *content_type, struct str bytes);
/* May this header be added to ours? */
bool send_header_ok(struct str name, struct str value);

/* --- the process ------------------------------------------------------------------------------ */

struct courier;
void send_work(struct courier *c);

#endif
