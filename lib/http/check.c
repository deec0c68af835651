#include "http/check.h"

#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "http/format.h"

void
violation_add(struct violations *v, struct str pointer, struct str code, struct str message)
{
	if (v->n < VIOLATIONS_MAX)
		v->v[v->n++] = (struct violation){pointer, code, message};
}

bool
check_fail(struct check *w, const struct pointer *at, const char *code, struct str message)
{
	if (w->v->n < VIOLATIONS_MAX)
		violation_add(w->v, pointer_text(w->arena, at), str_from(code), message);
	return false;
}

void *
check_slot(void *base, size_t offset)
{
	return base ? (char *)base + offset : NULL;
}

size_t
check_field_index(const struct shape *s, struct str name)
{
	size_t i = 0;

	while (i < s->n && !str_eq(name, str_from(s->fields[i].name)))
		i++;
	return i;
}

void
check_missing(
    struct check *w, const struct shape *s, uint64_t set, const struct pointer *at, void *out)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct field *f = &s->fields[i];
		struct pointer here = {at, str_from(f->name), 0};

		if (set & (UINT64_C(1) << i))
			continue;
		if (f->flags & F_REQUIRED)
			check_fail(w, &here, "required", STR("is required"));
		else if (f->dflt && out)
			must(check_scalar(
			    w, f, str_from(f->dflt), &here, check_slot(out, f->offset)));
	}
}

static struct str
names_of(struct check *w, const struct shape *s, uint64_t which)
{
	struct str out = STR("");

	for (size_t i = 0; i < s->n; i++)
		if (which & (UINT64_C(1) << i))
			out = str_fmt(w->arena, "%.*s%s%s", STR_ARG(out), out.n ? ", " : "",
			    s->fields[i].name);
	return out;
}

void
check_any_of(struct check *w, const struct shape *s, uint64_t set, const struct pointer *at)
{
	uint64_t given = set & s->any_of;
	struct str names;

	if (!s->any_of || (given && !(s->only_one && (given & (given - 1)))))
		return;
	names = names_of(w, s, s->any_of);
	if (given)
		check_fail(w, at, "too_many_members",
		    str_fmt(w->arena, "takes only one of %.*s", STR_ARG(names)));
	else
		check_fail(w, at, "required",
		    str_fmt(w->arena, "needs %sone of %.*s", s->only_one ? "" : "at least ",
			STR_ARG(names)));
}

/* --- text
 * -----------------------------------------------------------------------------------------------------
 */

static bool
chosen(const char *const *choices, struct str s)
{
	while (*choices && !str_eq(s, str_from(*choices)))
		choices++;
	return *choices != NULL;
}

static struct str
choices_message(struct check *w, const char *const *choices)
{
	struct str out = STR("must be one of ");

	for (size_t i = 0; choices[i]; i++)
		out = str_fmt(w->arena, "%.*s%s%s", STR_ARG(out), i ? ", " : "", choices[i]);
	return out;
}

static bool
length_ok(struct check *w, const struct field *f, struct str s, const struct pointer *at)
{
	int64_t n = (int64_t)text_length(s);

	if (n < f->least)
		return check_fail(w, at, "too_short",
		    str_fmt(w->arena, "must have at least %lld characters", (long long)f->least));
	if (n > f->most)
		return check_fail(w, at, "too_long",
		    str_fmt(w->arena, "must have at most %lld characters", (long long)f->most));
	return true;
}

static bool
text_ok(struct check *w, const struct field *f, struct str s, const struct pointer *at)
{
	if ((f->type == F_STR || f->type == F_SCALAR) && !length_ok(w, f, s, at))
		return false;
	if (f->choices && !chosen(f->choices, s))
		return check_fail(w, at, "not_in_list", choices_message(w, f->choices));
	if (f->pattern && !pattern_ok(f->pattern, s))
		return check_fail(w, at, "pattern_mismatch",
		    str_fmt(w->arena, "must match %s", f->pattern->text));
	if (f->format && !format_ok(f->format, s))
		return check_fail(
		    w, at, "invalid_format", str_fmt(w->arena, "must be a valid %s", f->format));
	return true;
}

