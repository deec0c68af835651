/* Arenas, buffers, clocks, UUIDs, settings, log levels. */
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/uuid.h"
#include "tap.h"

static char order[8];

static void
note(void *p)
{
	strncat(order, p, sizeof(order) - strlen(order) - 1);
}

static void
test_arena(void)
{
	struct arena *a = arena_new(1 << 20);
	char *first = arena_alloc(a, 10), one[] = "1", two[] = "2";
	unsigned char *z;
	bool clear = true;

	ok((uintptr_t)first % 16 == 0 && (uintptr_t)arena_alloc(a, 1) % 16 == 0,
	    "allocations are aligned");
	arena_defer(a, note, one);
	arena_defer(a, note, two);
	z = arena_zalloc(a, 100000);
	for (size_t i = 0; i < 100000; i++)
		clear = clear && z[i] == 0;
	ok(clear, "arena_zalloc clears a block of its own");
	ok(arena_used(a) >= 100000, "arena_used counts");
	arena_reset(a);
	is_z(order, "21", "cleanups run newest first");
	is_int(arena_used(a), 0, "a reset arena is empty");
	ok(arena_alloc(a, 10) == (void *)first, "and uses its first block again");
	arena_free(a);
	arena_free(NULL);
}

static const struct {
	struct str in, want;
} strings[] = {
    {STR_INIT(""), STR_INIT("\"\"")},
    {STR_INIT("plain"), STR_INIT("\"plain\"")},
    {STR_INIT("a\"b\\c"), STR_INIT("\"a\\\"b\\\\c\"")},
    {STR_INIT("\n\r\t\b\f"), STR_INIT("\"\\n\\r\\t\\b\\f\"")},
    {STR_INIT("\x01\x1f"), STR_INIT("\"\\u0001\\u001f\"")},
    {STR_INIT("\0"), STR_INIT("\"\\u0000\"")},
    {STR_INIT("\xC3\xA9\xF0\x9F\x96\xA8"), STR_INIT("\"\xC3\xA9\xF0\x9F\x96\xA8\"")},
    {STR_INIT("x\xFFy"), STR_INIT("\"x\xEF\xBF\xBDy\"")},
    {STR_INIT("\xC3"), STR_INIT("\"\xEF\xBF\xBD\"")},
};

static void
test_buf(void)
{
	struct buf b;

	buf_init(&b, 64);
	TAP_EACH(strings, c)
	{
		buf_clear(&b);
		buf_json_str(&b, c->in);
		is_str(buf_view(&b), c->want, "a JSON string");
	}
	buf_clear(&b);
	buf_json_i64(&b, INT64_MIN);
	buf_json_i64(&b, 0);
	buf_json_i64(&b, 42);
	is_str(buf_view(&b), STR("-9223372036854775808042"), "JSON integers");
	buf_clear(&b);
	for (int i = 0; i < 100; i++)
		buf_fmt(&b, "%d,", i);
	ok(b.overflow && b.n <= 64, "the cap holds");
	buf_char(&b, 'x');
	ok(b.overflow, "and stays");
	buf_fini(&b);
}

static void
test_time_and_ids(struct arena *a)
{
	struct uuid u, v = uuid_v7();
	char text[UUID_TEXT_LEN + 1];
	int64_t ms = clock_unix_ms(), in_id = 0;

	is_str(clock_rfc3339(a, 0), STR("1970-01-01T00:00:00.000Z"), "the epoch");
	is_str(clock_rfc3339(a, 1795206260123), STR("2026-11-20T20:24:20.123Z"), "a time of today");
	is_str(clock_rfc3339(a, -1), STR("1969-12-31T23:59:59.999Z"), "before the epoch");
	ok(clock_mono_us() <= clock_mono_us() && clock_unix_s() >= ms / 1000, "clocks go forward");
	for (int i = 0; i < 6; i++)
		in_id = in_id << 8 | v.b[i];
	ok(in_id >= ms - 1000 && in_id <= ms + 1000, "a version 7 UUID begins with the time");
	ok(v.b[6] >> 4 == 7 && v.b[8] >> 6 == 2, "version and variant");
	uuid_text(v, text);
	ok(uuid_parse(str_from(text), &u) && uuid_eq(u, v), "text and back");
	ok(!uuid_parse(STR("0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f7"), &u), "too short");
	ok(!uuid_parse(STR("0193481c06c2b-7d5e-8f3a-2b1c4d5e6f70"), &u), "a dash is missing");
	ok(!uuid_parse(STR("0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f7g"), &u), "not hexadecimal");
	ok(uuid_is_zero((struct uuid){{0}}) && !uuid_is_zero(v), "uuid_is_zero");
	is_int(uuid_str(a, v).n, UUID_TEXT_LEN, "uuid_str");
}

static void
test_config(struct arena *a)
{
	const char *text;
	int64_t number;
	bool flag;
	const struct config_item items[] = {
	    {"TEST_TEXT", CFG_STR, &text, "deflt", 0, 0, "a text"},
	    {"TEST_NUMBER", CFG_INT, &number, "5", 1, 10, "a number"},
	    {"TEST_FLAG", CFG_BOOL, &flag, "false", 0, 0, "a flag"},
	    {"TEST_NEEDED", CFG_STR, &text, NULL, 0, 0, "must be there"},
	};

	ok(config_load(items, 3) && strcmp(text, "deflt") == 0 && number == 5 && !flag, "defaults");
	setenv("TEST_NUMBER", "11", 1);
	ok(!config_load(items, 3), "out of range");
	setenv("TEST_NUMBER", "7x", 1);
	ok(!config_load(items, 3), "not a number");
	setenv("TEST_NUMBER", "7", 1);
	setenv("TEST_FLAG", "1", 1);
	ok(config_load(items, 3) && number == 7 && flag, "given values");
	setenv("TEST_FLAG", "maybe", 1);
	ok(!config_load(items, 3), "not a flag");
	ok(!config_load(items + 3, 1), "a required setting is missing");
	ok(config_file(a, "/nonexistent", 10).p == NULL, "a file that is not there");
	ok(config_file(a, "/proc/self/cmdline", 4096).n > 0, "a file");
	ok(config_file(a, "/proc/self/cmdline", 1).p == NULL, "a file over its cap");
}

static void
test_log(void)
{
	enum log_level level;

	ok(log_level_parse(STR("warn"), &level) && level == LOG_WARN, "a level");
	ok(!log_level_parse(STR("loud"), &level), "no level");
	log_init("test", LOG_ERROR);
	log_info("not shown", LOG_I("n", 1));
	log_error("shown on stderr", LOG_S("text", STR("a\nb")), LOG_I("n", -1));
	ok(true, "logging does not fail");
}

int
main(void)
{
	struct arena *a = arena_new(1 << 20);

	test_arena();
	test_buf();
	test_time_and_ids(a);
	test_config(a);
	test_log();
	arena_free(a);
	return tap_done();
}
