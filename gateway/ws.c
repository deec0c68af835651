#include "gateway/ws.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <wslay/wslay.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/http_call.h"
#include "gateway/ws_upgrade.h"

enum {
	MESSAGE_MOST = 1024 * 1024,
	QUEUED_MOST = 1024 * 1024,
	TURN_MOST = 256 * 1024, /* bytes read before others have their turn */
	CONNECT_MS = 10000,
	PING_MS = 15000,
	PONG_MS = 10000
};

struct ws {
	struct loop *loop;
	struct ws_handler h;
	void *ctx;
	struct http_call *call;
	struct watch watch;
	struct timer timer;         /* the upgrade's end; then the next ping or its pong's end */
	struct timer more;          /* what is read already makes no socket readable */
	struct ws_upgrade *upgrade; /* until it is answered */
	wslay_event_context_ptr frames; /* from then on */
	struct str left;                /* bytes behind the upgrade's answer, while they are read */
	size_t turn;                    /* bytes read in this turn */
	size_t most;
	int64_t pinged_us, heard_us; /* pinged_us 0: no ping is out */
	int ping_ms, pong_ms;
	int depth;
	bool dead;  /* freed once nothing of it runs */
	bool cut;   /* the connection is at its end */
	bool early; /* the turn ended before all was read */
};

/* --- its end ---------------------------------------------------------------------------------- */

static void
leave(struct ws *ws)
{
	if (--ws->depth > 0 || !ws->dead)
		return;
	if (ws->frames)
		wslay_event_context_free(ws->frames);
	free(ws);
}

/* The connection's part of the end. */
static void
drop(struct ws *ws)
{
	timer_stop(ws->loop, &ws->timer);
	timer_stop(ws->loop, &ws->more);
	watch_stop(ws->loop, &ws->watch);
	if (ws->call)
		http_cancel(ws->call);
	ws->call = NULL;
	ws_upgrade_free(ws->upgrade);
	ws->upgrade = NULL;
	ws->dead = true;
}

static void
end(struct ws *ws, enum http_fault fault, int status, int code, const char *words)
{
	struct ws_end e = {fault, status, code, words};

	if (ws->dead)
		return;
	drop(ws);
	ws->h.closed(ws->ctx, &e);
}

void
ws_close(struct ws *ws)
{
	if (!ws)
		return;
	ws->depth++;
	if (!ws->dead && ws->frames && !ws->cut) {
		wslay_event_queue_close(ws->frames, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0);
		wslay_event_send(ws->frames);
	}
	if (!ws->dead)
		drop(ws);
	leave(ws);
}

/* --- wslay's callbacks ------------------------------------------------------------------------ */

