#include "courier/courier.h"

#include <unistd.h>

#include "base/clock.h"
#include "gen/courier_sql.h"
#include "store/s3.h"
#include "store/store.h"

enum {
	POLL_MS = 1000, /* without a notification: jobs fall due, and poolers pass none on */
	ALIVE_MS = 5000,
	CONNECT_MS = 5000,
	ANSWER_MS = 15000, /* statements end after 5 s by themselves */
	ARENA_MOST = 1 << 20,
	SCRATCH_MOST = 16 << 20,
};

bool
courier_ask(struct courier *c, struct query *list)
{
	struct pg_failure f;

	return pg_ready(c->pg) == NULL && pg_run(c->pg, list->arena, list, PG_IMPLICIT, &f) == NULL;
}

bool
courier_beat(struct courier *c)
{
	int64_t now = clock_mono_ms();
	struct query *q;

	if (c->beat_at_ms && now - c->beat_at_ms < ALIVE_MS)
		return !proc_stop_asked();
	c->beat_at_ms = now;
	arena_reset(c->scratch);
	q = pg_query(c->scratch, &SQL_courier_beat);
	bind_uuid(q, c->id);
	bind_str(q, c->name);
	courier_ask(c, q);
	return !proc_stop_asked();
}

static void
leave(struct courier *c)
{
	struct query *q;

	arena_reset(c->scratch);
	q = pg_query(c->scratch, &SQL_courier_leave);
	bind_uuid(q, c->id);
	courier_ask(c, q);
}

static bool
open_store(struct courier *c)
{
	struct s3_config *s3 = ARENA_NEW(c->arena, struct s3_config);

	if (!s3_config_load(c->arena, s3))
		return false;
	c->s3_config = s3;
	if (s3->on)
		c->s3 = s3_new(s3, 0);
	if (!*c->cfg->storage)
		return true;
	c->store = store_open(c->cfg->storage);
	return c->store != NULL;
}

static bool
start(struct courier *c, const struct courier_config *cfg, int slot)
{
	const struct pg_config pg = {
	    .conninfo = cfg->db,
	    .sets = &courier_sql,
	    .n_sets = 1,
	    .unnamed = cfg->unnamed,
	    .connect_timeout_ms = CONNECT_MS,
	    .answer_timeout_ms = ANSWER_MS,
	    .listen = "job_ready",
	};
	char host[64] = "";

	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	*c = (struct courier){.cfg = cfg, .id = uuid_v7()};
	c->arena = arena_new(ARENA_MOST);
	c->scratch = arena_new(SCRATCH_MOST);
	c->name = str_fmt(c->arena, "%s/%.100s/%d", host, cfg->name, slot);
	c->pg = pg_new(&pg);
	return open_store(c);
}

static void
finish(struct courier *c)
{
	s3_free(c->s3);
	store_close(c->store);
	pg_free(c->pg);
	arena_free(c->scratch);
	arena_free(c->arena);
}

static void
work(struct courier *c)
{
	struct job *j;

	while (courier_beat(c)) {
		timers_run(c);
		j = job_claim(c);
		if (j) {
			job_do(j);
			job_free(j);
		} else {
			pg_wait(c->pg, proc_stop_fd(), POLL_MS);
		}
	}
	leave(c);
}

int
courier_work(const struct courier_config *cfg, const struct proc_worker *w)
{
	struct courier c;
	bool ok = start(&c, cfg, w->slot);

	if (ok) {
		proc_worker_ready(w->ready_fd);
		work(&c);
	}
	finish(&c);
	return ok ? 0 : 1;
}
