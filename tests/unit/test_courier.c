/* The courier's arithmetic and words, without a database. */
#include <string.h>

#include "base/arena.h"
#include "courier/courier.h"
#include "courier/job.h"
#include "tap.h"

static void
test_backoff(void)
{
	static const struct {
		int64_t base_ms;
		int attempt;
		uint16_t random;
		int64_t want_ms;
	} cases[] = {
	    {1000, 1, 0, 500},
	    {1000, 1, UINT16_MAX, 1500},
	    {1000, 2, 0, 1000},
	    {1000, 2, UINT16_MAX, 3000},
	    {1000, 5, 0, 8000},
	    {100, 1, 0, 50},
	    {1000, 12, 0, 1024000},
	    {1000, 13, 0, 1800000}, /* an hour is the most */
	    {1000, 100, 0, 1800000},
	    {1000, 100, UINT16_MAX, 5400000},
	    {7200000, 1, 0, 1800000},
	    {0, 1, UINT16_MAX, 0},
	    {0, 100, UINT16_MAX, 0},
	    {INT64_MAX / 2, 1000000, 0, 1800000},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t got = job_backoff_ms(cases[i].base_ms, cases[i].attempt, cases[i].random);

		ok(got == cases[i].want_ms, "backoff %zu: %lld", i, (long long)got);
	}
}

static void
test_params(void)
{
	struct job j = {
	    .params = json_tokener_parse("{\"s\":\"text\",\"e\":\"\",\"i\":-7,\"z\":null,\"f\":1.5,"
					 "\"big\":8589934592,\"list\":[1]}"),
	};

	ok(str_eq(job_param(&j, "s"), STR("text")), "a string");
	ok(job_param(&j, "e").p && job_param(&j, "e").n == 0, "an empty one");
	ok(!job_param(&j, "i").p && !job_param(&j, "z").p && !job_param(&j, "none").p &&
		!job_param(&j, "list").p,
	    "no strings");
	ok(job_param_i64(&j, "i") == -7 && job_param_i64(&j, "big") == 8589934592, "numbers");
	ok(job_param_i64(&j, "s") == 0 && job_param_i64(&j, "f") == 0 &&
		job_param_i64(&j, "none") == 0,
	    "no numbers");
	json_object_put(j.params);
	j.params = NULL;
	ok(!job_param(&j, "s").p && job_param_i64(&j, "i") == 0, "params that are no JSON");
}

static void
test_words(void)
{
	struct arena *a = arena_new(1 << 16);
	struct job j = {.arena = a};
	struct json_object *kept = json_object_new_object();

	job_error(&j, "too_large", "At most %d bytes.", 5);
	ok(str_eq(j.error_code, STR("too_large")), "the code");
	ok(str_eq(j.error_message, STR("At most 5 bytes.")), "the sentence");
	job_error(&j, "later", "%0600d", 1);
	ok(str_eq(j.error_code, STR("later")) && j.error_message.n == 499,
	    "the last one counts, cut");
	job_result(&j, json_object_new_int(1));
	job_result(&j, json_object_get(kept));
	ok(json_object_put(kept) == 0, "the result is kept");
	job_result(&j, NULL);
	ok(j.result == NULL, "and given back");
	arena_free(a);
}

static void
test_queue(void)
{
	static const struct sql one = {NULL, "SELECT 1", SQL_ONE, 0, NULL};
	struct arena *a = arena_new(1 << 16);
	struct job j = {.arena = a};
	struct query *first = job_query(&j, &one), *second = job_query(&j, &one);

	ok(j.first == first && first->next == second && !second->next, "in order");
	job_forget(&j);
	ok(!j.first && !j.last, "dropped");
	first = job_query(&j, &one);
	ok(j.first == first && !first->next, "from the start again");
	arena_free(a);
}

static void
test_tables(void)
{
	for (size_t i = 0; i < n_job_kinds; i++) {
		ok(job_kinds[i].name && job_kinds[i].run && job_kinds[i].backoff_ms > 0, "kind %zu",
		    i);
		for (size_t k = 0; k < i; k++)
			ok(strcmp(job_kinds[i].name, job_kinds[k].name) != 0, "once");
	}
	for (size_t i = 0; i < n_timers; i++)
		ok(timers[i].name && timers[i].run, "timer %zu", i);
}

int
main(void)
{
	test_backoff();
	test_params();
	test_words();
	test_queue();
	test_tables();
	return tap_done();
}
