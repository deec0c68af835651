/* Values that come as text: query parameters, path segments, headers. */
#include <string.h>
#include <uriparser/Uri.h>

#include "base/arena.h"
#include "gen/errors.h"
#include "http/check.h"

static bool
is_list(const struct field *f)
{
	return f->type == F_STR_LIST || f->type == F_UUID_LIST;
}

/* A scalar, or a comma-separated list that is added to what *to has. */
static bool
take_value(
    struct check *w, const struct field *f, struct str value, const struct pointer *at, void *to)
{
	size_t n = 1, size;
	char *item;
	bool ok = true;

	if (!str_utf8(value))
		return check_fail(w, at, "invalid_utf8", STR("must be UTF-8"));
	if (!is_list(f))
		return check_scalar(w, f, value, at, to);
	for (size_t i = 0; i < value.n; i++)
		n += value.p[i] == ',';
	item = check_list_grow(w, f, to, n, &size);
	for (; n && ok; n--, item += size)
		ok = check_scalar(w, f->item, str_cut(&value, ','), at, item);
	return ok;
}

bool
validate_text(struct arena *a, const struct field *f, struct str where, struct str text, void *out,
    struct violations *v)
{
	struct check w = {a, v};
	struct pointer root = {NULL, where, 0};
	struct pointer at = {&root, str_from(f->name), 0};

	if (text.n && memchr(text.p, '\0', text.n))
		return check_fail(&w, &at, "nul_character", STR("must not contain U+0000"));
	return take_value(&w, f, text, &at, check_slot(out, f->offset));
}

const struct err *
validate_path(
    struct arena *a, const struct field *f, struct str segment, void *out, struct violations *v)
{
	return validate_text(a, f, STR("path"), segment, out, v) ? NULL : &err_invalid_parameter;
}

/* --- query strings
 * -------------------------------------------------------------------------------------------- */

static const struct pointer query_root = {NULL, STR_INIT("query"), 0};

struct query_walk {
	struct check w;
	const struct shape *s; /* NULL: no parameters */
	void *out;
	uint64_t set;
	bool unknown;
};

static void
take_parameter(struct query_walk *q, struct str name, struct str value)
{
	struct pointer at = {&query_root, name, 0};
	size_t i = q->s ? check_field_index(q->s, name) : 0;
	const struct field *f;

	if (!q->s || i == q->s->n) {
		q->unknown = true;
		check_fail(
		    &q->w, &at, "unknown_parameter", STR("is not a parameter of this operation"));
		return;
	}
	f = &q->s->fields[i];
	if ((q->set & (UINT64_C(1) << i)) && !is_list(f)) {
		check_fail(&q->w, &at, "repeated", STR("must be given once"));
		return;
	}
	q->set |= UINT64_C(1) << i;
	take_value(&q->w, f, value, &at, check_slot(q->out, f->offset));
}

/* Lists may come in several parts, so they are counted at the end. */
static void
finish_lists(struct query_walk *q)
{
	for (size_t i = 0; i < q->s->n; i++) {
		const struct field *f = &q->s->fields[i];
		struct pointer at = {&query_root, str_from(f->name), 0};
		const void *list = check_slot(q->out, f->offset);
		size_t n;

		if (!is_list(f) || !(q->set & (UINT64_C(1) << i)))
			continue;
		n = f->type == F_UUID_LIST ? ((const struct uuid_list *)list)->n
					   : ((const struct str_list *)list)->n;
		if (check_count(&q->w, f, n, &at) && (f->flags & F_UNIQUE))
			check_unique(&q->w, f, list, n, &at);
	}
}

/* An encoded NUL would end the decoded text early, so it is looked for beforehand; this only finds
 * the name to blame. */
static bool
has_nul(struct query_walk *q, struct str query)
{
	while (query.n) {
		struct str part = str_cut(&query, '&');
		struct pointer at = {&query_root, STR_NONE, 0};
		bool nul = memmem(part.p, part.n, "%00", 3) || memchr(part.p, '\0', part.n);

		at.name = str_cut(&part, '=');
		if (nul)
			return !check_fail(
			    &q->w, &at, "nul_character", STR("must not contain U+0000"));
	}
	return false;
}

static void
free_list(void *p)
{
	uriFreeQueryListA(p);
}

static void
dissect(struct query_walk *q, struct str query)
{
	UriQueryListA *list = NULL;
	int n;

	if (uriDissectQueryMallocExA(&list, &n, query.p, query.p + query.n, URI_TRUE,
		URI_BR_DONT_TOUCH) != URI_SUCCESS) {
		check_fail(&q->w, &query_root, "syntax", STR("is not a query string"));
		return;
	}
	arena_defer(q->w.arena, free_list, list);
	for (const UriQueryListA *i = list; i; i = i->next)
		take_parameter(q, str_from(i->key), i->value ? str_from(i->value) : STR(""));
}

const struct err *
validate_query(
    struct arena *a, const struct shape *s, struct str query, void *out, struct violations *v)
{
	struct query_walk q = {.w = {a, v}, .s = s, .out = out};
	size_t before = v->n;

	if (s)
		memset(out, 0, s->size);
	if (query.n && has_nul(&q, query))
		return &err_invalid_parameter;
	if (query.n)
		dissect(&q, query);
	if (s) {
		finish_lists(&q);
		check_missing(&q.w, s, q.set, &query_root, out);
		memcpy(check_slot(out, s->set_offset), &q.set, sizeof(q.set));
	}
	if (v->n == before)
		return NULL;
	return q.unknown ? &err_unknown_parameter : &err_invalid_parameter;
}
