/* WebSocket (RFC 6455) as a client: libcurl connects, our own upgrade, wslay's frames. No
 * compression. Pings keep it alive and find out when the peer is dead. */
#ifndef GATEWAY_WS_H
#define GATEWAY_WS_H

#include "gateway/http.h"

struct ws;

struct ws_options {
	const char *url;     /* http or https; wss is https */
	const char *address; /* as in http_request */
	const struct http_header *headers;
	size_t n_headers;
	size_t most;    /* bytes of a message; 0: 1 MiB */
	int connect_ms; /* until the upgrade is answered; 0: 10 s */
	int ping_ms;    /* between two pings; 0: 15 s */
	int pong_ms;    /* not a byte for so long after a ping: dead; 0: 10 s */
};

/* Why it ended. HTTP_OK: the peer closed it in good order, `code` says why. */
struct ws_end {
	enum http_fault fault;
	int status;        /* of HTTP, when the upgrade was refused; else 0 */
	int code;          /* of the peer's close frame; 0: none came */
	const char *words; /* for logs */
};

/* Any may be NULL but `closed`. */
struct ws_handler {
	void (*open)(void *ctx);
	/* A whole message; text is valid UTF-8. Borrowed. */
	void (*message)(void *ctx, struct str data);
	void (*pong)(void *ctx, int64_t round_trip_us);
	/* Told once, never before ws_open has returned; the socket is gone with it. */
	void (*closed)(void *ctx, const struct ws_end *end);
};

/* Borrows the client (for agent, certificates and closing with it, which is not told: call ws_close
 * before http_client_free) and the handler, copies the options. */
struct ws *ws_open(struct http *http, struct http_client *c, const struct ws_options *o,
    const struct ws_handler *h, void *ctx);
/* Sends a text message as soon as possible. False: it is not open, or the peer takes nothing. */
bool ws_send(struct ws *ws, struct str text);
bool ws_is_open(const struct ws *ws);
/* Says goodbye if there is somebody to say it to. Nothing is told any more. NULL is allowed. */
void ws_close(struct ws *ws);

#endif
