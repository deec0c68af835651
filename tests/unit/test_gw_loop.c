/* The loop: timers in order, descriptors, and what happens to those that go away; the map of UUIDs.
 */
#include <stdlib.h>
#include <unistd.h>

#include "gateway/loop.h"
#include "gateway/resolve.h"
#include "gateway/uuid_map.h"

#include "tap.h"

enum { MANY = 300 };

struct trace {
	struct loop *l;
	struct timer t[MANY];
	int64_t at[MANY];
	int n, stopped_fired;
};

struct one {
	struct trace *trace;
	int i;
};

static void
fire(void *ctx)
{
	struct one *o = ctx;

	o->trace->at[o->trace->n++] = o->trace->t[o->i].at_ms;
	if (o->i % 3 == 0)
		o->trace->stopped_fired++;
}

static void
end(void *ctx)
{
	loop_stop(ctx);
}

static void
test_timers(void)
{
	struct trace *tr = calloc(1, sizeof(*tr));
	struct one ones[MANY];
	struct timer last = {.fn = end};
	bool ordered = true;

	tr->l = loop_new();
	last.ctx = tr->l;
	for (int i = 0; i < MANY; i++) {
		ones[i] = (struct one){tr, i};
		tr->t[i] = (struct timer){.fn = fire, .ctx = &ones[i]};
		timer_set(tr->l, &tr->t[i], (i * 7919) % 40);
	}
	for (int i = 0; i < MANY; i += 3)
		timer_stop(tr->l, &tr->t[i]);
	timer_set(tr->l, &last, 60);
	loop_run(tr->l);
	is_int(tr->n, MANY - MANY / 3, "every timer that was left fired once");
	is_int(tr->stopped_fired, 0, "no stopped one");
	for (int i = 1; i < tr->n; i++)
		ordered = ordered && tr->at[i - 1] <= tr->at[i];
	ok(ordered, "in order");
	loop_free(tr->l);
	free(tr);
}

struct pair {
	struct loop *l;
	struct watch w[2];
	int fired;
};

/* Both ends are ready in the same turn; whoever comes first silences the other. */
static void
on_ready(void *ctx, uint32_t events)
{
	struct pair *p = ctx;

	(void)events;
	p->fired++;
	watch_stop(p->l, &p->w[0]);
	watch_stop(p->l, &p->w[1]);
	loop_stop(p->l);
}

static void
test_watch(void)
{
	struct pair p = {.l = loop_new()};
	int a[2], b[2];

	ok(pipe(a) == 0 && pipe(b) == 0, "pipes");
	p.w[0] = p.w[1] = (struct watch){.fn = on_ready, .ctx = &p};
	ok(write(a[1], "x", 1) == 1 && write(b[1], "x", 1) == 1, "both are readable");
	ok(watch_set(p.l, &p.w[0], a[0], EPOLLIN) && watch_set(p.l, &p.w[1], b[0], EPOLLIN),
	    "watched");
	loop_run(p.l);
	is_int(p.fired, 1, "an event of something stopped in the same turn is dropped");
	loop_free(p.l);
	for (int i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
}

struct lookup {
	struct loop *l;
	char address[RESOLVE_TEXT];
	int answers;
};

static void
on_address(void *ctx, const char *address)
{
	struct lookup *k = ctx;

	snprintf(k->address, sizeof(k->address), "%s", address ? address : "none");
	k->answers++;
	loop_stop(k->l);
}

static void
test_resolve(void)
{
	struct lookup k = {.l = loop_new()};
	struct resolver *r = resolver_new(k.l);
	struct timer limit = {.fn = end, .ctx = k.l};
	char out[RESOLVE_TEXT];

	ok(resolve_literal("192.0.2.7", out) && strcmp(out, "192.0.2.7") == 0,
	    "an address is itself");
	ok(resolve_literal("2001:db8::1", out), "of either family");
	ok(!resolve_literal("printer.lan", out) && !resolve_literal("1.2.3", out),
	    "a name is none");
	resolve_cancel(resolve_start(r, "localhost", on_address, &k));
	resolve_start(r, "localhost", on_address, &k);
	timer_set(k.l, &limit, 10000);
	loop_run(k.l);
	is_int(k.answers, 1, "one answer, none for what was cancelled");
	ok(strcmp(k.address, "127.0.0.1") == 0 || strcmp(k.address, "::1") == 0, "localhost is %s",
	    k.address);
	resolver_free(r);
	loop_free(k.l);
}

static void
test_map(void)
{
	enum { N = 1000 };
	struct uuid_map m = {0};
	static struct uuid keys[N];
	size_t at = 0, seen = 0;
	bool good = true;

	for (int i = 0; i < N; i++) {
		keys[i] = uuid_v7();
		uuid_map_put(&m, keys[i], &keys[i]);
	}
	uuid_map_put(&m, keys[0], &keys[0]);
	is_int(m.n, N, "each once");
	for (int i = 0; i < N; i += 2)
		good = good && uuid_map_take(&m, keys[i]) == &keys[i];
	ok(good && uuid_map_take(&m, keys[0]) == NULL, "taken once");
	for (int i = 0; i < N; i++)
		good = good && uuid_map_get(&m, keys[i]) == (i % 2 ? &keys[i] : NULL);
	ok(good, "the others are found");
	while (uuid_map_next(&m, &at))
		seen++;
	is_int(seen, N / 2, "the walk sees each");
	uuid_map_fini(&m);
	ok(uuid_map_get(&m, keys[1]) == NULL, "empty");
}

int
main(void)
{
	test_timers();
	test_watch();
	test_resolve();
	test_map();
	return tap_done();
}
