/* Any bytes as the query string of any operation; the first byte picks the operation. */
#include "base/arena.h"
#include "fuzz.h"
#include "gen/inputs.h"

static struct arena *arena;

/* What was taken is text that the database can be given. */
static void
check_bound(const struct shape *s, const void *in)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct field *f = &s->fields[i];
		const void *at = (const char *)in + f->offset;

		if (f->type == F_STR)
			must(str_utf8(*(const struct str *)at));
		if (f->type == F_I64)
			must(*(const int64_t *)at >= 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct violations v = {.n = 0};
	const struct shape *s;
	const struct err *e;
	struct str query;
	size_t n = fuzz_count(query_shapes);
	void *in;

	if (!size)
		return 0;
	if (!arena)
		arena = arena_new(1 << 28);
	s = data[0] % (n + 1) < n ? query_shapes[data[0] % (n + 1)] : NULL;
	query = (struct str){(const char *)data + 1, size - 1};
	in = s ? arena_zalloc(arena, s->size) : NULL;
	e = validate_query(arena, s, query, in, &v);
	must(!e || e == &err_unknown_parameter || e == &err_invalid_parameter);
	fuzz_check_violations(e, &v);
	if (!e && s)
		check_bound(s, in);
	arena_reset(arena);
	return 0;
}
