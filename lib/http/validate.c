#include "http/validate.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "gen/errors.h"
#include "http/check.h"
#include "http/format.h"

static void check_json(struct check *w, const struct field *f, struct json_object *o,
    const struct pointer *at, void *to);
static void check_object(struct check *w, const struct shape *s, struct json_object *o,
    const struct pointer *at, void *out);

static void
body_text(struct check *w, const struct field *f, struct json_object *o, const struct pointer *at,
    void *to)
{
	if (json_object_is_type(o, json_type_string))
		check_text(w, f,
		    (struct str){json_object_get_string(o), (size_t)json_object_get_string_len(o)},
		    at, to);
	else
		check_fail(w, at, "invalid_type", STR("must be a string"));
}

/* 80.0 and 8e1 are 80, also where the body is passed on as text. */
static void
write_as_integer(struct json_object *o, int64_t v)
{
	char text[24];
	char *kept;

	snprintf(text, sizeof(text), "%lld", (long long)v);
	kept = strdup(text);
	must(kept != NULL);
	json_object_set_serializer(
	    o, json_object_userdata_to_json_string, kept, json_object_free_userdata);
}

static void
body_i64(struct check *w, const struct field *f, struct json_object *o, const struct pointer *at,
    void *to)
{
	const double exact = 9007199254740992.0; /* 2^53: up to here a double holds every integer */
	double d = json_object_get_double(o);

	if (json_object_is_type(o, json_type_int))
		check_i64(w, f, json_object_get_int64(o), at, to);
	else if (json_object_is_type(o, json_type_double) && d > -exact && d < exact &&
	    (double)(int64_t)d == d) {
		write_as_integer(o, (int64_t)d);
		check_i64(w, f, (int64_t)d, at, to);
	} else {
		check_fail(w, at, "invalid_type", STR("must be an integer"));
	}
}

static void
body_f64(struct check *w, const struct field *f, struct json_object *o, const struct pointer *at,
    void *to)
{
	double d = json_object_get_double(o);

	if (!json_object_is_type(o, json_type_int) && !json_object_is_type(o, json_type_double))
		check_fail(w, at, "invalid_type", STR("must be a number"));
	else if (d < f->fleast)
		check_fail(w, at, "too_small", str_fmt(w->arena, "must be at least %g", f->fleast));
	else if (d > f->fmost)
		check_fail(w, at, "too_large", str_fmt(w->arena, "must be at most %g", f->fmost));
	else if (to)
		memcpy(to, &d, sizeof(d));
}

static void
body_bool(struct check *w, const struct field *f, struct json_object *o, const struct pointer *at,
    void *to)
{
	(void)f;
	if (json_object_is_type(o, json_type_boolean))
		check_bool(json_object_get_boolean(o), to);
	else
		check_fail(w, at, "invalid_type", STR("must be true or false"));
}

static void
body_items(struct check *w, const struct field *f, struct json_object *o, const struct pointer *at,
    void *first, size_t size)
{
	size_t n = json_object_array_length(o);

	for (size_t i = 0; i < n; i++) {
		struct pointer here = {at, STR_NONE, i};

		check_json(w, f->item, json_object_array_get_idx(o, i), &here,
		    check_slot(first, i * size));
	}
}

/* A list of strings or UUIDs. */
static void
body_list(struct check *w, const struct field *f, struct json_object *o, const struct pointer *at,
    void *to)
{
	struct str_list spare = {NULL, 0}; /* nested lists are checked, not kept */
	size_t size, n, before = w->v->n;
	void *first;

	if (!json_object_is_type(o, json_type_array)) {
		check_fail(w, at, "invalid_type", STR("must be an array"));
		return;
	}
	n = json_object_array_length(o);
	if (!check_count(w, f, n, at))
		return;
	if (!to)
		to = &spare;
	first = check_list_grow(w, f, to, n, &size);
	body_items(w, f, o, at, first, size);
	if ((f->flags & F_UNIQUE) && w->v->n == before)
		check_unique(w, f, to, n, at);
}

static void
body_object_list(struct check *w, const struct field *f, struct json_object *o,
    const struct pointer *at, void *to)
{
	if (!json_object_is_type(o, json_type_array)) {
		check_fail(w, at, "invalid_type", STR("must be an array"));
		return;
	}
	if (check_count(w, f, json_object_array_length(o), at))
		body_items(w, f, o, at, NULL, 0);
	if (to)
		memcpy(to, &o, sizeof(o));
}

static void
body_nested(struct check *w, const struct field *f, struct json_object *o, const struct pointer *at,
    void *to)
{
	check_object(w, f->shape, o, at, NULL);
	if (to)
		memcpy(to, &o, sizeof(o));
}

static void
body_any(struct check *w, const struct field *f, struct json_object *o, const struct pointer *at,
    void *to)
{
	(void)w, (void)f, (void)at;
	if (to)
		memcpy(to, &o, sizeof(o));
}

