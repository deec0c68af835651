/* The driver of docs/drivers.md works: it is compiled and run against a printer of its kind. */
#include "docs/samples/acme.c"
#include "gateway/task.h"

#include "peer.h"
#include "tap.h"

static char ended[64];
static const struct status *seen;

static void
sink_touch(struct sink *k, struct status *s)
{
	(void)k;
	seen = s;
	s->changed = 0;
	s->n_events = s->n_prints = 0;
}

static void
sink_forget(struct sink *k, struct status *s)
{
	(void)k;
	(void)s;
	seen = NULL;
}

static void
sink_end(struct sink *k, struct uuid job, const struct task_end *end)
{
	(void)k;
	(void)job;
	snprintf(ended, sizeof(ended), "%d %s", end->outcome, end->code ? end->code : "");
}

static const struct sink_ops ops = {
    .touch = sink_touch, .forget = sink_forget, .task_end = sink_end};
static const struct driver *const table[DRIVERS_MOST] = {&acme_driver};

struct bench {
	struct loop *loop;
	struct timer look, limit;
	bool (*until)(void);
	bool in_time;
};

static void
on_look(void *ctx)
{
	struct bench *b = ctx;

	b->in_time = b->until();
	if (b->in_time)
		loop_stop(b->loop);
	else
		timer_set(b->loop, &b->look, 5);
}

static void
on_limit(void *ctx)
{
	struct bench *b = ctx;

	loop_stop(b->loop);
}

static bool
runs_until(struct bench *b, bool (*until)(void))
{
	b->until = until;
	b->look = (struct timer){.fn = on_look, .ctx = b};
	b->limit = (struct timer){.fn = on_limit, .ctx = b};
	timer_set(b->loop, &b->look, 0);
	timer_set(b->loop, &b->limit, 10000);
	loop_run(b->loop);
	timer_stop(b->loop, &b->look);
	timer_stop(b->loop, &b->limit);
	return b->in_time;
}

static bool
prints(void)
{
	return seen && seen->conn == CONN_CONNECTED && seen->record.state == PRINTER_PRINTING;
}

static bool
task_ended(void)
{
	return ended[0] != '\0';
}

static bool
refused(void)
{
	return seen && seen->reason == REASON_WRONG_ACCESS_CODE;
}

static struct session *
begin(struct gateway *g, const struct peer *peer, const char *secret)
{
	struct work w = {.org = uuid_v7(),
	    .printer = uuid_v7(),
	    .fencing = 1,
	    .name = STR("p"),
	    .protocol = STR("acme"),
	    .host = STR("127.0.0.1"),
	    .port = peer->port,
	    .secret = str_from(secret),
	    .enabled = true,
	    .conn = CONN_DISCONNECTED,
	    .reason = REASON_NO_GATEWAY};

	seen = NULL;
	return session_new(g, &w);
}

int
main(void)
{
	struct peer peer;
	struct sink sink = {&ops};
	struct bench b = {.loop = loop_new()};
	struct http *http = http_new(b.loop);
	struct driver_config dc = {.loop = b.loop, .http = http};
	struct gateway g = {.loop = b.loop,
	    .sink = &sink,
	    .drivers = table,
	    .envs = {acme_driver.init(&dc)},
	    .silence_ms = 60000,
	    .offline_ms = 60000,
	    .wifi_ms = 60000,
	    .seen_ms = 15000,
	    .patience_pct = 100};
	struct work_task pause = {.job = uuid_v7(),
	    .kind = STR("printer.command"),
	    .params = json_tokener_parse("{\"command\":\"pause\"}"),
	    .patience_ms = 10000};
	struct session *s;

	peer_start(&peer);
	s = begin(&g, &peer, "wrong");
	ok(runs_until(&b, refused), "a wrong key is told apart");
	session_free(s);
	s = begin(&g, &peer, "s3cret");
	ok(runs_until(&b, prints), "it connects and reports");
	is_z(seen->record.job.file, "boat.gcode", "what it prints");
	is_int(seen->record.job.progress, 42, "how far it is");
	is_int(seen->record.temperatures.nozzles[0].t.actual_dc, 2105, "how warm it is");
	tasks_take(session_tasks(s), &pause);
	ok(runs_until(&b, task_ended), "a command ends");
	is_z(ended, "0 ", "confirmed by the state");
	is_int(seen->record.state, PRINTER_PAUSED, "which is paused");
	session_free(s);
	json_object_put(pause.params);
	http_free(http);
	loop_free(b.loop);
	peer_stop(&peer);
	return tap_done();
}
