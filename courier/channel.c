#include "courier/channel.h"

#include <ctype.h>
#include <string.h>

#include "base/arena.h"

/* What the services take, less what is around it; characters there, bytes here, which are no fewer.
 */
enum {
	SLACK_HEADER = 150,
	SLACK_SECTION = 2900,
	DISCORD_TITLE = 250,
	DISCORD_DESCRIPTION = 4000,
	TEAMS_TEXT = 18 << 10,
	NTFY_TITLE = 250,
	NTFY_MESSAGE = 3900,
	NTFY_TOPIC = 64,
};

static const char *const signs[] = {
    [SEVERITY_INFO] = "\xe2\x84\xb9",
    [SEVERITY_WARNING] = "\xe2\x9a\xa0",
    [SEVERITY_CRITICAL] = "\xf0\x9f\x9b\x91",
};

static void
put_plain(struct buf *b, struct str s)
{
	buf_str(b, s);
}

/* As it is put, whole characters of it in at most so many bytes. */
static struct str
escaped(struct arena *a, message_put put, struct str s, size_t most)
{
	struct buf b;
	struct str out;
	size_t step;

	buf_init(&b, 64 << 10);
	for (size_t i = 0; i < s.n && (step = str_utf8_at(s, i)) != 0; i += step) {
		size_t before = b.n;

		put(&b, (struct str){s.p + i, step});
		if (b.n <= most)
			continue;
		b.n = before;
		break;
	}
	out = str_dup(a, buf_view(&b));
	buf_fini(&b);
	return out;
}

/* ,"name":"value" */
static void
put_member(struct buf *b, const char *name, struct str value)
{
	buf_fmt(b, ",\"%s\":", name);
	buf_json_str(b, value);
}

/* --- our own ---------------------------------------------------------------------------------- */

static bool
webhook_body(struct arena *a, const struct message *m, struct str *url, struct buf *out)
{
	(void)a, (void)url;
	buf_str(out, STR("{\"type\":\"notification\""));
	json_object_object_foreach(m->content, key, value) {
		buf_char(out, ',');
		buf_json_str(out, str_from(key));
		buf_char(out, ':');
		buf_str(out,
		    str_from(json_object_to_json_string_ext(
			value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)));
	}
	buf_char(out, '}');
	return true;
}

/* --- Slack: incoming webhooks, Block Kit ------------------------------------------------------ */

static void
put_slack_text(struct buf *b, struct str escaped_text)
{
	buf_str(b, STR("{\"type\":\"plain_text\",\"emoji\":false"));
	put_member(b, "text", escaped_text);
	buf_char(b, '}');
}

/* plain_text has no markup: asterisks and colons are themselves. */
static bool
slack_body(struct arena *a, const struct message *m, struct str *url, struct buf *out)
{
	(void)url;
	buf_str(out, STR("{\"mrkdwn\":false,\"unfurl_links\":false,\"unfurl_media\":false"));
	put_member(out, "text", escaped(a, message_put_markup, m->subject, SLACK_SECTION));
	buf_str(out, STR(",\"blocks\":[{\"type\":\"header\",\"text\":"));
	put_slack_text(out, escaped(a, message_put_markup, m->subject, SLACK_HEADER));
	buf_str(out, STR("},{\"type\":\"section\",\"text\":"));
	put_slack_text(out, message_lines(a, m, message_put_markup, signs, SLACK_SECTION));
	buf_str(out, STR("},{\"type\":\"context\",\"elements\":["));
	put_slack_text(out, escaped(a, message_put_markup, message_origin(a, m), SLACK_SECTION));
	buf_str(out, STR("]}]}"));
	return true;
}

/* --- Discord: webhooks, an embed -------------------------------------------------------------- */

/* Every character that could begin markup, a mention or a link, behind a backslash. */
static void
put_discord(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (strchr("\\*_~`|>#-+[]()<@:.!/", s.p[i]))
			buf_char(b, '\\');
		buf_char(b, s.p[i]);
	}
}

