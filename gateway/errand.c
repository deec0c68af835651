#include "gateway/errand.h"

#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "base/buf.h"
#include "base/log.h"
#include "gateway/discover.h"
#include "gateway/reading.h"

enum {
	TRY_MS = 25000,
	RESULT_BYTES = 4096,
	SEARCH_S = 5,
	SEARCH_MOST_S = 30,
	FOUND_MOST = 200,
	FOUND_BYTES = 128 * 1024,
};

/* A connection test: a session of its own, with a sink that only looks. Or a search. */
struct errand {
	struct sink sink; /* first: the session's */
	struct errands *es;
	struct errand *next;
	struct discover *search;
	struct buf found; /* JSON of what was found */
	int n_found;
	struct gateway gateway; /* as the real one, but for the sink */
	struct session *session;
	const struct status *status;
	struct timer timer; /* the deadline, then the end */
	struct uuid job;
};

struct errands {
	struct gateway *g;
	const char *discovery, *interface;
	struct errand *first;
};

struct errands *
errands_new(struct gateway *g, const char *discovery, const char *interface)
{
	struct errands *es = calloc(1, sizeof(*es));

	must(es != NULL);
	es->g = g;
	es->discovery = discovery;
	es->interface = interface;
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
	if (e->search)
		discover_cancel(e->search);
	buf_fini(&e->found);
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

static struct errand *
errand_new(struct errands *es, const struct work_task *w)
{
	struct errand *e = calloc(1, sizeof(*e));

	must(e != NULL);
	e->sink.ops = &looking;
	e->es = es;
	e->gateway = *es->g;
	e->gateway.sink = &e->sink;
	e->job = w->job;
	e->timer = (struct timer){.fn = on_end, .ctx = e};
	e->next = es->first;
	es->first = e;
	return e;
}

static void
try_connection(struct errands *es, const struct work_task *w)
{
	struct errand *e = errand_new(es, w);
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

	reading_i64(reading_member(w->params, "port"), &work.port);
	timer_set(e->gateway.loop, &e->timer, TRY_MS);
	e->session = session_new(&e->gateway, &work);
}

static void
refuse(struct errands *es, const struct work_task *w, const char *code, const char *message)
{
	struct task_end end = {TASK_FAILED, code, message, STR_NONE};

	es->g->sink->ops->task_end(es->g->sink, w->job, &end);
}

/* --- searching ---------------------------------------------------------------------------------
 */

static void
on_found(void *ctx, const struct discovered *d)
{
	struct errand *e = ctx;

	if (e->n_found == FOUND_MOST)
		return;
	buf_str(&e->found, e->n_found++ ? STR(",{\"port\":") : STR("{\"port\":"));
	if (d->port)
		buf_json_i64(&e->found, d->port);
	else
		buf_str(&e->found, STR("null"));
	put_member(&e->found, "protocol", d->protocol);
	put_member(&e->found, "host", d->host);
	put_member(&e->found, "serial", d->serial);
	put_member(&e->found, "model", d->model);
	put_member(&e->found, "name", d->name);
	put_member(&e->found, "firmware", d->firmware);
	buf_char(&e->found, '}');
}

static void
on_searched(void *ctx)
{
	struct errand *e = ctx;
	struct sink *sink = e->es->g->sink;
	struct task_end end = {.outcome = TASK_SUCCEEDED};

	e->search = NULL;
	buf_str(&e->found, STR("]}"));
	must(!e->found.overflow);
	end.result = (struct str){e->found.p, e->found.n};
	sink->ops->task_end(sink, e->job, &end);
	errand_free(e);
}

/* What is nearby is nobody's secret to those whom the operator trusts with it. */
static bool
may_search(const struct errands *es, struct uuid org)
{
	struct str rest = str_from(es->discovery);
	char id[UUID_TEXT_LEN + 1];

	uuid_text(org, id);
	while (rest.n) {
		struct str one = str_cut(&rest, ',');

		if (str_eq(one, STR("all")) || str_ieq(one, str_from(id)))
			return true;
	}
	return false;
}

static void
search(struct errands *es, const struct work_task *w)
{
	struct discover_config cfg = {0};
	struct errand *e;
	int64_t seconds = SEARCH_S;

	if (!may_search(es, w->org)) {
		refuse(es, w, "discovery_not_allowed",
		    "This gateway does not search its network for this organization.");
		return;
	}
	reading_i64(reading_member(w->params, "seconds"), &seconds);
	cfg.interface = es->interface[0] ? es->interface : NULL;
	cfg.ms = (seconds < 1 ? 1 : seconds > SEARCH_MOST_S ? SEARCH_MOST_S : seconds) * 1000;
	e = errand_new(es, w);
	buf_init(&e->found, FOUND_BYTES);
	buf_str(&e->found, STR("{\"printers\":["));
	e->search = discover_start(e->gateway.loop, &cfg, on_found, on_searched, e);
	if (e->search)
		return;
	refuse(es, w, "discovery_failed", "The gateway cannot search its network.");
	errand_free(e);
}

void
errands_take(struct errands *es, const struct work_task *w)
{
	if (str_eq(w->kind, STR("printer.test")))
		try_connection(es, w);
	else if (str_eq(w->kind, STR("printer.discover")))
		search(es, w);
	else if (str_eq(w->kind, STR("printer.command")) || str_eq(w->kind, STR("printer.send")))
		refuse(es, w, "outcome_unknown", "The printer went to another gateway meanwhile.");
	else
		refuse(
		    es, w, "unsupported_by_gateway", "This gateway does not know how to do this.");
}
