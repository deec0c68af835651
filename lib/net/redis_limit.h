/* Rate limits in Redis: one script call per request, over a unix socket. Redis holds nothing whose
 * loss matters.
 *
 * A request never waits more than LIMITER_WAIT_MS for Redis, connecting included. Once Redis does
 * not answer, no request asks it for about a second; meanwhile this process judges by its own share
 * of the limits (verdict.degraded), and logins are refused (verdict.unavailable). */
#ifndef NET_REDIS_LIMIT_H
#define NET_REDIS_LIMIT_H

#include "net/limit.h"

enum { LIMITER_WAIT_MS = 20, LIMITER_FRESH_S = 60 };

struct limiter;

/* path: borrowed. workers: how many processes share the limits while Redis is away. Connects when
 * first asked. */
struct limiter *limiter_new(const char *path, int workers);
/* NULL is allowed. */
void limiter_free(struct limiter *l);

/* Sends the question; other work can be done until limiter_answer is called. An answer that nobody
 * fetched is dropped by the next question. */
void limiter_send(struct limiter *l, const struct limit_question *q);
/* Waits for the answer; there is always one. */
void limiter_answer(struct limiter *l, struct limit_verdict *out);

/* These two are to be called after the reply; they wait for nothing.
 * The limits that are in force for the key of the last question: call it after every request of a
 * key that exists, it sends something only when Redis does not know them, or has not been told for
 * LIMITER_FRESH_S. */
void limiter_learn(struct limiter *l, const struct limit_values *values);
/* The key of the last question does not exist: counts against the address. */
void limiter_charge_unknown(struct limiter *l);

/* For the health route: Redis answers, within LIMITER_WAIT_MS. */
bool limiter_alive(struct limiter *l);

#endif