/* Strings, UUIDs and times. */
bool
check_text(struct check *w, const struct field *f, struct str s, const struct pointer *at, void *to)
{
	struct uuid u;

	if (!text_ok(w, f, s, at))
		return false;
	if (f->type == F_UUID && !uuid_parse(s, &u))
		return check_fail(w, at, "invalid_format", STR("must be a valid uuid"));
	if (to && f->type == F_UUID)
		memcpy(to, &u, sizeof(u));
	else if (to)
		memcpy(to, &s, sizeof(s));
	return true;
}

bool
check_i64(struct check *w, const struct field *f, int64_t i, const struct pointer *at, void *to)
{
	if (i < f->least)
		return check_fail(w, at, "too_small",
		    str_fmt(w->arena, "must be at least %lld", (long long)f->least));
	if (i > f->most)
		return check_fail(w, at, "too_large",
		    str_fmt(w->arena, "must be at most %lld", (long long)f->most));
	if (to)
		memcpy(to, &i, sizeof(i));
	return true;
}

bool
check_bool(bool b, void *to)
{
	if (to)
		memcpy(to, &b, sizeof(b));
	return true;
}

/* One value written as text: a query parameter, a path segment, a default. */
bool
check_scalar(
    struct check *w, const struct field *f, struct str s, const struct pointer *at, void *to)
{
	int64_t i;

	switch (f->type) {
	case F_STR:
	case F_UUID:
	case F_TIME:
		return check_text(w, f, s, at, to);
	case F_I64:
		return str_to_i64(s, &i)
		    ? check_i64(w, f, i, at, to)
		    : check_fail(w, at, "invalid_type", STR("must be an integer"));
	default: /* no other type has a text form */
		must(f->type == F_BOOL);
		if (str_eq(s, STR("true")) || str_eq(s, STR("false")))
			return check_bool(s.n == 4, to);
		return check_fail(w, at, "invalid_type", STR("must be true or false"));
	}
}

/* --- lists
 * ----------------------------------------------------------------------------------------------------
 */

bool
check_count(struct check *w, const struct field *f, size_t n, const struct pointer *at)
{
	if ((int64_t)n < f->least)
		return check_fail(w, at, "too_few_items",
		    str_fmt(w->arena, "must have at least %lld items", (long long)f->least));
	if ((int64_t)n > f->most)
		return check_fail(w, at, "too_many_items",
		    str_fmt(w->arena, "must have at most %lld items", (long long)f->most));
	return true;
}

static bool
same_item(const struct field *f, const void *list, size_t i, size_t k)
{
	if (f->type == F_UUID_LIST) {
		const struct uuid_list *u = list;

		return uuid_eq(u->v[i], u->v[k]);
	}
	const struct str_list *s = list;

	return str_eq(s->v[i], s->v[k]);
}

/* list: a struct str_list or struct uuid_list of n items. */
bool
check_unique(
    struct check *w, const struct field *f, const void *list, size_t n, const struct pointer *at)
{
	for (size_t i = 1; i < n; i++) {
		for (size_t k = 0; k < i; k++) {
			struct pointer here = {at, STR_NONE, i};

			if (same_item(f, list, i, k))
				return check_fail(
				    w, &here, "duplicate_item", STR("the item is given twice"));
		}
	}
	return true;
}

/* Adds room for n items to the list at `to`; gives the first new one's place and the size of each.
 */
void *
check_list_grow(struct check *w, const struct field *f, void *to, size_t n, size_t *size)
{
	struct str_list *s = to;
	struct uuid_list *u = to;
	size_t have = f->type == F_UUID_LIST ? u->n : s->n;
	char *room;

	*size = f->type == F_UUID_LIST ? sizeof(struct uuid) : sizeof(struct str);
	room = arena_array(w->arena, have + n + 1, *size);
	if (f->type == F_UUID_LIST) {
		if (have)
			memcpy(room, u->v, have * *size);
		*u = (struct uuid_list){(struct uuid *)(void *)room, have + n};
	} else {
		if (have)
			memcpy(room, s->v, have * *size);
		*s = (struct str_list){(struct str *)(void *)room, have + n};
	}
	return room + have * *size;
}
