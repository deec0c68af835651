/* The websocket /sockjs/websocket, whose frames are bare JSON: subscribe, log in, listen. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "gateway/octoprint_link.h"
#include "gateway/reading.h"

enum {
	RETRY_LEAST_MS = 2000,
	RETRY_MOST_MS = 60000,
	MESSAGE_MOST = 1024 * 1024, /* the first one carries half an hour of temperatures */
};

/* Events that something follows from; of the terminal, lines that set fans and speed. */
#define SUBSCRIBE                                                                                          \
	"{\"subscribe\":{\"state\":{\"logs\":\"Send: (N\\\\d+ )?M(106|107|220)\\\\b\","                    \
	"\"messages\":false},\"events\":[\"FileSelected\",\"PrintStarted\",\"PrintDone\",\"PrintFailed\"," \
	"\"PrintCancelled\",\"PrinterStateChanged\",\"Disconnected\",\"Error\",\"FirmwareData\"],"         \
	"\"plugins\":false}}"
/* One "current" message in so many half seconds, at most. */
#define THROTTLE "{\"throttle\":4}"

void
octo_push_end(struct octo *o)
{
	ws_close(o->ws);
	o->ws = NULL;
	o->authed = false;
}

/* Polling goes on alone; the next attempt comes ever later. */
static void
give_up(struct octo *o)
{
	octo_push_end(o);
	o->push_wait_ms = o->push_wait_ms == 0    ? RETRY_LEAST_MS
	    : o->push_wait_ms > RETRY_MOST_MS / 2 ? RETRY_MOST_MS
						  : o->push_wait_ms * 2;
	o->asked = true;
	o->push_at = loop_now(session_gateway(o->s)->loop) + o->push_wait_ms;
	octo_poll_in(o, 0);
}

static void
on_pong(void *ctx, int64_t round_trip_us)
{
	struct octo *o = ctx;

	session_round_trip(o->s, round_trip_us);
}

static void
on_closed(void *ctx, const struct ws_end *end)
{
	struct octo *o = ctx;

	(void)end;
	o->ws = NULL;
	give_up(o);
}

static void
on_login(void *ctx, const struct http_reply *r)
{
	struct octo *o = ctx;
	struct json_object *v = NULL;
	char who[300], text[400];
	struct buf b;

	o->calls[CALL_LOGIN] = NULL;
	if (r->fault == HTTP_OK && r->status == 200)
		v = reading_object(o->env->tokener, r->body);
	if (!o->ws || !octo_login(v, who, sizeof(who))) {
		json_object_put(v);
		give_up(o);
		return;
	}
	json_object_put(v);
	buf_init(&b, sizeof(text) * 2);
	buf_str(&b, STR("{\"auth\":"));
	buf_json_str(&b, str_from(who));
	buf_char(&b, '}');
	o->authed = ws_send(o->ws, buf_view(&b));
	explicit_bzero(b.p, b.n);
	buf_fini(&b);
	explicit_bzero(who, sizeof(who));
	if (!o->authed)
		give_up(o);
}

static void
log_in(struct octo *o)
{
	struct buf b;

	o->authed = false;
	if (o->calls[CALL_LOGIN])
		return;
	buf_init(&b, 32);
	buf_str(&b, STR("{\"passive\":true}"));
	octo_call(o, CALL_LOGIN, "/api/login", &b, on_login);
	buf_fini(&b);
}

static void
on_open(void *ctx)
{
	struct octo *o = ctx;

	if (ws_send(o->ws, STR(SUBSCRIBE)) && ws_send(o->ws, STR(THROTTLE)))
		log_in(o);
	else
		give_up(o);
}

static void
on_message(void *ctx, struct str data)
{
	struct octo *o = ctx;
	struct gateway_counters *count = &session_gateway(o->s)->counters;
	int64_t start = clock_mono_us();
	struct json_object *v = reading_object(o->env->tokener, data);
	enum octo_push what = v ? octo_take_push(&o->state, v) : OCTO_IGNORED;

	json_object_put(v);
	count->report_bytes += (int64_t)data.n;
	count->parse_us += clock_mono_us() - start;
	if (what == OCTO_REPORT || what == OCTO_EVENT) {
		o->pushed_ms = loop_now(session_gateway(o->s)->loop);
		o->push_wait_ms = 0;
		o->stale_poll = true;
		octo_report(o);
	} else if (what == OCTO_ASK) {
		o->stale_poll = o->asked = true;
		octo_poll_in(o, 0);
	} else if (what == OCTO_DOUBT) { /* answers on their way are newer than it */
		o->asked = true;
		octo_poll_in(o, 0);
	} else if (what == OCTO_REAUTH) {
		log_in(o);
	} else if (what == OCTO_IGNORED) {
		count->ignored++;
	}
}

void
octo_push_begin(struct octo *o)
{
	static const struct ws_handler handler = {
	    .open = on_open, .message = on_message, .pong = on_pong, .closed = on_closed};
	struct ws_options options = {.most = MESSAGE_MOST};
	char url[200];

	if (o->ws || loop_now(session_gateway(o->s)->loop) < o->push_at ||
	    !http_url(
		url, sizeof(url), "http", session_host(o->s), o->port, "", "/sockjs/websocket"))
		return;
	options.url = url;
	options.address = o->address;
	o->ws = ws_open(o->env->http, o->reads, &options, &handler, o);
}
