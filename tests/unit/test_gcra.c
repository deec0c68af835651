#include "net/gcra.h"

#include "tap.h"

enum { S = 1000000 };

/* From an empty bucket, `taken` requests at once, then one more after wait_us. */
static const struct {
	int64_t limit, window_us;
	int taken;
	int64_t wait_us;
	bool want;
	int64_t remaining, reset_us, retry_us;
} cases[] = {
    {10, 60 * S, 0, 0, true, 9, 6 * S, 0},
    {10, 60 * S, 9, 0, true, 0, 60 * S, 0},
    {10, 60 * S, 10, 0, false, 0, 60 * S, 6 * S},
    {10, 60 * S, 10, 6 * S - 1, false, 0, 54 * S + 1, 1},
    {10, 60 * S, 10, 6 * S, true, 0, 60 * S, 0},
    {10, 60 * S, 10, 60 * S, true, 9, 6 * S, 0},
    {10, 60 * S, 10, 3600LL * S, true, 9, 6 * S, 0},
    {20, S, 19, 0, true, 0, S, 0},
    {20, S, 20, 0, false, 0, S, S / 20},
    {1, S, 1, 0, false, 0, S, S},
    {1, S, 1, S, true, 0, S, 0},
    {0, S, 0, 0, true, 0, S, 0},
};

static void
test_case(size_t i)
{
	int64_t now = 1000LL * S, tat = 0;
	struct gcra g;

	for (int k = 0; k < cases[i].taken; k++) {
		g = gcra_look(tat, now, cases[i].limit, cases[i].window_us);
		ok(g.allowed, "case %zu: request %d", i, k);
		tat = g.tat_us;
	}
	g = gcra_look(tat, now + cases[i].wait_us, cases[i].limit, cases[i].window_us);
	ok(g.allowed == cases[i].want, "case %zu: allowed", i);
	is_int(g.remaining, cases[i].remaining, "remaining");
	is_int(g.reset_us, cases[i].reset_us, "reset");
	is_int(g.retry_us, cases[i].retry_us, "retry");
}

/* Over any stretch of time: at most limit at once plus one per step. */
static void
test_rate(void)
{
	int64_t tat = 0;
	int taken = 0;

	for (int64_t now = 0; now < 120 * S; now += S / 7) {
		struct gcra g = gcra_look(tat, now, 30, 60 * S);

		if (!g.allowed)
			continue;
		tat = g.tat_us;
		taken++;
	}
	is_int(taken, 30 + 59, "two minutes of hammering at 30 per minute");
}

int
main(void)
{
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		test_case(i);
	test_rate();
	return tap_done();
}
