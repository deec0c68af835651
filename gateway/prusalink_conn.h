/* One PrusaLink printer's connection: what the files of the driver share. */
#ifndef GATEWAY_PRUSALINK_CONN_H
#define GATEWAY_PRUSALINK_CONN_H

#include "gateway/http.h"
#include "gateway/http_url.h"
#include "gateway/prusalink_state.h"
#include "gateway/session.h"

enum { PRUSALINK_URL = 1024 };

struct prusalink {
	struct http *http;
	struct session *s;
	struct http_client *client; /* NULL: not connected */
	struct prusalink_state state;
	char address[RESOLVE_TEXT];
	int port;
	/* Who we are; docs/gateway.md tells how a secret is read. */
	char user[64]; /* of Digest */
	bool either;   /* the secret may be a password or a key */
	bool by_key;   /* it goes as X-Api-Key now */
	bool refused;  /* the other way has been refused since the last answer */
	/* Polling: one request at a time, commands in between. */
	struct http_call *poll; /* runs */
	struct timer timer;
	bool up, told;    /* told: a report came in this connection */
	int misses, bad;  /* in a row: no answer; answers that were none */
	int64_t hurry_ms; /* loop time until which the printer is asked more often */
	/* A command or start that waits for a status or runs. */
	struct http_call *order;
	bool order_waits, order_starts;
	char order_method[8], order_path[PRUSALINK_URL];
	int64_t job_before; /* the printer's job when the last start was ordered: not its own */
	/* The upload. */
	struct transfer *transfer;
	struct http_call *upload;
	bool upload_waits; /* for a status, whose nonce it then uses */
};

/* GET, PUT … of a path that is percent-encoded already. The request may be filled in before; NULL
 * when the path does not fit. */
struct http_call *prusalink_send(struct prusalink *p, struct http_request *r, const char *method,
    const char *path, http_done done);
/* Asks for a status as soon as nothing else runs. */
void prusalink_poll_now(struct prusalink *p);
/* A status has just come: sends what waits for one. */
void prusalink_next(struct prusalink *p);
/* Ends what runs and waits besides polling. */
void prusalink_drop_orders(struct prusalink *p);

/* Parts of the driver's table. */
void prusalink_command(void *d, const struct command *c);
void prusalink_upload(void *d, struct transfer *t);
void prusalink_start(void *d, struct transfer *t);
void prusalink_abort(void *d);
bool prusalink_is_job(const void *d, const struct transfer *t, const struct record *r);

#endif
