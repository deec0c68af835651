#include "courier/message.h"

#include <string.h>

#include "base/arena.h"

enum { JSON_DEPTH = 40, TEXT_MOST = 512 << 10, EVENTS_MOST = 1000, NOTE_ROOM = 64 };

static const char *const severities[] = {
    [SEVERITY_INFO] = "info",
    [SEVERITY_WARNING] = "warning",
    [SEVERITY_CRITICAL] = "critical",
};

/* --- reading ---------------------------------------------------------------------------------- */

static void
put_json(void *p)
{
	json_object_put(p);
}

static struct str
member(struct json_object *o, const char *name)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, name, &v) || !json_object_is_type(v, json_type_string))
		return STR_NONE;
	return (struct str){json_object_get_string(v), (size_t)json_object_get_string_len(v)};
}

/* Not seen, or a new line in disguise: C0, DEL, C1, U+2028 and U+2029. */
static bool
unprintable(const char *p, size_t n)
{
	unsigned char c = (unsigned char)p[0];

	if (n == 1)
		return c < 0x20 || c == 0x7f;
	return (n == 2 && c == 0xc2 && (unsigned char)p[1] < 0xa0) ||
	    (n == 3 && memcmp(p, "\xe2\x80", 2) == 0 && ((unsigned char)p[2] & 0xfe) == 0xa8);
}

/* One line of it. */
static struct str
line(struct arena *a, struct str s)
{
	char *to = arena_alloc(a, MESSAGE_LINE + 1);
	size_t n = 0, step;

	for (size_t i = 0; i < s.n; i += step) {
		step = str_utf8_at(s, i);
		if (!step || n + step > MESSAGE_LINE)
			break;
		if (unprintable(s.p + i, step)) {
			to[n++] = ' ';
			continue;
		}
		memcpy(to + n, s.p + i, step);
		n += step;
	}
	to[n] = '\0';
	return s.p ? str_trim((struct str){to, n}) : STR_NONE;
}

static enum severity
severity_of(struct str name)
{
	for (int i = SEVERITY_CRITICAL; i > SEVERITY_INFO; i--)
		if (str_eq(name, str_from(severities[i])))
			return (enum severity)i;
	return SEVERITY_INFO;
}

static bool
read_event(struct arena *a, struct json_object *o, struct message_event *out)
{
	if (!json_object_is_type(o, json_type_object))
		return false;
	out->type = line(a, member(o, "type"));
	out->title = line(a, member(o, "title"));
	out->timestamp = line(a, member(o, "timestamp"));
	out->severity = severity_of(member(o, "severity"));
	if (!out->title.n)
		out->title = out->type;
	return out->type.n > 0;
}

static bool
read_events(struct arena *a, struct message *m)
{
	struct json_object *list;

	if (!json_object_object_get_ex(m->content, "events", &list) ||
	    !json_object_is_type(list, json_type_array))
		return false;
	m->n = json_object_array_length(list);
	if (m->n > EVENTS_MOST)
		return false;
	m->events = arena_array(a, m->n + 1, sizeof(*m->events));
	for (size_t i = 0; i < m->n; i++) {
		if (!read_event(a, json_object_array_get_idx(list, i), &m->events[i]))
			return false;
		if (m->events[i].severity > m->severity)
			m->severity = m->events[i].severity;
	}
	return true;
}

bool
message_parse(struct arena *a, struct str content, struct message *out)
{
	struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH);
	struct json_object *more;

	memset(out, 0, sizeof(*out));
	json_tokener_set_flags(tokener, JSON_TOKENER_VALIDATE_UTF8);
	out->content = json_tokener_parse_ex(tokener, content.n ? content.p : "", (int)content.n);
	json_tokener_free(tokener);
	if (!out->content)
		return false;
	arena_defer(a, put_json, out->content);
	if (!json_object_is_type(out->content, json_type_object))
		return false;
	out->rule = line(a, member(out->content, "rule"));
	out->organization = line(a, member(out->content, "organization"));
	out->subject = line(a, member(out->content, "subject"));
	if (json_object_object_get_ex(out->content, "more", &more))
		out->more = json_object_get_int64(more);
	return out->subject.n > 0 && read_events(a, out);
}

/* --- writing ---------------------------------------------------------------------------------- */

static struct str
taken(struct arena *a, struct buf *b)
{
	struct str out = str_dup(a, buf_view(b));

	buf_fini(b);
	return out;
}

/* "2026-11-20 10:15:00 UTC" of "2026-11-20T10:15:00.000Z". */
static void
put_time(struct buf *b, struct str rfc3339)
{
	static const char form[] = "0000-00-00T00:00:00";

	if (rfc3339.n < sizeof(form) - 1)
		return;
	for (size_t i = 0; i < sizeof(form) - 1; i++) {
		bool digit = rfc3339.p[i] >= '0' && rfc3339.p[i] <= '9';

		if (form[i] == '0' ? !digit : rfc3339.p[i] != form[i])
			return;
	}
	buf_fmt(b, "%.10s %.8s UTC", rfc3339.p, rfc3339.p + 11);
}

