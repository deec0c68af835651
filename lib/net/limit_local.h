/* Rate limits while Redis is away: one process's own buckets, each holding the process's share of
 * the key's limits. The table is bounded; the bucket not used for longest gives way. */
#ifndef NET_LIMIT_LOCAL_H
#define NET_LIMIT_LOCAL_H

#include "net/limit.h"

struct limit_local;

/* workers: how many processes share the limits. */
struct limit_local *limit_local_new(int workers);
/* NULL is allowed. */
void limit_local_free(struct limit_local *l);

/* Remembers a key's limits; without, limit_defaults count. */
void limit_local_learn(
    struct limit_local *l, const uint8_t key_hash[LIMIT_HASH_SIZE], const struct limit_values *set);

/* Fills a degraded verdict. Logins are never served from here: refused, unavailable. */
void limit_local_ask(struct limit_local *l, const struct limit_question *q, int64_t now_us,
    struct limit_verdict *out);

#endif
