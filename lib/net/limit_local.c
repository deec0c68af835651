#include "net/limit_local.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "net/gcra.h"

enum { SETS = 128, WAYS = 8, ID_SIZE = 16, BURST = LIMIT_LOGIN };

struct bucket {
	uint8_t id[ID_SIZE]; /* the hash's beginning */
	bool taken;
	int64_t used; /* tick of the last use */
	struct limit_values limits;
	int64_t tat_us[LIMIT_LOGIN + 1]; /* by class; the burst's takes the place of login's */
};

struct limit_local {
	int workers;
	int64_t tick;
	struct bucket sets[SETS][WAYS];
};

struct limit_local *
limit_local_new(int workers)
{
	struct limit_local *l = calloc(1, sizeof *l);

	must(l && workers > 0);
	l->workers = workers;
	return l;
}

void
limit_local_free(struct limit_local *l)
{
	free(l);
}

static struct bucket *
find(struct limit_local *l, const uint8_t *hash, bool make)
{
	struct bucket *set = l->sets[hash[LIMIT_HASH_SIZE - 1] % SETS], *oldest = set;

	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].taken && memcmp(set[i].id, hash, ID_SIZE) == 0) {
			set[i].used = ++l->tick;
			return &set[i];
		}
		if (set[i].used < oldest->used)
			oldest = &set[i];
	}
	if (!make)
		return NULL;
	*oldest = (struct bucket){.taken = true, .used = ++l->tick, .limits = limit_defaults};
	memcpy(oldest->id, hash, ID_SIZE);
	return oldest;
}

void
limit_local_learn(
    struct limit_local *l, const uint8_t key_hash[LIMIT_HASH_SIZE], const struct limit_values *set)
{
	struct bucket *b = find(l, key_hash, !limit_values_equal(set, &limit_defaults));

	if (b)
		b->limits = *set;
}

static int64_t
share(const struct limit_local *l, int64_t limit)
{
	return (limit + l->workers - 1) / l->workers;
}

void
limit_local_ask(struct limit_local *l, const struct limit_question *q, int64_t now_us,
    struct limit_verdict *out)
{
	struct bucket *b;
	struct gcra cls, burst;

	*out = (struct limit_verdict){.degraded = true, .cls = q->cls};
	if (q->cls == LIMIT_LOGIN) {
		out->unavailable = true;
		limit_refuse(out, LIMIT_BY_CLASS, 1000);
		return;
	}
	b = find(l, q->key_hash, true);
	out->used = b->limits;
	cls = gcra_look(
	    b->tat_us[q->cls], now_us, share(l, limit_of(&b->limits, q->cls)), 60000000);
	burst = gcra_look(b->tat_us[BURST], now_us, share(l, b->limits.burst), 1000000);
	out->allowed = cls.allowed && burst.allowed;
	if (out->allowed) {
		b->tat_us[q->cls] = cls.tat_us;
		b->tat_us[BURST] = burst.tat_us;
		return;
	}
	if (cls.retry_us >= burst.retry_us)
		limit_refuse(out, LIMIT_BY_CLASS, cls.retry_us / 1000);
	else
		limit_refuse(out, LIMIT_BY_BURST, burst.retry_us / 1000);
}