static ssize_t
on_recv(wslay_event_context_ptr frames, uint8_t *p, size_t n, int flags, void *ctx)
{
	struct ws *ws = ctx;
	ptrdiff_t got;

	(void)flags;
	if (ws->left.n > 0) {
		size_t some = n < ws->left.n ? n : ws->left.n;

		memcpy(p, ws->left.p, some);
		ws->left = (struct str){ws->left.p + some, ws->left.n - some};
		return (ssize_t)some;
	}
	ws->early = ws->turn >= TURN_MOST;
	got = ws->dead ? HTTP_CLOSED : ws->early ? HTTP_AGAIN : http_read(ws->call, p, n);
	if (got > 0) {
		ws->turn += (size_t)got;
		ws->heard_us = clock_mono_us();
		return got;
	}
	ws->cut |= got == HTTP_CLOSED;
	wslay_event_set_error(
	    frames, got == HTTP_AGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static ssize_t
on_send(wslay_event_context_ptr frames, const uint8_t *p, size_t n, int flags, void *ctx)
{
	struct ws *ws = ctx;
	ptrdiff_t put = ws->dead ? HTTP_CLOSED : http_write(ws->call, p, n);

	(void)flags;
	if (put > 0)
		return put;
	ws->cut |= put == HTTP_CLOSED;
	wslay_event_set_error(
	    frames, put == HTTP_AGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static int
on_mask(wslay_event_context_ptr frames, uint8_t *p, size_t n, void *ctx)
{
	(void)frames;
	(void)ctx;
	return getrandom(p, n, 0) == (ssize_t)n ? 0 : -1;
}

static void
on_message(wslay_event_context_ptr frames, const struct wslay_event_on_msg_recv_arg *m, void *ctx)
{
	struct ws *ws = ctx;

	(void)frames;
	if (ws->dead)
		return;
	if (m->opcode == WSLAY_PONG && ws->pinged_us > 0) {
		int64_t us = clock_mono_us() - ws->pinged_us;

		ws->pinged_us = 0;
		timer_set(ws->loop, &ws->timer, ws->ping_ms);
		if (ws->h.pong)
			ws->h.pong(ws->ctx, us);
	} else if (!wslay_is_ctrl_frame(m->opcode) && ws->h.message) {
		ws->h.message(ws->ctx, (struct str){(const char *)m->msg, m->msg_length});
	}
}

static const struct wslay_event_callbacks callbacks = {
    .recv_callback = on_recv,
    .send_callback = on_send,
    .genmask_callback = on_mask,
    .on_msg_recv_callback = on_message,
};

/* --- frames ----------------------------------------------------------------------------------- */

static void
closing(struct ws *ws)
{
	int code = wslay_event_get_status_code_received(ws->frames);
	int sent = wslay_event_get_status_code_sent(ws->frames);

	if (wslay_event_get_close_received(ws->frames))
		end(ws, HTTP_OK, 0, code, "closed by the peer");
	else if (sent == WSLAY_CODE_MESSAGE_TOO_BIG)
		end(ws, HTTP_TOO_LARGE, 0, 0, "a message is too large");
	else
		end(ws, HTTP_BROKEN, 0, 0,
		    ws->cut ? "the connection ended" : "not what a WebSocket sends");
}

/* Moves what can be moved, then waits for what is needed next. */
static void
move(struct ws *ws)
{
	uint32_t events = EPOLLIN | EPOLLRDHUP;
	int rc;

	ws->turn = 0;
	ws->early = false;
	rc = wslay_event_recv(ws->frames);
	if (ws->dead)
		return;
	if (rc == 0)
		rc = wslay_event_send(ws->frames);
	if (ws->dead)
		return;
	if (rc != 0 || ws->cut ||
	    (!wslay_event_want_read(ws->frames) && !wslay_event_want_write(ws->frames))) {
		closing(ws);
		return;
	}
	if (ws->early)
		timer_set(ws->loop, &ws->more, 0);
	if (wslay_event_want_write(ws->frames))
		events |= EPOLLOUT;
	if (!watch_set(ws->loop, &ws->watch, http_socket(ws->call), events))
		end(ws, HTTP_BROKEN, 0, 0, "the connection cannot be watched");
}

/* `left`: what came behind the upgrade's answer. */
static void
begin(struct ws *ws, struct str left)
{
	int rc = wslay_event_context_client_init(&ws->frames, &callbacks, ws);

	must(rc == 0);
	wslay_event_config_set_max_recv_msg_length(ws->frames, ws->most);
	ws->left = left;
	timer_set(ws->loop, &ws->timer, ws->ping_ms);
	if (ws->h.open)
		ws->h.open(ws->ctx);
	if (!ws->dead)
		move(ws);
	ws->left = STR_NONE;
}

static void
shake_hands(struct ws *ws)
{
	struct ws_upgrade *u = ws->upgrade;
	struct str left;

	switch (ws_upgrade_step(u, ws->call, &left)) {
	case UPGRADE_WRITE:
		watch_set(ws->loop, &ws->watch, http_socket(ws->call), EPOLLIN | EPOLLOUT);
		return;
	case UPGRADE_READ:
		watch_set(ws->loop, &ws->watch, http_socket(ws->call), EPOLLIN | EPOLLRDHUP);
		return;
	case UPGRADE_DONE:
		ws->upgrade = NULL;
		begin(ws, left);
		ws_upgrade_free(u);
		return;
	case UPGRADE_REFUSED:
		end(ws, HTTP_BROKEN, ws_upgrade_status(u), 0, "the upgrade was refused");
		return;
	case UPGRADE_BROKEN:
		end(ws, HTTP_BROKEN, 0, 0, "not the answer to an upgrade");
		return;
	}
}

static void
flow(struct ws *ws)
{
	ws->depth++;
	if (ws->frames)
		move(ws);
	else
		shake_hands(ws);
	leave(ws);
}

/* --- the loop --------------------------------------------------------------------------------- */

static void
on_socket(void *ctx, uint32_t events)
{
	(void)events;
	flow(ctx);
}

static void
on_more(void *ctx)
{
	flow(ctx);
}

static void
ping(struct ws *ws)
{
	struct wslay_event_msg m = {.opcode = WSLAY_PING};

	ws->pinged_us = clock_mono_us();
	timer_set(ws->loop, &ws->timer, ws->pong_ms);
	wslay_event_queue_msg(ws->frames, &m);
	move(ws);
}

static void
on_timer(void *ctx)
{
	struct ws *ws = ctx;

	ws->depth++;
	if (!ws->frames)
		end(ws, ws->watch.on ? HTTP_TIMEOUT : HTTP_UNREACHABLE, 0, 0,
		    "no answer to the upgrade");
	else if (ws->pinged_us > 0 && ws->heard_us < ws->pinged_us)
		end(ws, HTTP_TIMEOUT, 0, 0, "no answer to a ping");
	else
		ping(ws);
	leave(ws);
}

static void
on_connected(void *ctx, const struct http_reply *r)
{
	struct ws *ws = ctx;

	if (r->fault == HTTP_OK) {
		flow(ws);
		return;
	}
	ws->call = NULL;
	ws->depth++;
	end(ws, r->fault, 0, 0, r->words);
	leave(ws);
}

static int
or_else(int given, int usual)
{
	return given > 0 ? given : usual;
}

struct ws *
ws_open(struct http *http, struct http_client *c, const struct ws_options *o,
    const struct ws_handler *h, void *ctx)
{
	struct ws *ws = calloc(1, sizeof(*ws));
	int connect_ms = or_else(o->connect_ms, CONNECT_MS);

	must(ws != NULL);
	ws->loop = http->loop;
	ws->h = *h;
	ws->ctx = ctx;
	ws->watch = (struct watch){.fn = on_socket, .ctx = ws};
	ws->timer = (struct timer){.fn = on_timer, .ctx = ws};
	ws->more = (struct timer){.fn = on_more, .ctx = ws};
	ws->most = o->most ? o->most : MESSAGE_MOST;
	ws->ping_ms = or_else(o->ping_ms, PING_MS);
	ws->pong_ms = or_else(o->pong_ms, PONG_MS);
	ws->upgrade = ws_upgrade_new(c->agent, o);
	ws->call = http_connect(c,
	    &(struct http_request){
		.url = ws->upgrade ? o->url : "", .address = o->address, .connect_ms = connect_ms},
	    on_connected, ws);
	timer_set(ws->loop, &ws->timer, connect_ms);
	return ws;
}

bool
ws_is_open(const struct ws *ws)
{
	return ws && ws->frames && !ws->dead;
}

bool
ws_send(struct ws *ws, struct str text)
{
	struct wslay_event_msg m = {
	    .opcode = WSLAY_TEXT_FRAME, .msg = (const uint8_t *)text.p, .msg_length = text.n};

	if (!ws_is_open(ws) ||
	    wslay_event_get_queued_msg_length(ws->frames) + text.n > QUEUED_MOST ||
	    wslay_event_queue_msg(ws->frames, &m) != 0)
		return false;
	if (ws->depth == 0)
		timer_set(ws->loop, &ws->more, 0);
	return true;
}