static bool
discord_body(struct arena *a, const struct message *m, struct str *url, struct buf *out)
{
	static const int colors[] = {
	    [SEVERITY_INFO] = 0x3b82f6,
	    [SEVERITY_WARNING] = 0xd97706,
	    [SEVERITY_CRITICAL] = 0xdc2626,
	};

	(void)url;
	buf_str(out, STR("{\"allowed_mentions\":{\"parse\":[]},\"embeds\":[{"));
	buf_fmt(out, "\"color\":%d", colors[m->severity]);
	put_member(out, "title", escaped(a, put_discord, m->subject, DISCORD_TITLE));
	put_member(
	    out, "description", message_lines(a, m, put_discord, signs, DISCORD_DESCRIPTION));
	buf_str(out, STR(",\"footer\":{\"text\":"));
	buf_json_str(out, message_origin(a, m)); /* no markup is known there */
	buf_str(out, STR("}}]}"));
	return true;
}

/* --- Teams: workflows, an Adaptive Card ------------------------------------------------------- */

/* Text runs have no Markdown, unlike text blocks. */
static void
put_run(struct buf *b, struct str text, const char *look)
{
	buf_fmt(b, "{\"type\":\"RichTextBlock\",\"inlines\":[{\"type\":\"TextRun\"%s", look);
	put_member(b, "text", text);
	buf_str(b, STR("}]}"));
}

static bool
teams_body(struct arena *a, const struct message *m, struct str *url, struct buf *out)
{
	struct str rest = message_lines(a, m, put_plain, signs, TEAMS_TEXT);

	(void)url;
	buf_str(out,
	    STR("{\"type\":\"message\",\"attachments\":[{\"contentType\":"
		"\"application/vnd.microsoft.card.adaptive\",\"contentUrl\":null,\"content\":{"
		"\"$schema\":\"http://adaptivecards.io/schemas/adaptive-card.json\","
		"\"type\":\"AdaptiveCard\",\"version\":\"1.4\",\"msteams\":{\"width\":\"Full\"},"
		"\"body\":["));
	put_run(out, m->subject, ",\"size\":\"Large\",\"weight\":\"Bolder\"");
	while (rest.n) {
		buf_char(out, ',');
		put_run(out, str_cut(&rest, '\n'), "");
	}
	buf_char(out, ',');
	put_run(out, message_origin(a, m), ",\"isSubtle\":true,\"size\":\"Small\"");
	buf_str(out, STR("]}}]}"));
	return true;
}

/* --- ntfy: published as JSON, at the server's root -------------------------------------------- */

static bool
topic_ok(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
			return false;
	}
	return s.n > 0 && s.n <= NTFY_TOPIC;
}

/* "https://ntfy.example/topic?auth=x" is the topic at "https://ntfy.example/?auth=x". */
static bool
split_topic(struct arena *a, struct str *url, struct str *topic)
{
	struct str rest = *url, path = str_cut(&rest, '?');
	const char *slash = path.n ? memrchr(path.p, '/', path.n) : NULL;

	if (!slash)
		return false;
	*topic = (struct str){slash + 1, (size_t)(path.p + path.n - slash - 1)};
	*url = str_fmt(
	    a, "%.*s%s%.*s", (int)(slash + 1 - path.p), path.p, rest.p ? "?" : "", STR_ARG(rest));
	return topic_ok(*topic);
}

static bool
ntfy_body(struct arena *a, const struct message *m, struct str *url, struct buf *out)
{
	static const int priorities[] = {
	    [SEVERITY_INFO] = 3,
	    [SEVERITY_WARNING] = 4,
	    [SEVERITY_CRITICAL] = 5,
	};
	struct str topic;

	if (!split_topic(a, url, &topic))
		return false;
	buf_fmt(out, "{\"priority\":%d", priorities[m->severity]);
	put_member(out, "topic", topic);
	put_member(out, "title", escaped(a, put_plain, m->subject, NTFY_TITLE));
	put_member(out, "message", message_lines(a, m, put_plain, signs, NTFY_MESSAGE));
	buf_char(out, '}');
	return true;
}

static const struct channel channels[] = {
    {"webhook", webhook_body},
    {"slack", slack_body},
    {"discord", discord_body},
    {"teams", teams_body},
    {"ntfy", ntfy_body},
};

const struct channel *
channel_find(struct str name)
{
	for (size_t i = 0; i < sizeof(channels) / sizeof(channels[0]); i++)
		if (str_eq(name, str_from(channels[i].name)))
			return &channels[i];
	return NULL;
}
