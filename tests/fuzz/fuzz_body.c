/* Any bytes as the body of any operation: parsed, checked against the contract, bound. The first
 * byte picks the operation. What is accepted must be accepted again after json-c has written it. */
#include <json-c/json.h>

#include "base/arena.h"
#include "fuzz.h"
#include "gen/inputs.h"
#include "http/json_in.h"

static struct arena *arena;

/* A second reading of what was accepted. */
static void
again(const struct shape *s, struct json_object *o)
{
	struct violations v = {.n = 0};
	struct json_object *copy;
	size_t n;
	const char *text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &n);

	must(!json_in_parse(arena, (struct str){text, n}, &v, &copy));
	must(!validate_body(arena, s, copy, arena_zalloc(arena, s->size), &v));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct violations v = {.n = 0};
	const struct shape *s;
	struct json_object *o;
	const struct err *e;

	if (!size)
		return 0;
	if (!arena)
		arena = arena_new(1 << 28);
	s = body_shapes[data[0] % fuzz_count(body_shapes)];
	e = json_in_parse(arena, (struct str){(const char *)data + 1, size - 1}, &v, &o);
	must(!e || e == &err_malformed_json);
	must(!e || v.n == 1);
	if (!e) {
		e = validate_body(arena, s, o, arena_zalloc(arena, s->size), &v);
		must(!e || e == &err_validation_failed);
		if (!e)
			again(s, o);
	}
	fuzz_check_violations(e, &v);
	arena_reset(arena);
	return 0;
}
