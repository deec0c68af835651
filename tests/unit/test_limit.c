/* Rate limits: response headers, and the local buckets. */
#include "base/arena.h"
#include "net/limit_local.h"
#include "tap.h"

enum { S = 1000000 };

static struct arena *arena;

static const struct limit_verdict plain = {
    .allowed = true,
    .cls = LIMIT_READ,
    .by_class = {100, 60, 95, 42},
    .by_second = {20, 1, 19, 1},
    .reset_epoch_s = 1705331400,
};

static struct str
header(const struct limit_verdict *v, const char *name)
{
	struct limit_header h[LIMIT_HEADERS_MOST];
	size_t n = limit_headers_render(arena, v, h);

	for (size_t i = 0; i < n; i++) {
		if (strcmp(h[i].name, name) == 0)
			return h[i].value;
	}
	return STR_NONE;
}

static void
test_headers_allowed(void)
{
	is_str(header(&plain, "RateLimit-Policy"), STR("\"read\";q=100;w=60, \"burst\";q=20;w=1"),
	    "policy");
	is_str(header(&plain, "RateLimit"), STR("\"read\";r=95;t=42, \"burst\";r=19;t=1"), "state");
	is_str(header(&plain, "X-RateLimit-Limit"), STR("100"), "limit");
	is_str(header(&plain, "X-RateLimit-Remaining"), STR("95"), "remaining");
	is_str(header(&plain, "X-RateLimit-Reset"), STR("1705331400"), "reset");
	is_str(header(&plain, "X-RateLimit-Resource"), STR("read"), "resource");
}

static void
test_headers_refused(void)
{
	struct limit_verdict v = plain;

	v.by_second.remaining = 0;
	limit_refuse(&v, LIMIT_BY_BURST, 1);
	is_str(header(&v, "X-RateLimit-Limit"), STR("20"), "the refusing policy counts");
	is_str(header(&v, "X-RateLimit-Remaining"), STR("0"), "nothing left");
	is_z(v.policy, "burst", "name");
	is_int(v.retry_after_s, 1, "at least a second");
	ok(!v.allowed, "refused");

	v = (struct limit_verdict){.cls = LIMIT_WRITE, .by_address = {30, 60, 0, 60}};
	limit_refuse(&v, LIMIT_BY_ADDRESS, 1001);
	is_str(header(&v, "RateLimit-Policy"), STR("\"address\";q=30;w=60"), "only the address");
	is_str(header(&v, "X-RateLimit-Limit"), STR("30"), "its limit");
	is_str(header(&v, "X-RateLimit-Resource"), STR("write"), "what was asked for");
	is_int(v.retry_after_s, 2, "rounded up");
}

static void
test_headers_degraded(void)
{
	struct limit_verdict v = plain;
	struct limit_header h[LIMIT_HEADERS_MOST];

	v.degraded = true;
	is_int(limit_headers_render(arena, &v, h), 0, "no headers when nothing is known");
}

static void
test_limits(void)
{
	struct limit_values a = limit_defaults, b = limit_defaults;

	is_int(limit_of(&a, LIMIT_READ), 100, "read");
	is_int(limit_of(&a, LIMIT_WRITE), 30, "write");
	is_int(limit_of(&a, LIMIT_CONTROL), 10, "control");
	is_int(limit_of(&a, LIMIT_LOGIN), 0, "login is not a key's");
	ok(limit_values_equal(&a, &b), "equal");
	b.burst++;
	ok(!limit_values_equal(&a, &b), "not equal");
	is_z(limit_class_name(LIMIT_CONTROL), "control", "name");
	is_z(limit_class_name(LIMIT_LOGIN), "login", "name");
}

/* --- local buckets --- */

static struct limit_question
question(int key, enum limit_class cls)
{
	struct limit_question q = {.cls = cls};

	memcpy(q.key_hash, &key, sizeof key);
	q.key_hash[LIMIT_HASH_SIZE - 1] = (uint8_t)key;
	return q;
}

static int
taken_at(struct limit_local *l, int key, enum limit_class cls, int64_t now_us)
{
	struct limit_question q = question(key, cls);
	struct limit_verdict v;
	int n = 0;

	for (limit_local_ask(l, &q, now_us, &v); v.allowed && n < 1000; n++)
		limit_local_ask(l, &q, now_us, &v);
	return n;
}

static void
test_local_share(void)
{
	struct limit_local *l = limit_local_new(4);
	struct limit_values own = {.read = 1000, .write = 80, .control = 10, .burst = 4000};
	struct limit_question q = question(1, LIMIT_READ);

	is_int(taken_at(l, 1, LIMIT_READ, 1000LL * S), 5, "a quarter of the burst");
	is_int(taken_at(l, 1, LIMIT_READ, 1001LL * S), 5, "again a second later");
	is_int(taken_at(l, 1, LIMIT_CONTROL, 1002LL * S), 3, "a quarter of ten, rounded up");
	limit_local_learn(l, question(2, LIMIT_READ).key_hash, &own);
	is_int(taken_at(l, 2, LIMIT_WRITE, 1000LL * S), 20, "a quarter of its own limit");
	is_int(taken_at(l, 2, LIMIT_READ, 1000LL * S), 250, "each class by itself");
	limit_local_learn(l, q.key_hash, &own);
	is_int(taken_at(l, 1, LIMIT_READ, 1100LL * S), 250, "learned later");
	limit_local_free(l);
}

static void
test_local_refusal(void)
{
	struct limit_local *l = limit_local_new(1);
	struct limit_question q = question(1, LIMIT_CONTROL);
	struct limit_verdict v;

	is_int(taken_at(l, 1, LIMIT_CONTROL, 1000LL * S), 10, "all of it for a single process");
	limit_local_ask(l, &q, 1000LL * S, &v);
	ok(v.degraded && !v.allowed && !v.unavailable, "refused");
	is_z(v.policy, "control", "by its class");
	is_int(v.retry_after_s, 6, "until one comes back");
	q = question(3, LIMIT_READ);
	is_int(taken_at(l, 3, LIMIT_READ, 1000LL * S), 20, "burst");
	limit_local_ask(l, &q, 1000LL * S, &v);
	is_z(v.policy, "burst", "by the burst");
	q = question(4, LIMIT_LOGIN);
	limit_local_ask(l, &q, 1000LL * S, &v);
	ok(!v.allowed && v.unavailable, "logins are never served from here");
	limit_local_free(l);
}

/* However many keys come by, memory stays as it is and a busy key keeps its bucket. */
static void
test_local_bounded(void)
{
	struct limit_local *l = limit_local_new(1);
	int taken = 0;

	for (int key = 1; key < 20000; key++) {
		struct limit_question q = question(key, LIMIT_READ),
				      busy = question(0, LIMIT_CONTROL);
		struct limit_verdict v;

		limit_local_ask(l, &q, 1000LL * S, &v);
		limit_local_ask(l, &busy, 1000LL * S, &v);
		taken += v.allowed;
	}
	is_int(taken, 10, "the busy key was not forgotten");
	limit_local_free(l);
	limit_local_free(NULL);
}

int
main(void)
{
	arena = arena_new(1 << 16);
	test_headers_allowed();
	test_headers_refused();
	test_headers_degraded();
	test_limits();
	test_local_share();
	test_local_refusal();
	test_local_bounded();
	arena_free(arena);
	return tap_done();
}