static void
body_map(struct check *w, const struct field *f, struct json_object *o, const struct pointer *at,
    void *to)
{
	if (!json_object_is_type(o, json_type_object)) {
		check_fail(w, at, "invalid_type", STR("must be an object"));
		return;
	}
	if (!check_count(w, f, (size_t)json_object_object_length(o), at))
		return;
	json_object_object_foreach(o, name, value) {
		struct pointer here = {at, str_from(name), 0};

		if (f->pattern && !pattern_ok(f->pattern, here.name))
			check_fail(w, &here, "pattern_mismatch",
			    str_fmt(w->arena, "its name must match %s", f->pattern->text));
		else
			check_json(w, f->item, value, &here, NULL);
	}
	if (to)
		memcpy(to, &o, sizeof(o));
}

static void
body_scalar(struct check *w, const struct field *f, struct json_object *o, const struct pointer *at,
    void *to)
{
	if (json_object_is_type(o, json_type_string))
		body_text(w, f, o, at, NULL);
	else if (json_object_is_type(o, json_type_object) ||
	    json_object_is_type(o, json_type_array))
		check_fail(w, at, "invalid_type", STR("must be a string, a number or a boolean"));
	if (to)
		memcpy(to, &o, sizeof(o));
}

static void (*const body_checks[])(struct check *w, const struct field *f, struct json_object *o,
    const struct pointer *at, void *to) = {
    [F_STR] = body_text,
    [F_I64] = body_i64,
    [F_F64] = body_f64,
    [F_BOOL] = body_bool,
    [F_UUID] = body_text,
    [F_TIME] = body_text,
    [F_STR_LIST] = body_list,
    [F_UUID_LIST] = body_list,
    [F_OBJECT] = body_nested,
    [F_OBJECT_LIST] = body_object_list,
    [F_JSON] = body_any,
    [F_MAP] = body_map,
    [F_SCALAR] = body_scalar,
};

static void
check_json(struct check *w, const struct field *f, struct json_object *o, const struct pointer *at,
    void *to)
{
	if (o || f->type == F_JSON)
		body_checks[f->type](w, f, o, at, to);
	else if (!(f->flags & F_NULLABLE))
		check_fail(w, at, "null_not_allowed", STR("must not be null"));
}

static uint64_t
placed(const struct shape *s, uint64_t given)
{
	uint64_t out = 0;

	if (!s->bits)
		return given;
	for (size_t i = 0; i < s->n; i++)
		out |= ((given >> i) & 1U) << s->bits[i];
	return out;
}

static void
write_bits(const struct shape *s, void *out, uint64_t set, uint64_t null)
{
	if (!out)
		return;
	set = placed(s, set);
	null = placed(s, null);
	memcpy(check_slot(out, s->set_offset), &set, sizeof(set));
	if (s->null_offset != SIZE_MAX)
		memcpy(check_slot(out, s->null_offset), &null, sizeof(null));
}

/* The shape that the tag picks, s itself when there is no choice; NULL: the tag is none of them. */
static const struct shape *
check_variant(
    struct check *w, const struct shape *s, struct json_object *o, const struct pointer *at)
{
	struct json_object *tag = NULL;
	struct pointer here;

	if (!s->variants)
		return s;
	here = (struct pointer){at, str_from(s->tag->name), 0};
	if (!json_object_object_get_ex(o, s->tag->name, &tag))
		check_fail(w, &here, "required", STR("is required"));
	else
		check_json(w, s->tag, tag, &here, NULL);
	if (!json_object_is_type(tag, json_type_string))
		return NULL;
	for (const struct shape *const *v = s->variants; *v; v++)
		if (strcmp((*v)->name, json_object_get_string(tag)) == 0)
			return *v;
	return NULL;
}

static void
check_object(struct check *w, const struct shape *s, struct json_object *o,
    const struct pointer *at, void *out)
{
	uint64_t set = 0, null = 0;

	if (!json_object_is_type(o, json_type_object)) {
		check_fail(w, at, "invalid_type", STR("must be an object"));
		return;
	}
	s = check_variant(w, s, o, at);
	if (!s)
		return;
	json_object_object_foreach(o, name, value) {
		size_t i = check_field_index(s, str_from(name));
		struct pointer here = {at, str_from(name), 0};

		if (i == s->n) {
			check_fail(
			    w, &here, "unknown_field", STR("is not a member of this object"));
			continue;
		}
		set |= UINT64_C(1) << i;
		null |= (uint64_t)(value == NULL) << i;
		check_json(w, &s->fields[i], value, &here, check_slot(out, s->fields[i].offset));
	}
	check_missing(w, s, set, at, out);
	check_any_of(w, s, set, at);
	write_bits(s, out, set, null);
}

const struct err *
validate_body(struct arena *a, const struct shape *s, struct json_object *body, void *out,
    struct violations *v)
{
	struct check w = {a, v};
	size_t before = v->n;

	memset(out, 0, s->size);
	check_object(&w, s, body, NULL, out);
	return v->n > before ? &err_validation_failed : NULL;
}
