#include "http/json_in.h"

#include <json-c/json.h>
#include <json-c/printbuf.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "gen/errors.h"
#include "http/format.h"
#include "http/pointer.h"
#include "http/validate.h"

#define TOO_MANY "the document has more than 10000 members and items"

struct reader {
	struct arena *arena;
	struct json_tokener *tok;
	struct violations *v;
	struct str text;
	size_t values; /* members and items so far */
};

/* --- while parsing: the tokener's own stack says where we are
 * ------------------------------------------------ */

static struct str
place(const struct reader *rd)
{
	struct pointer steps[JSON_IN_DEPTH + 1]; /* the tokener's stack is that deep */
	const struct pointer *at = NULL;
	size_t n = 0;

	for (int d = 0; d <= rd->tok->depth && n <= JSON_IN_DEPTH; d++) {
		const struct json_tokener_srec *level = &rd->tok->stack[d];

		if (level->obj_field_name)
			steps[n] = (struct pointer){at, str_from(level->obj_field_name), 0};
		else if (json_object_is_type(level->current, json_type_array))
			steps[n] = (struct pointer){
			    at, STR_NONE, json_object_array_length(level->current)};
		else
			continue;
		at = &steps[n++];
	}
	return pointer_text(rd->arena, at);
}

static const struct err *
refuse(struct reader *rd, struct str code, struct str message)
{
	violation_add(rd->v, place(rd), code, message);
	return &err_malformed_json;
}

static const struct err *
refuse_at(struct reader *rd, const struct pointer *at, struct str code, struct str message)
{
	violation_add(rd->v, pointer_text(rd->arena, at), code, message);
	return &err_malformed_json;
}

static const struct err *
tokener_error(struct reader *rd)
{
	enum json_tokener_error code = json_tokener_get_error(rd->tok);

	if (code == json_tokener_error_depth)
		return refuse(rd, STR("too_deep"), STR("nested deeper than 32 levels"));
	if (code == json_tokener_error_parse_utf8_string && !str_utf8(rd->text))
		return refuse(rd, STR("invalid_utf8"), STR("not UTF-8"));
	return refuse(rd, STR("syntax"), str_from(json_tokener_error_desc(code)));
}

/* Has the tokener just read a member's name and its colon? */
static bool
after_name(const struct reader *rd)
{
	const struct json_tokener_srec *top = &rd->tok->stack[rd->tok->depth];

	return top->obj_field_name && top->state == json_tokener_state_eatws &&
	    top->saved_state == json_tokener_state_object_value;
}

static const struct err *
check_name(struct reader *rd)
{
	const struct json_tokener_srec *top = &rd->tok->stack[rd->tok->depth];

	if (strlen(top->obj_field_name) != (size_t)rd->tok->pb->bpos)
		return refuse(rd, STR("nul_character"), STR("a member's name contains U+0000"));
	if (rd->tok->quote_char != '"')
		return refuse(rd, STR("syntax"), STR("a member's name must be in double quotes"));
	if (json_object_object_get_ex(top->current, top->obj_field_name, NULL))
		return refuse(rd, STR("duplicate_key"), STR("the member is given twice"));
	if (++rd->values > JSON_IN_VALUES_MAX)
		return refuse(rd, STR("too_many_values"), STR(TOO_MANY));
	return NULL;
}

/* Is the tokener inside quotes, where a colon says nothing? */
static bool
in_quotes(const struct reader *rd)
{
	enum json_tokener_state s = rd->tok->stack[rd->tok->depth].state;

	return s == json_tokener_state_string || s == json_tokener_state_object_field;
}

/* How much to feed next: up to and including a colon, so that the tokener can be looked at after
 * every name. No name can end before the quote that ends the current string. */
static size_t
chunk(const struct reader *rd, struct str rest)
{
	const char *from = rest.p, *end = rest.p + rest.n;

	if (in_quotes(rd))
		from = memchr(from, '"', rest.n);
	if (from)
		from = memchr(from, ':', (size_t)(end - from));
	return from ? (size_t)(from - rest.p) + 1 : rest.n;
}

static bool
only_blanks(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!strchr(" \t\r\n", s.p[i]))
			return false;
	}
	return true;
}

static const struct err *
feed(struct reader *rd, struct str text, struct json_object **out)
{
	struct str rest = text;
	enum json_tokener_error code = json_tokener_continue;

	while (rest.n && code == json_tokener_continue) {
		size_t n = chunk(rd, rest);
		const struct err *e;

		*out = json_tokener_parse_ex(rd->tok, rest.p, (int)n);
		code = json_tokener_get_error(rd->tok);
		rest.p += n;
		rest.n -= n;
		e = code == json_tokener_continue && after_name(rd) ? check_name(rd) : NULL;
		if (e)
			return e;
	}
	if (code == json_tokener_continue) { /* a number at the top has no end of its own */
		*out = json_tokener_parse_ex(rd->tok, "", 1);
		code = json_tokener_get_error(rd->tok);
	}
	if (code != json_tokener_success)
		return tokener_error(rd);
	return rest.n
	    ? refuse_at(rd, NULL, STR("trailing_data"), STR("something follows the document"))
	    : NULL;
}

/* --- after parsing: what json-c lets through
 * ------------------------------------------------------------------ */

