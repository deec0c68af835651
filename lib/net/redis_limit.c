#include "net/redis_limit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/uuid.h"
#include "gen/limit_lua.h"
#include "net/limit_local.h"

enum {
	BREAK_MS = 1000,   /* how long Redis is left alone after a failure, ±20 % */
	KEPT_S = 86400,    /* a key's limits are forgotten after a day without a request */
	UNKNOWN_KEYS = 30, /* per UNKNOWN_WINDOW_S and address */
	UNKNOWN_WINDOW_S = 60,
	HEX_SIZE = 2 * LIMIT_HASH_SIZE + 1,
	ADDR_SIZE = 48,
	SHA1_SIZE = 20,
};

/* The two buckets of a question: of the class and, for keys, of the burst, for logins, of the
 * address. */
static const struct plan {
	int place; /* of the class among a key's limits, 0: not a key's */
	int64_t login_limit, window_s, limit_address, window2_s;
} plans[] = {
    [LIMIT_READ] = {1, 0, 60, 0, 1},
    [LIMIT_WRITE] = {2, 0, 60, 0, 1},
    [LIMIT_CONTROL] = {3, 0, 60, 0, 1},
    [LIMIT_LOGIN] = {0, 10, 900, 50, 3600},
};

struct limiter {
	const char *path;
	char sha[2 * SHA1_SIZE + 1]; /* of the script */
	struct limit_local *local;
	redisContext *redis;   /* NULL: not connected */
	int64_t shut_until_us; /* the breaker: Redis is not asked before */
	bool away;             /* it has been logged that Redis does not answer */
	int64_t wait_us;       /* what the current request may still wait */

	bool asked;              /* the question is sent, its answer not fetched */
	int behind;              /* answers that come before it and interest nobody */
	struct limit_question q; /* addr is empty, see below */
	char hex[HEX_SIZE], addr[ADDR_SIZE];

	int64_t age_s; /* of the limits stored for q's key, -1: none are */
	struct limit_values stored;
};

/* --- set-up ------------------------------------------------------------------------------------
 */

static void
to_hex(char *out, const uint8_t *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*out++ = digits[p[i] >> 4];
		*out++ = digits[p[i] & 15];
	}
	*out = '\0';
}

struct limiter *
limiter_new(const char *path, int workers)
{
	struct limiter *l = calloc(1, sizeof *l);
	uint8_t sha[SHA1_SIZE];

	must(l != NULL);
	must(EVP_Digest(limit_lua, sizeof limit_lua - 1, sha, NULL, EVP_sha1(), NULL) == 1);
	to_hex(l->sha, sha, sizeof sha);
	l->path = path;
	l->local = limit_local_new(workers);
	return l;
}

static void
drop_connection(struct limiter *l)
{
	if (l->redis)
		redisFree(l->redis);
	l->redis = NULL;
	l->behind = 0;
}

void
limiter_free(struct limiter *l)
{
	if (!l)
		return;
	drop_connection(l);
	limit_local_free(l->local);
	free(l);
}

/* --- the breaker -------------------------------------------------------------------------------
 */

static bool
shut(const struct limiter *l)
{
	return l->shut_until_us && clock_mono_us() < l->shut_until_us;
}

static void
give_up(struct limiter *l)
{
	uint16_t jitter;

	random_bytes(&jitter, sizeof jitter);
	drop_connection(l);
	l->asked = false;
	l->shut_until_us = clock_mono_us() +
	    1000 * (BREAK_MS * 8 / 10 + jitter % (BREAK_MS * 4 / 10));
	if (!l->away)
		log_warn(
		    "redis does not answer, limits are judged locally", LOG_Z("socket", l->path));
	l->away = true;
}

static void
works(struct limiter *l)
{
	if (l->away)
		log_info("redis answers again", LOG_Z("socket", l->path));
	l->away = false;
	l->shut_until_us = 0;
}

/* --- the connection ----------------------------------------------------------------------------
 */

/* Waits within what the request has left. */
static bool
wait_for(struct limiter *l, short events)
{
	struct pollfd p = {.fd = l->redis->fd, .events = events};
	int rc = -1;

	while (rc < 0 && l->wait_us > 0) {
		struct timespec ts = {0, l->wait_us * 1000};
		int64_t from = clock_mono_us();

		rc = ppoll(&p, 1, &ts, NULL);
		l->wait_us -= clock_mono_us() - from;
		if (rc < 0 && errno != EINTR)
			return false;
	}
	return rc > 0;
}

static bool
connected(struct limiter *l)
{
	if (l->redis)
		return true;
	l->redis = redisConnectUnixNonBlock(l->path);
	if (l->redis && !l->redis->err)
		return true;
	drop_connection(l);
	return false;
}

