/* The publisher: events into the log, in one order, and on to those who look on through nginx. One
 * of all couriers leads. */
#include "courier/publish.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "courier/courier.h"
#include "gen/courier_sql.h"
#include "net/publish.h"

enum {
	LEAD_MS = 50,
	FOLLOW_MS = 250,
	BATCH_MOST = 1000,
	STREAM_BATCH = 200,
	POST_MS = 100, /* messages are posted so long, then events are published again */
	AWAY_MS = 500, /* while nginx is away */
	COMPLAIN_MS = 60000,
};
/* Another courier leads when this one has been silent for so long. */
static const struct str lease = STR_INIT("3 s");

struct publisher {
	struct courier *c;
	struct publish *nginx;         /* NULL: messages are dropped */
	struct str done[STREAM_BATCH]; /* what nginx has, as text in `arena` */
	size_t n_done;
	int64_t
	    batch; /* events at once: fewer when there are so many receivers that it takes long */
	struct arena *arena;
	int64_t post_at_ms, complain_at_ms;
};

static void
complain(struct publisher *p, const char *what)
{
	int64_t now = clock_mono_ms();

	if (now < p->complain_at_ms)
		return;
	p->complain_at_ms = now + COMPLAIN_MS;
	log_error(what, LOG_Z("why", publish_reason(p->nginx)));
}

/* False: later again. */
static bool
post(struct publisher *p, const struct query *q, int row)
{
	struct str channels = rows_get(q, row, "channels"), one;
	bool ok = true;

	if (!p->nginx)
		return true;
	if (str_eq(rows_get(q, row, "kind"), STR("event"))) {
		ok = publish_post(p->nginx, channels, rows_get(q, row, "payload"));
	} else {
		while (ok && channels.n) {
			one = str_cut(&channels, ',');
			ok = publish_end(p->nginx, one);
		}
	}
	if (ok)
		return true;
	if (publish_refused(p->nginx)) { /* the others need not wait for it */
		complain(p, "nginx refuses a message: it is left out");
		return true;
	}
	complain(p, "nginx takes no messages: they wait");
	p->post_at_ms = clock_mono_ms() + AWAY_MS;
	return false;
}

static void
post_all(struct publisher *p, const struct query *q)
{
	int64_t until_ms = clock_mono_ms() + POST_MS;
	int n = rows_count(q);

	arena_reset(p->arena);
	p->n_done = 0;
	for (int i = 0; i < n && clock_mono_ms() < until_ms && post(p, q, i); i++)
		p->done[p->n_done++] = str_dup(p->arena, rows_get(q, i, "n"));
}

static struct query *
add(struct publisher *p, struct query **list, const struct sql *sql)
{
	struct query *q = pg_query(p->c->scratch, sql);

	while (*list)
		list = &(*list)->next;
	*list = q;
	bind_uuid(q, p->c->id);
	return q;
}

/* One round trip: what was posted is done with, what has happened is published, what is to be
 * posted next is asked for. How long to wait until the next one. */
static int64_t
turn(struct publisher *p)
{
	struct query *list = NULL, *publish, *work = NULL, *q;
	int64_t asked = p->batch;

	arena_reset(p->c->scratch);
	if (p->n_done > 0) {
		q = add(p, &list, &SQL_stream_done);
		bind_str_array(q, p->done, p->n_done);
	}
	publish = q = add(p, &list, &SQL_publish);
	bind_str(q, lease);
	bind_i64(q, p->batch);
	if (clock_mono_ms() >= p->post_at_ms) {
		work = q = add(p, &list, &SQL_stream_work);
		bind_i64(q, STREAM_BATCH);
	}
	if (!courier_ask(p->c, list)) {
		p->batch = p->batch > 4 ? p->batch / 4 : 1;
		return FOLLOW_MS;
	}
	p->batch = p->batch < BATCH_MOST / 2 ? p->batch * 2 : BATCH_MOST;
	p->n_done = 0;
	if (rows_get(publish, 0, "failure").p)
		log_error("notification rules cannot be followed",
		    LOG_S("sqlstate", rows_get(publish, 0, "failure")));
	if (work)
		post_all(p, work);
	if (!rows_bool(publish, 0, "leads"))
		return FOLLOW_MS;
	if (p->nginx && clock_mono_ms() >= p->post_at_ms && !publish_tick(p->nginx))
		p->post_at_ms = clock_mono_ms() + AWAY_MS;
	return p->n_done > 0 || rows_i64(publish, 0, "published") >= asked ? 0 : LEAD_MS;
}

void
publish_work(struct courier *c)
{
	struct publisher p = {.c = c, .arena = arena_new(1 << 20), .batch = BATCH_MOST};

	if (*c->cfg->events_publish)
		p.nginx = publish_new(c->cfg->events_publish);
	while (courier_beat(c)) {
		int64_t wait_ms = turn(&p);

		if (wait_ms > 0)
			pg_wait(c->pg, proc_stop_fd(), wait_ms);
	}
	publish_free(p.nginx);
	arena_free(p.arena);
}
