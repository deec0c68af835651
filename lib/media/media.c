#include "media/media.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "media/formats.h"
#include "media/kind.h"

/* By content, the sure signs first; the last ones also want the name to agree. */
static const struct media_format *const formats[] = {
    &format_bgcode,
    &format_threemf,
    &format_step,
    &format_gcode,
    &format_stl,
    &format_obj,
};

static bool
read_as(struct media *m, const struct media_format *f, struct str head)
{
	if (!f->is(m, head))
		return false;
	m->kind = f->kind;
	f->read(m);
	return true;
}

void
media_read(struct media *m)
{
	struct str head = media_bytes(m, 0, MEDIA_HEAD);

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (read_as(m, formats[i], head))
			return;
	m->kind = kind_by_name(m->filename);
	media_fail(m, "unparsable", "%s",
	    m->size == 0 ? "The file is empty." : "The content is of no format that is known.");
}

struct str
media_read_at(const struct media *m, int64_t offset, char *p, size_t n)
{
	struct str out = {p, 0};

	while (out.n < n) {
		ssize_t got = pread(m->fd, p + out.n, n - out.n, offset + (int64_t)out.n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return STR_NONE;
		if (got == 0)
			break;
		out.n += (size_t)got;
	}
	return out;
}

struct str
media_bytes(const struct media *m, int64_t offset, size_t n)
{
	size_t left = offset < 0 || offset >= m->size ? 0 : (size_t)(m->size - offset);

	if (n > left)
		n = left;
	return media_read_at(m, offset, arena_alloc(m->arena, n + 1), n);
}

bool
media_fail(struct media *m, const char *code, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (m->reason_code)
		return false;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	m->reason_code = code;
	m->reason = str_dup(m->arena, str_from(text));
	return false;
}

static void
put(void *object)
{
	json_object_put(object);
}

struct json_object *
media_meta(struct media *m)
{
	if (!m->metadata) {
		m->metadata = json_object_new_object();
		arena_defer(m->arena, put, m->metadata);
	}
	return m->metadata;
}

void
media_key(struct media *m, struct str key)
{
	for (size_t i = 0; i < m->n_keys; i++)
		if (str_eq(m->keys[i], key))
			return;
	if (m->n_keys < SCAN_KEYS_MOST)
		m->keys[m->n_keys++] = str_dup(m->arena, key);
}

struct json_object *
media_text(struct str s)
{
	char text[MEDIA_TEXT_MOST];
	size_t n = 0, i = 0;

	while (i < s.n) {
		size_t len = str_utf8_at(s, i);
		bool shown = len > 0 && (unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7f;

		if (n + len > sizeof(text))
			break;
		for (size_t k = 0; shown && k < len; k++)
			text[n++] = s.p[i + k];
		i += len ? len : 1;
	}
	return json_object_new_string_len(text, (int)n);
}

struct json_object *
media_number(double v)
{
	char text[40];
	size_t n;

	if (!isfinite(v) || fabs(v) > 1e12)
		return NULL;
	n = (size_t)snprintf(text, sizeof(text), "%.4f", v);
	while (text[n - 1] == '0')
		text[--n] = '\0';
	if (text[n - 1] == '.')
		text[--n] = '\0';
	return json_object_new_double_s(v, strcmp(text, "-0") == 0 ? "0" : text);
}