static const struct err *
check_text(struct reader *rd, struct str s, const struct pointer *at)
{
	if (s.n && memchr(s.p, '\0', s.n))
		return refuse_at(rd, at, STR("nul_character"), STR("the text contains U+0000"));
	if (!str_utf8(s))
		return refuse_at(rd, at, STR("invalid_utf8"), STR("not UTF-8"));
	return NULL;
}

/* json-c keeps a double's text and is lax about it: "1." passes. A zero whose digits say otherwise
 * is too small. */
static bool
double_ok(struct json_object *number)
{
	static struct pattern grammar = {"^-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?$", NULL};
	const char *text = json_object_to_json_string_ext(number, JSON_C_TO_STRING_PLAIN);

	if (json_object_get_double(number) == 0 && strcspn(text, "123456789") < strcspn(text, "eE"))
		return false;
	return pattern_ok(&grammar, str_from(text));
}

/* json-c stores an integer beyond 64 bits as the nearest that fits; below, that is INT64_MIN, which
 * is given up for it. */
static const struct err *
check_number(struct reader *rd, struct json_object *o, const struct pointer *at)
{
	bool is_double = json_object_is_type(o, json_type_double);
	int64_t i = json_object_get_int64(o);

	if (is_double && isfinite(json_object_get_double(o)) && double_ok(o))
		return NULL;
	if (!is_double && i > INT64_MIN && json_object_get_uint64(o) <= (uint64_t)INT64_MAX)
		return NULL;
	return refuse_at(
	    rd, at, STR("number_out_of_range"), STR("not a number that can be represented"));
}

static const struct err *check_value(
    struct reader *rd, struct json_object *o, const struct pointer *at);

static const struct err *
check_members(struct reader *rd, struct json_object *o, const struct pointer *at)
{
	json_object_object_foreach(o, name, value) {
		struct str key = str_from(name);
		struct pointer here = {at, key, 0};
		const struct err *e = check_text(rd, key, at);

		if (!e)
			e = check_value(rd, value, &here);
		if (e)
			return e;
	}
	return NULL;
}

static const struct err *
check_items(struct reader *rd, struct json_object *o, const struct pointer *at)
{
	size_t n = json_object_array_length(o);

	rd->values += n;
	if (rd->values > JSON_IN_VALUES_MAX)
		return refuse_at(rd, at, STR("too_many_values"), STR(TOO_MANY));
	for (size_t i = 0; i < n; i++) {
		struct pointer here = {at, STR_NONE, i};
		const struct err *e = check_value(rd, json_object_array_get_idx(o, i), &here);

		if (e)
			return e;
	}
	return NULL;
}

static const struct err *
check_value(struct reader *rd, struct json_object *o, const struct pointer *at)
{
	switch (json_object_get_type(o)) {
	case json_type_object:
		return check_members(rd, o, at);
	case json_type_array:
		return check_items(rd, o, at);
	case json_type_string:
		return check_text(rd,
		    (struct str){json_object_get_string(o), (size_t)json_object_get_string_len(o)},
		    at);
	case json_type_int:
	case json_type_double:
		return check_number(rd, o, at);
	case json_type_null:
	case json_type_boolean:
		break;
	}
	return NULL;
}

/* --- */

static void
put_object(void *p)
{
	json_object_put(p);
}

static void
free_tokener(void *p)
{
	json_tokener_free(p);
}

/* A byte that no JSON text has: names the place by parsing what stands before it. */
static const struct err *
stray_byte(struct reader *rd, struct str before, struct str code, struct str message)
{
	struct json_object *o = NULL;
	const struct err *e = before.n ? feed(rd, before, &o) : NULL;

	json_object_put(o);
	if (e && rd->v->n && !str_eq(rd->v->v[rd->v->n - 1].code, STR("syntax")))
		return e;
	rd->v->n = 0;
	return refuse(rd, code, message);
}

/* Control characters other than blanks are never part of JSON text; json-c would take them inside
 * strings. */
static const struct err *
check_bytes(struct reader *rd, struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		struct str before = {text.p, i};

		if (c == 0)
			return stray_byte(rd, before, STR("nul_character"), STR("a NUL byte"));
		if (c < 0x20 && c != '\t' && c != '\n' && c != '\r')
			return stray_byte(rd, before, STR("syntax"), STR("a control character"));
	}
	return NULL;
}

const struct err *
json_in_parse(struct arena *a, struct str text, struct violations *v, struct json_object **out)
{
	struct reader rd = {
	    .arena = a, .v = v, .text = text, .tok = json_tokener_new_ex(JSON_IN_DEPTH + 1)};
	struct json_object *o = NULL;
	const struct err *e;

	*out = NULL;
	must(rd.tok != NULL && text.n <= INT32_MAX);
	arena_defer(a, free_tokener, rd.tok);
	json_tokener_set_flags(rd.tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	e = check_bytes(&rd, text);
	if (e)
		return e;
	if (only_blanks(text))
		return refuse_at(&rd, NULL, STR("empty_body"), STR("the body is empty"));
	e = feed(&rd, text, &o);
	arena_defer(a, put_object, o);
	if (!e)
		e = check_value(&rd, o, NULL);
	if (!e)
		*out = o;
	return e;
}
