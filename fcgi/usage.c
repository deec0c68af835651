#include "usage.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "query.h"
#include "state.h"

enum { USAGE_SLOTS = 256, USAGE_EVERY_MS = 60000, ADDR_LEN = 48 };

struct usage_slot {
	struct uuid org_id, key_id;
	const char *operation; /* the route's, static */
	char addr[ADDR_LEN];
	int64_t count, written_ms;
};

struct usage {
	struct usage_slot slots[USAGE_SLOTS];
	size_t victim; /* the slot to be taken when all are in use */
};

struct usage *
usage_new(void)
{
	struct usage *u = calloc(1, sizeof(*u));

	must(u != NULL);
	return u;
}

void
usage_free(struct usage *u)
{
	free(u);
}

static void
write_slot(struct worker *w, struct arena *a, struct usage_slot *s)
{
	struct query *q = pg_query(a, &SQL_usage_add);
	struct pg_failure f;
	const struct err *e;

	bind_uuid(q, s->org_id);
	bind_uuid(q, s->key_id);
	bind_str(q, str_from(s->operation));
	bind_i64(q, s->count);
	bind_str(q, str_from(s->addr));
	s->written_ms = clock_mono_ms();
	e = pg_ready(w->pg);
	if (!e)
		e = pg_run(w->pg, a, q, PG_IMPLICIT, &f);
	if (e)
		log_warn(
		    "usage was not written", LOG_Z("error", e->code), LOG_I("count", s->count));
	else
		s->count = 0;
}

static bool
slot_is(const struct usage_slot *s, struct uuid key, const char *operation)
{
	return s->operation == operation && uuid_eq(s->key_id, key);
}

/* The slot of this key and operation; a slot of another one is written and taken over when all are
 * in use. */
static struct usage_slot *
find_slot(struct req *r)
{
	struct usage *u = r->w->usage;
	struct usage_slot *s = NULL;

	for (size_t i = 0; i < USAGE_SLOTS; i++) {
		if (slot_is(&u->slots[i], r->auth.key_id, r->route->operation))
			return &u->slots[i];
		if (!s && !u->slots[i].operation)
			s = &u->slots[i];
	}
	if (!s) {
		s = &u->slots[u->victim++ % USAGE_SLOTS];
		if (s->count)
			write_slot(r->w, r->arena, s);
	}
	*s = (struct usage_slot){
	    .org_id = r->auth.org_id,
	    .key_id = r->auth.key_id,
	    .operation = r->route->operation,
	    .written_ms = INT64_MIN / 2,
	};
	return s;
}

void
usage_count(struct req *r)
{
	struct usage_slot *s;

	if (!r->route || !r->auth.done)
		return;
	s = find_slot(r);
	s->count++;
	memset(s->addr, 0, sizeof(s->addr));
	if (r->remote_addr.n < ADDR_LEN)
		memcpy(s->addr, r->remote_addr.p, r->remote_addr.n);
	if (clock_mono_ms() - s->written_ms >= USAGE_EVERY_MS)
		write_slot(r->w, r->arena, s);
}

static void
flush_older(struct worker *w, struct arena *a, int64_t age_ms)
{
	int64_t now = clock_mono_ms();

	for (size_t i = 0; i < USAGE_SLOTS; i++) {
		struct usage_slot *s = &w->usage->slots[i];

		if (s->count && now - s->written_ms >= age_ms)
			write_slot(w, a, s);
	}
}

void
usage_tick(struct worker *w, struct arena *a)
{
	flush_older(w, a, USAGE_EVERY_MS);
}

void
usage_flush(struct worker *w, struct arena *a)
{
	flush_older(w, a, 0);
}
