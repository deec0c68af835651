#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "courier/courier.h"
#include "gen/courier_sql.h"

enum {
	LOOK_MS = 1000,
	PRUNE_MOST = 1000, /* rows of one statement */
};

#define PRUNE_AGE STR("30 days")
#define HISTORY_AGE STR("90 days")

static struct str
claim(struct courier *c)
{
	struct query *q;
	struct str *names;

	arena_reset(c->scratch);
	names = arena_array(c->scratch, n_timers, sizeof(*names));
	for (size_t i = 0; i < n_timers; i++)
		names[i] = str_from(timers[i].name);
	q = pg_query(c->scratch, &SQL_timer_claim);
	bind_str_array(q, names, n_timers);
	if (!courier_ask(c, q) || rows_count(q) == 0)
		return STR_NONE;
	return rows_get(q, 0, "name");
}

static const struct timer *
find(struct str name)
{
	for (size_t i = 0; i < n_timers; i++)
		if (str_eq(name, str_from(timers[i].name)))
			return &timers[i];
	return NULL;
}

void
timers_run(struct courier *c)
{
	int64_t now = clock_mono_ms();
	const struct timer *t;

	if (c->timers_at_ms && now - c->timers_at_ms < LOOK_MS)
		return;
	c->timers_at_ms = now;
	while (!proc_stop_asked() && (t = find(claim(c))) != NULL) {
		now = clock_mono_ms();
		log_debug("timer begins", LOG_Z("timer", t->name));
		t->run(c);
		if (!t->often)
			log_info("timer ran", LOG_Z("timer", t->name),
			    LOG_I("ms", clock_mono_ms() - now));
	}
}

/* One organisation's rows; false at the end, and when it went wrong. */
static bool
prune_next(struct courier *c, struct uuid *after, int64_t *jobs, int64_t *keys)
{
	struct query *q;

	arena_reset(c->scratch);
	q = pg_query(c->scratch, &SQL_jobs_prune);
	bind_uuid(q, *after);
	bind_str(q, PRUNE_AGE);
	bind_i64(q, PRUNE_MOST);
	if (!courier_ask(c, q) || !rows_get(q, 0, "next").p)
		return false;
	*after = rows_uuid(q, 0, "next");
	*jobs += rows_i64(q, 0, "jobs");
	*keys += rows_i64(q, 0, "keys");
	return true;
}

void
timer_jobs_prune(struct courier *c)
{
	struct uuid after = {{0}};
	int64_t jobs = 0, keys = 0;

	while (courier_beat(c) && prune_next(c, &after, &jobs, &keys))
		;
	if (jobs || keys)
		log_info("forgotten", LOG_I("jobs", jobs), LOG_I("idempotency_keys", keys));
}

static bool
prune_events_next(struct courier *c, struct uuid *after, int64_t gone[3])
{
	static const char *const columns[] = {"events", "deliveries", "messages"};
	struct query *q;

	arena_reset(c->scratch);
	q = pg_query(c->scratch, &SQL_events_prune);
	bind_uuid(q, *after);
	bind_i64(q, PRUNE_MOST);
	if (!courier_ask(c, q))
		return false;
	for (size_t i = 0; i < 3; i++)
		gone[i] += rows_i64(q, 0, columns[i]);
	if (!rows_get(q, 0, "next").p)
		return false;
	*after = rows_uuid(q, 0, "next");
	return true;
}

void
timer_events_prune(struct courier *c)
{
	struct uuid after = {{0}};
	int64_t gone[3] = {0};

	while (courier_beat(c) && prune_events_next(c, &after, gone))
		;
	if (gone[0] || gone[1] || gone[2])
		log_info("forgotten", LOG_I("events", gone[0]), LOG_I("deliveries", gone[1]),
		    LOG_I("messages", gone[2]));
}

void
timer_tasks_expire(struct courier *c)
{
	struct query *q;

	arena_reset(c->scratch);
	q = pg_query(c->scratch, &SQL_tasks_expire);
	if (courier_ask(c, q) && rows_i64(q, 0, "n") > 0)
		log_info("tasks of printers expired", LOG_I("tasks", rows_i64(q, 0, "n")));
}

void
timer_printer_history(struct courier *c)
{
	struct query *q;

	arena_reset(c->scratch);
	q = pg_query(c->scratch, &SQL_printer_history_months);
	bind_str(q, HISTORY_AGE);
	if (courier_ask(c, q) && (rows_i64(q, 0, "made") > 0 || rows_i64(q, 0, "dropped") > 0))
		log_info("months of history", LOG_I("made", rows_i64(q, 0, "made")),
		    LOG_I("dropped", rows_i64(q, 0, "dropped")));
}

/* One organisation's queue, in a transaction of its own. */
static bool
queue_next(struct courier *c, struct uuid *after)
{
	struct query *q;

	arena_reset(c->scratch);
	q = pg_query(c->scratch, &SQL_queue_tick);
	bind_uuid(q, *after);
	if (!courier_ask(c, q) || !rows_get(q, 0, "next").p)
		return false;
	*after = rows_uuid(q, 0, "next");
	if (rows_get(q, 0, "failure").p)
		log_error("a queue cannot be worked on", LOG_S("org_id", rows_get(q, 0, "next")),
		    LOG_S("sqlstate", rows_get(q, 0, "failure")));
	if (rows_i64(q, 0, "sent") > 0)
		log_info("queue items sent", LOG_S("org_id", rows_get(q, 0, "next")),
		    LOG_I("items", rows_i64(q, 0, "sent")));
	return true;
}

void
timer_queue(struct courier *c)
{
	struct uuid after = {{0}};

	while (courier_beat(c) && queue_next(c, &after))
		;
}
