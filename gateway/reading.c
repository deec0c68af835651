#include "gateway/reading.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static struct str
text_of(struct json_object *v)
{
	return (struct str){json_object_get_string(v), (size_t)json_object_get_string_len(v)};
}

static bool
string_double(struct str s, double *out)
{
	char *end;
	double d;

	if (s.n == 0 || s.n > 40 || strspn(s.p, "+-.0123456789eE") != s.n)
		return false;
	d = strtod(s.p, &end);
	if (end != s.p + s.n || !isfinite(d))
		return false;
	*out = d;
	return true;
}

bool
reading_double(struct json_object *v, double *out)
{
	switch (json_object_get_type(v)) {
	case json_type_int:
		*out = (double)json_object_get_int64(v);
		return true;
	case json_type_double:
		*out = json_object_get_double(v);
		return isfinite(*out);
	case json_type_string:
		return string_double(text_of(v), out);
	default:
		return false;
	}
}

bool
reading_i64(struct json_object *v, int64_t *out)
{
	enum json_type type = json_object_get_type(v);
	double d;

	if (type == json_type_int || type == json_type_boolean) {
		*out = type == json_type_int ? json_object_get_int64(v)
					     : json_object_get_boolean(v);
		return true;
	}
	if (type == json_type_string && str_to_i64(text_of(v), out))
		return true;
	if (!reading_double(v, &d) || d < -9e15 || d > 9e15)
		return false;
	*out = (int64_t)d;
	return true;
}

bool
reading_hex(struct json_object *v, uint64_t *out)
{
	struct str s;
	uint64_t n = 0;

	if (!json_object_is_type(v, json_type_string))
		return false;
	s = text_of(v);
	if (str_starts(s, STR("0x")))
		s = (struct str){s.p + 2, s.n - 2};
	if (s.n == 0 || s.n > 16)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!memchr("0123456789abcdefABCDEF", c, 22))
			return false;
		n = n << 4 | (uint64_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	*out = n;
	return true;
}

void
reading_clean(struct str s, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n;) {
		unsigned char c = (unsigned char)s.p[i];
		size_t len = c < 0x80 ? 1 : str_utf8_at(s, i);

		if (len == 0 || c < 0x20 || c == 0x7f) {
			i++;
			continue;
		}
		if (n + len >= size)
			break;
		memcpy(out + n, s.p + i, len);
		n += len;
		i += len;
	}
	memset(out + n, 0, size - n);
}

bool
reading_text(struct json_object *v, char *out, size_t size)
{
	enum json_type type = json_object_get_type(v);

	if (type != json_type_string && type != json_type_int && type != json_type_double)
		return false;
	if (type == json_type_string)
		reading_clean(text_of(v), out, size);
	else
		reading_clean(str_from(json_object_get_string(v)), out, size);
	return true;
}

bool
reading_bool(struct json_object *v, bool *out)
{
	int64_t n;

	if (json_object_is_type(v, json_type_string) && json_object_get_string_len(v) > 1) {
		struct str s = text_of(v);

		if (!str_ieq(s, STR("true")) && !str_ieq(s, STR("false")))
			return false;
		*out = str_ieq(s, STR("true"));
		return true;
	}
	if (!reading_i64(v, &n))
		return false;
	*out = n != 0;
	return true;
}

struct json_tokener *
reading_tokener(int depth)
{
	struct json_tokener *t = json_tokener_new_ex(depth);

	must(t != NULL);
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	return t;
}

struct json_object *
reading_object(struct json_tokener *t, struct str text)
{
	struct json_object *v;
	size_t end;

	if (text.n == 0 || text.n > INT_MAX)
		return NULL;
	json_tokener_reset(t);
	v = json_tokener_parse_ex(t, text.p, (int)text.n);
	end = json_tokener_get_parse_end(t);
	if (json_tokener_get_error(t) == json_tokener_success &&
	    str_trim((struct str){text.p + end, text.n - end}).n == 0 &&
	    json_object_is_type(v, json_type_object))
		return v;
	json_object_put(v);
	return NULL;
}

struct json_object *
reading_member(struct json_object *v, const char *name)
{
	struct json_object *out = NULL;

	if (json_object_is_type(v, json_type_object))
		json_object_object_get_ex(v, name, &out);
	return out;
}
