/* Any bytes as the body of any operation: parsed, checked against the contract, bound. The first
 * line names the operation's shape; one that names none counts as a number. What is accepted must
 * be accepted again after json-c has written it. */
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

/* Takes the first line, or else the first byte, off the input. */
static const struct shape *
take_shape(struct str *in)
{
	struct str rest = *in, name = str_cut(&rest, '\n');
	uint8_t first = (uint8_t)in->p[0];

	for (size_t i = 0; rest.p && body_shapes[i]; i++) {
		if (str_eq(name, str_from(body_shapes[i]->name))) {
			*in = rest;
			return body_shapes[i];
		}
	}
	*in = (struct str){in->p + 1, in->n - 1};
	return body_shapes[first % fuzz_count(body_shapes)];
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = {(const char *)data, size};
	struct violations v = {.n = 0};
	const struct shape *s;
	struct json_object *o;
	const struct err *e;

	if (!size)
		return 0;
	if (!arena)
		arena = arena_new(1 << 28);
	s = take_shape(&in);
	e = json_in_parse(arena, in, &v, &o);
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
