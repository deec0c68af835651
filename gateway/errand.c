#include "gateway/errand.h"

#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "base/buf.h"
#include "base/log.h"
#include "gateway/reading.h"

enum { TRY_MS = 25000, RESULT_BYTES = 4096 };

/* A session of its own, with a sink that only looks. */
struct errand {
	struct sink sink; /* first: the session's */
	struct errands *es;
	struct errand *next;
	struct gateway gateway; /* as the real one, but for the sink */
	struct session *session;
	const struct status *status;
	struct timer timer; /* the deadline, then the end */
	struct uuid job;
};

struct errands {
	struct gateway *g;
	struct errand *first;
};

struct errands *
errands_new(struct gateway *g)
{
	struct errands *es = calloc(1, sizeof(*es));

	must(es != NULL);
	es->g = g;
	return es;
}

static void
errand_free(struct errand *e)
{
	struct errand **at = &e->es->first;

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	timer_stop(e->gateway.loop, &e->timer);
	if (e->session)
		session_free(e->session);
	free(e);
}

void
errands_free(struct errands *es)
{
	if (!es)
		return;
	while (es->first)
		errand_free(es->first);
	free(es);
}

/* --- what came of it ---------------------------------------------------------------------------
 */

static void
put_member(struct buf *b, const char *name, const char *z)
{
	buf_fmt(b, ",\"%s\":", name);
	if (z && z[0])
		buf_json_str(b, str_from(z));
	else
		buf_str(b, STR("null"));
}

static void
put_result(struct buf *b, const struct status *s)
{
	bool connected = s && s->conn == CONN_CONNECTED;
	enum conn_reason reason = s && s->reason != REASON_NONE ? s->reason : REASON_NONE;

	if (!connected && reason == REASON_NONE)
		reason = REASON_UNREACHABLE;
	buf_fmt(b, "{\"connected\":%s", connected ? "true" : "false");
	put_member(b, "reason", conn_reason_name(reason));
	put_member(b, "message", conn_reason_message(reason));
	put_member(b, "state", connected ? printer_state_name(s->record.state) : NULL);
	put_member(b, "product", connected ? s->record.extra.product : NULL);
	put_member(
	    b, "firmware", connected && s->record.firmware ? s->record.firmware->version : NULL);
	if (connected && s->round_trip_us)
		buf_fmt(b, ",\"round_trip_ms\":%.1f}", (double)s->round_trip_us / 1000);
	else
		buf_str(b, STR(",\"round_trip_ms\":null}"));
}

static void
on_end(void *ctx)
{
	struct errand *e = ctx;
	struct sink *sink = e->es->g->sink;
	struct task_end end = {.outcome = TASK_SUCCEEDED};
	struct buf b;

	buf_init(&b, RESULT_BYTES);
	put_result(&b, e->status);
	must(!b.overflow);
	end.result = (struct str){b.p, b.n};
	sink->ops->task_end(sink, e->job, &end);
	buf_fini(&b);
	errand_free(e);
}

/* --- the looking sink --------------------------------------------------------------------------
 */

static void
touch(struct sink *k, struct status *s)
{
	struct errand *e = (struct errand *)k;

	e->status = s;
	s->changed = 0;
	s->n_events = 0;
	s->n_prints = 0;
	if (s->conn == CONN_CONNECTED ||
	    (s->conn == CONN_DISCONNECTED && s->reason != REASON_NO_GATEWAY))
		timer_set(e->gateway.loop, &e->timer, 0); /* not from within the session */
}

static void
forget(struct sink *k, struct status *s)
{
	struct errand *e = (struct errand *)k;

	(void)s;
	e->status = NULL;
}

static const struct sink_ops looking = {.touch = touch, .forget = forget};

/* --- beginning ---------------------------------------------------------------------------------
 */

static struct str
member(struct json_object *params, const char *name)
{
	struct json_object *v = reading_member(params, name);

	if (!json_object_is_type(v, json_type_string))
		return STR_NONE;
	return (struct str){json_object_get_string(v), (size_t)json_object_get_string_len(v)};
}

static void
try_connection(struct errands *es, const struct work_task *w)
{
	struct errand *e = calloc(1, sizeof(*e));
	struct work work = {
	    .org = w->org,
	    .printer = w->job,
	    .name = STR("connection test"),
	    .protocol = member(w->params, "protocol"),
	    .model = member(w->params, "model"),
	    .host = member(w->params, "host"),
	    .serial = member(w->params, "serial"),
	    .secret = w->secret,
	    .enabled = true,
	    .conn = CONN_DISCONNECTED,
	    .reason = REASON_NO_GATEWAY,
	};

	must(e != NULL);
	reading_i64(reading_member(w->params, "port"), &work.port);
	e->sink.ops = &looking;
	e->es = es;
	e->gateway = *es->g;
	e->gateway.sink = &e->sink;
	e->job = w->job;
	e->timer = (struct timer){.fn = on_end, .ctx = e};
	e->next = es->first;
	es->first = e;
	timer_set(e->gateway.loop, &e->timer, TRY_MS);
	e->session = session_new(&e->gateway, &work);
}

static void
refuse(struct errands *es, const struct work_task *w, const char *code, const char *message)
{
	struct task_end end = {TASK_FAILED, code, message, STR_NONE};

	es->g->sink->ops->task_end(es->g->sink, w->job, &end);
}

void
errands_take(struct errands *es, const struct work_task *w)
{
	if (str_eq(w->kind, STR("printer.test")))
		try_connection(es, w);
	else if (str_eq(w->kind, STR("printer.command")) || str_eq(w->kind, STR("printer.send")))
		refuse(es, w, "outcome_unknown", "The printer went to another gateway meanwhile.");
	else
		refuse(
		    es, w, "unsupported_by_gateway", "This gateway does not know how to do this.");
}
