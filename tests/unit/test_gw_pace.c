/* So many at once, then one every so often. */
#include "gateway/pace.h"

#include "tap.h"

static void
test_take(void)
{
	static const struct pace_limits limits = {10000, 3};
	struct pace p = {0};
	int64_t now = 1000000000;

	for (int i = 0; i < 3; i++)
		is_int(pace_take(&p, &limits, now), 0, "at once");
	for (int i = 1; i < 50; i++)
		is_int(pace_take(&p, &limits, now), i * 10000, "in turn");
	is_int(pace_take(&p, &limits, now + 500000), 0, "when the last one is over: now");
	is_int(pace_take(&p, &limits, now + 500000), 10000, "a gap after the one before");
	for (int i = 0; i < 3; i++)
		is_int(pace_take(&p, &limits, now + 900000000), 0, "a rest does not save up more");
	is_int(pace_take(&p, &limits, now + 900000000), 10000, "than the burst");
}

static void
test_try(void)
{
	static const struct pace_limits limits = {10000, 2};
	struct pace p = {0};

	ok(pace_try(&p, &limits, 50000) && pace_try(&p, &limits, 50000), "two");
	for (int i = 0; i < 10; i++)
		ok(!pace_try(&p, &limits, 50000), "no more");
	ok(pace_try(&p, &limits, 60000), "refusals take no place");
}

static void
test_without_limits(void)
{
	struct pace_limits none = {0, 0};
	struct pace p = {0};

	for (int i = 0; i < 100; i++)
		is_int(pace_take(&p, &none, 5), 0, "no limit");
}

int
main(void)
{
	test_take();
	test_try();
	test_without_limits();
	return tap_done();
}
