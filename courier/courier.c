#include "courier/courier.h"

#include <unistd.h>

#include "auth/seal.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "courier/publish.h"
#include "courier/send.h"
#include "gen/courier_sql.h"
#include "store/s3.h"
#include "store/store.h"

enum {
	POLL_MS = 1000, /* without a notification: jobs fall due, and poolers pass none on */
	ALIVE_MS = 5000,
	CONNECT_MS = 5000,
	ANSWER_MS = 15000, /* statements end after 5 s by themselves */
	SHORT_ANSWER_MS = 6000,
	KEY_MOST = 4096,
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

/* Without the key there is work to do all the same: what it would open waits. */
static bool
open_key(struct courier *c)
{
	struct str pem;

	if (!*c->cfg->key)
		return true;
	pem = config_file(c->arena, c->cfg->key, KEY_MOST);
	c->key = pem.p ? seal_private_new(pem) : NULL;
	if (!c->key)
		log_error("the courier's private key cannot be used", LOG_Z("path", c->cfg->key));
	return true;
}

static void
do_jobs(struct courier *c)
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
}

/* --- what a process is for -------------------------------------------------------------------- */

struct role {
	bool (*open)(struct courier *c); /* NULL: needs nothing */
	void (*work)(struct courier *c); /* until the process ends */
	const char *listen;
	int64_t answer_ms;
};

static const struct role publisher = {NULL, publish_work, NULL, SHORT_ANSWER_MS};
static const struct role sender = {open_key, send_work, NULL, SHORT_ANSWER_MS};
static const struct role worker = {open_store, do_jobs, "job_ready", ANSWER_MS};

int64_t
courier_processes(const struct courier_config *cfg)
{
	return 1 + cfg->senders + cfg->workers;
}

static const struct role *
role_of(const struct courier_config *cfg, int slot)
{
	if (slot == 0)
		return &publisher;
	return slot <= cfg->senders ? &sender : &worker;
}

static bool
start(struct courier *c, const struct courier_config *cfg, const struct role *role, int slot)
{
	const struct pg_config pg = {
	    .conninfo = cfg->db,
	    .sets = &courier_sql,
	    .n_sets = 1,
	    .unnamed = cfg->unnamed,
	    .connect_timeout_ms = CONNECT_MS,
	    .answer_timeout_ms = role->answer_ms,
	    .listen = role->listen,
	};
	char host[64] = "";

	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	*c = (struct courier){.cfg = cfg, .id = uuid_v7()};
	c->arena = arena_new(ARENA_MOST);
	c->scratch = arena_new(SCRATCH_MOST);
	c->name = str_fmt(c->arena, "%s/%.100s/%d", host, cfg->name, slot);
	c->pg = pg_new(&pg);
	return !role->open || role->open(c);
}

static void
finish(struct courier *c)
{
	s3_free(c->s3);
	store_close(c->store);
	seal_private_free(c->key);
	pg_free(c->pg);
	arena_free(c->scratch);
	arena_free(c->arena);
}

int
courier_work(const struct courier_config *cfg, const struct proc_worker *w)
{
	const struct role *role = role_of(cfg, w->slot);
	struct courier c;
	bool ok = start(&c, cfg, role, w->slot);

	if (ok) {
		proc_worker_ready(w->ready_fd);
		role->work(&c);
		leave(&c);
	}
	finish(&c);
	return ok ? 0 : 1;
}