static bool
flush(struct limiter *l)
{
	int done = 0;

	while (!done) {
		if (redisBufferWrite(l->redis, &done) != REDIS_OK ||
		    (!done && !wait_for(l, POLLOUT)))
			return false;
	}
	return true;
}

static redisReply *
next_reply(struct limiter *l)
{
	void *reply = NULL;
	bool first = true;

	while (!reply) {
		if (!first && !wait_for(l, POLLIN))
			return NULL;
		if (redisBufferRead(l->redis) != REDIS_OK ||
		    redisGetReplyFromReader(l->redis, &reply) != REDIS_OK)
			return NULL;
		first = false;
	}
	return reply;
}

/* The reply to what was sent last. */
static redisReply *
last_reply(struct limiter *l)
{
	void *reply = NULL;

	for (; l->behind > 0; l->behind--) {
		if (redisGetReplyFromReader(l->redis, &reply) == REDIS_OK && !reply)
			reply = next_reply(l);
		if (!reply)
			return NULL;
		freeReplyObject(reply);
		reply = NULL;
	}
	if (redisGetReplyFromReader(l->redis, &reply) == REDIS_OK && !reply)
		reply = next_reply(l);
	return reply;
}

/* --- the question ------------------------------------------------------------------------------
 */

/* An IPv6 client owns at least a /64: that is what counts as its address. */
static void
name_address(char out[ADDR_SIZE], struct str addr)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr six;

	snprintf(text, sizeof text, "%.*s", STR_ARG(addr));
	if (inet_pton(AF_INET6, text, &six) == 1 && !IN6_IS_ADDR_V4MAPPED(&six))
		to_hex(out, six.s6_addr, 8);
	else
		snprintf(out, ADDR_SIZE, "%s", text);
}

/* With the script's text when Redis does not know it yet. */
static bool
append_question(struct limiter *l, bool with_text)
{
	const struct plan *p = &plans[l->q.cls];
	int64_t first = p->place ? limit_of(&limit_defaults, l->q.cls) : p->login_limit;
	int64_t second = p->place ? limit_defaults.burst : p->limit_address;
	char bucket2[HEX_SIZE + ADDR_SIZE];

	if (p->place)
		snprintf(bucket2, sizeof bucket2, "{%s}:burst", l->hex);
	else
		snprintf(bucket2, sizeof bucket2, "login:%s", l->addr);
	return redisAppendCommand(l->redis,
		   "%s %s 4 rl:{%s}:limits rl:unknown:%s rl:{%s}:%s rl:%s ask %d %lld %lld %lld %lld %d %d",
		   with_text ? "EVAL" : "EVALSHA", with_text ? limit_lua : l->sha, l->hex, l->addr,
		   l->hex, limit_class_name(l->q.cls), bucket2, p->place, (long long)first,
		   (long long)p->window_s * 1000, (long long)second, (long long)p->window2_s * 1000,
		   UNKNOWN_KEYS, UNKNOWN_WINDOW_S * 1000) == REDIS_OK;
}

static bool
transmit(struct limiter *l, bool with_text)
{
	return connected(l) && append_question(l, with_text) && flush(l);
}

void
limiter_send(struct limiter *l, const struct limit_question *q)
{
	l->q = *q;
	l->q.addr = STR_NONE;
	to_hex(l->hex, q->key_hash, LIMIT_HASH_SIZE);
	name_address(l->addr, q->addr);
	l->age_s = -1;
	l->wait_us = LIMITER_WAIT_MS * 1000;
	l->behind += l->asked;
	l->asked = false;
	if (shut(l))
		return;
	l->asked = transmit(l, false);
	if (!l->asked && l->redis) {
		drop_connection(l); /* it was closed while nobody looked */
		l->asked = transmit(l, false);
	}
	if (!l->asked)
		give_up(l);
}

/* --- the answer --------------------------------------------------------------------------------
 */

static bool
says(const redisReply *r, const char *prefix)
{
	return r->type == REDIS_REPLY_ERROR && strncmp(r->str, prefix, strlen(prefix)) == 0;
}

/* One more try when the script is unknown or the connection was lost; none after the time is up. */
static redisReply *
fetch(struct limiter *l)
{
	redisReply *reply = last_reply(l);
	bool unknown = reply && says(reply, "NOSCRIPT");

	if (!unknown && (reply || l->wait_us <= 0))
		return reply;
	if (reply)
		freeReplyObject(reply);
	else
		drop_connection(l);
	reply = transmit(l, unknown) ? last_reply(l) : NULL;
	if (reply && says(reply, "NOSCRIPT")) {
		freeReplyObject(reply);
		reply = transmit(l, true) ? last_reply(l) : NULL;
	}
	return reply;
}

static int64_t
in_seconds(int64_t ms)
{
	return (ms + 999) / 1000;
}

enum {
	A_ALLOWED,
	A_WHO,
	A_RETRY_MS,
	A_QUOTAS,
	A_AGE = A_QUOTAS + 9,
	A_LIMITS,
	A_SIZE = A_LIMITS + 4
};