static void
put_more(struct buf *b, int64_t n)
{
	if (n > 0)
		buf_fmt(b, "\xe2\x80\xa6 and %lld more", (long long)n);
}

struct str
message_lines(struct arena *a, const struct message *m, message_put put, const char *const marks[3],
    size_t most)
{
	struct buf b;
	size_t i;

	buf_init(&b, TEXT_MOST);
	for (i = 0; i < m->n; i++) {
		size_t before = b.n;

		buf_fmt(&b, "%s%s ", i ? "\n" : "", marks[m->events[i].severity]);
		put(&b, m->events[i].title);
		if (b.n + NOTE_ROOM > most) {
			b.n = before;
			break;
		}
	}
	if (b.n && m->more + (int64_t)(m->n - i) > 0)
		buf_char(&b, '\n');
	put_more(&b, m->more + (int64_t)(m->n - i));
	if (!b.n)
		put(&b, m->subject);
	return taken(a, &b);
}

struct str
message_origin(struct arena *a, const struct message *m)
{
	if (!m->rule.n && !m->organization.n)
		return STR("SoLoPrint");
	if (!m->rule.n || !m->organization.n)
		return m->rule.n ? m->rule : m->organization;
	return str_fmt(a, "%.*s \xc2\xb7 %.*s", STR_ARG(m->organization), STR_ARG(m->rule));
}

struct str
message_text(struct arena *a, const struct message *m)
{
	struct buf b;

	buf_init(&b, TEXT_MOST);
	for (size_t i = 0; i < m->n; i++) {
		const struct message_event *e = &m->events[i];

		buf_str(&b, e->title);
		buf_fmt(&b, "\r\n  %.*s, %s, ", STR_ARG(e->type), severities[e->severity]);
		put_time(&b, e->timestamp);
		buf_str(&b, STR("\r\n\r\n"));
	}
	if (m->more > 0) {
		put_more(&b, m->more);
		buf_str(&b, STR("\r\n\r\n"));
	}
	buf_fmt(&b, "-- \r\n%.*s\r\n", STR_ARG(message_origin(a, m)));
	return taken(a, &b);
}

void
message_put_markup(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		switch (s.p[i]) {
		case '&':
			buf_str(b, STR("&amp;"));
			break;
		case '<':
			buf_str(b, STR("&lt;"));
			break;
		case '>':
			buf_str(b, STR("&gt;"));
			break;
		default:
			buf_char(b, s.p[i]);
		}
	}
}

/* Also where a quoted value stands. */
static void
put_html(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"')
			buf_str(b, STR("&quot;"));
		else if (s.p[i] == '\'')
			buf_str(b, STR("&#39;"));
		else
			message_put_markup(b, (struct str){s.p + i, 1});
	}
}

static void
put_html_event(struct buf *b, const struct message_event *e)
{
	static const char *const colors[] = {
	    [SEVERITY_INFO] = "#3b82f6",
	    [SEVERITY_WARNING] = "#d97706",
	    [SEVERITY_CRITICAL] = "#dc2626",
	};

	buf_fmt(b, "<tr><td style=\"border-left:4px solid %s;padding:6px 12px\">\r\n<b>",
	    colors[e->severity]);
	put_html(b, e->title);
	buf_str(b, STR("</b><br>\r\n<span style=\"color:#666;font-size:13px\">"));
	put_html(b, e->type);
	buf_fmt(b, ", %s, ", severities[e->severity]);
	put_time(b, e->timestamp);
	buf_str(b, STR("</span></td></tr>\r\n<tr><td style=\"height:8px\"></td></tr>\r\n"));
}

struct str
message_html(struct arena *a, const struct message *m)
{
	struct buf b;

	buf_init(&b, TEXT_MOST);
	buf_str(&b, STR("<!doctype html>\r\n<html><head><meta charset=\"utf-8\"><title>"));
	put_html(&b, m->subject);
	buf_str(
	    &b, STR("</title></head>\r\n<body style=\"font-family:sans-serif\">\r\n<table>\r\n"));
	for (size_t i = 0; i < m->n; i++)
		put_html_event(&b, &m->events[i]);
	buf_str(&b, STR("</table>\r\n<p>"));
	put_more(&b, m->more);
	buf_str(&b, STR("</p>\r\n<p style=\"color:#666;font-size:13px\">"));
	put_html(&b, message_origin(a, m));
	buf_str(&b, STR("</p>\r\n</body></html>\r\n"));
	return taken(a, &b);
}