static bool
read_numbers(const redisReply *r, int64_t v[A_SIZE])
{
	if (r->type != REDIS_REPLY_ARRAY || r->elements != A_SIZE)
		return false;
	for (size_t i = 0; i < A_SIZE; i++) {
		if (r->element[i]->type != REDIS_REPLY_INTEGER)
			return false;
		v[i] = r->element[i]->integer;
	}
	return true;
}

static struct limit_quota
quota(const int64_t *v, int64_t window_s)
{
	return (struct limit_quota){v[0], window_s, v[1], in_seconds(v[2])};
}

static void
judge(const struct limiter *l, const int64_t v[A_SIZE], struct limit_verdict *out)
{
	const struct plan *p = &plans[l->q.cls];
	enum limit_policy who[] = {
	    LIMIT_BY_CLASS, p->place ? LIMIT_BY_BURST : LIMIT_BY_ADDRESS, LIMIT_BY_ADDRESS};

	*out = (struct limit_verdict){.allowed = true, .cls = l->q.cls};
	out->used = l->age_s >= 0 ? l->stored : limit_defaults;
	out->by_class = quota(v + A_QUOTAS, p->window_s);
	if (p->place) {
		out->by_second = quota(v + A_QUOTAS + 3, p->window2_s);
		out->by_address = quota(v + A_QUOTAS + 6, UNKNOWN_WINDOW_S);
	} else {
		out->by_address = quota(v + A_QUOTAS + 3, p->window2_s);
	}
	if (!v[A_ALLOWED])
		limit_refuse(out, who[v[A_WHO] == 1 ? 1 : v[A_WHO] == 2 ? 2 : 0], v[A_RETRY_MS]);
	out->reset_epoch_s = clock_unix_s() + limit_decisive(out)->reset_s;
}

void
limiter_answer(struct limiter *l, struct limit_verdict *out)
{
	redisReply *reply = l->asked ? fetch(l) : NULL;
	int64_t v[A_SIZE];
	bool ok = reply && read_numbers(reply, v);

	if (reply)
		freeReplyObject(reply);
	if (l->asked && !ok)
		give_up(l);
	l->asked = false;
	if (!ok) {
		limit_local_ask(l->local, &l->q, clock_mono_us(), out);
		return;
	}
	works(l);
	l->age_s = v[A_AGE];
	l->stored = (struct limit_values){
	    v[A_LIMITS], v[A_LIMITS + 1], v[A_LIMITS + 2], v[A_LIMITS + 3]};
	judge(l, v, out);
}

/* --- after the reply ---------------------------------------------------------------------------
 */

/* Sends what the socket takes at once; its answer comes before the next question's. */
static void
send_along(struct limiter *l, int appended)
{
	int done;

	l->behind++;
	if (appended != REDIS_OK || redisBufferWrite(l->redis, &done) != REDIS_OK)
		drop_connection(l);
}

void
limiter_learn(struct limiter *l, const struct limit_values *values)
{
	bool known = l->age_s >= 0 && l->age_s < LIMITER_FRESH_S &&
	    limit_values_equal(&l->stored, values);

	limit_local_learn(l->local, l->q.key_hash, values);
	if (known || shut(l) || l->asked || !l->redis)
		return;
	send_along(l,
	    redisAppendCommand(l->redis, "SET rl:{%s}:limits %lld,%lld,%lld,%lld,%lld EX %d",
		l->hex, (long long)values->read, (long long)values->write,
		(long long)values->control, (long long)values->burst, (long long)clock_unix_s(),
		KEPT_S));
}

void
limiter_charge_unknown(struct limiter *l)
{
	if (shut(l) || l->asked || !l->redis)
		return;
	send_along(l,
	    redisAppendCommand(l->redis, "EVALSHA %s 1 rl:unknown:%s charge %d %d", l->sha, l->addr,
		UNKNOWN_KEYS, UNKNOWN_WINDOW_S * 1000));
}

/* --- health ------------------------------------------------------------------------------------
 */

static bool
ping(struct limiter *l)
{
	redisReply *reply = NULL;
	bool ok = false;

	if (connected(l) && redisAppendCommand(l->redis, "PING") == REDIS_OK && flush(l))
		reply = last_reply(l);
	if (reply) {
		ok = reply->type == REDIS_REPLY_STATUS;
		freeReplyObject(reply);
	}
	return ok;
}

bool
limiter_alive(struct limiter *l)
{
	if (shut(l) || l->asked)
		return !l->away && l->redis != NULL;
	l->wait_us = LIMITER_WAIT_MS * 1000;
	if (ping(l))
		return true;
	drop_connection(l); /* it may have been closed while nobody looked */
	if (l->wait_us > 0 && ping(l))
		return true;
	give_up(l);
	return false;
}
