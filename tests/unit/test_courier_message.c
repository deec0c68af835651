/* Notifications on each channel: what an event's data say stays text, whatever it is. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "courier/channel.h"
#include "courier/mail.h"
#include "tap.h"

/* A subject and a title that would like to be more than text. */
static const char evil[] =
    "</b><script>x</script> \\\" {\"a\":1} <!channel> @everyone <@1> [x](https://e.test) *b* _i_ "
    "`c` ~~s~~ # > - &amp; ' \\u0022";

static struct str
content(struct arena *a, const char *subject, const char *title, int n)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();
	struct str text;

	json_object_object_add(o, "rule", json_object_new_string("Failures"));
	json_object_object_add(o, "organization", json_object_new_string("North <High>"));
	json_object_object_add(o, "subject", json_object_new_string(subject));
	json_object_object_add(o, "more", json_object_new_int(3));
	for (int i = 0; i < n; i++) {
		struct json_object *e = json_object_new_object();

		json_object_object_add(e, "type", json_object_new_string("print.failed"));
		json_object_object_add(
		    e, "severity", json_object_new_string(i ? "warning" : "critical"));
		json_object_object_add(e, "title", json_object_new_string(title));
		json_object_object_add(
		    e, "timestamp", json_object_new_string("2026-11-20T10:15:00.000Z"));
		json_object_array_add(list, e);
	}
	json_object_object_add(o, "events", list);
	text = str_dup(a, str_from(json_object_to_json_string(o)));
	json_object_put(o);
	return text;
}

static struct message
message(struct arena *a, const char *subject, const char *title, int n)
{
	struct message m;

	ok(message_parse(a, content(a, subject, title, n), &m), "it is read");
	return m;
}

/* The body as JSON; NULL when it is none. */
static struct json_object *
body_of(struct arena *a, const char *channel, const struct message *m, struct str *url)
{
	const struct channel *c = channel_find(str_from(channel));
	struct json_object *o = NULL;
	struct buf b;

	buf_init(&b, 1 << 20);
	if (c->body(a, m, url, &b)) {
		buf_char(&b, '\0');
		o = json_tokener_parse(b.p);
	}
	buf_fini(&b);
	return o;
}

/* "a.0.b" */
static struct str
at(struct json_object *o, const char *path)
{
	struct str rest = str_from(path);
	char name[64];

	while (o && rest.n) {
		struct str part = str_cut(&rest, '.');

		snprintf(name, sizeof(name), "%.*s", STR_ARG(part));
		o = json_object_is_type(o, json_type_array)
		    ? json_object_array_get_idx(o, strtoul(name, NULL, 10))
		    : json_object_object_get(o, name);
	}
	return str_from(o ? json_object_get_string(o) : "(nothing)");
}

static bool
holds(struct str s, const char *what)
{
	return memmem(s.p, s.n, what, strlen(what)) != NULL;
}

static void
test_reading(struct arena *a)
{
	static const char *const bad[] = {"", "null", "[]", "{}", "{\"subject\":\"x\"}",
	    "{\"subject\":\"\",\"events\":[]}", "{\"subject\":\"x\",\"events\":[1]}",
	    "{\"subject\":\"x\",\"events\":[{}]}", "{\"subject\":1,\"events\":[]}",
	    "{\"subject\":"};
	struct message m;

	TAP_EACH(bad, b)
	ok(!message_parse(a, str_from(*b), &m), "%s is no message", *b);
	m = message(a, "a\r\nBcc: x@y.test\tb\x7f", "t\xc2\x85\xe2\x80\xa8u", 2);
	is_str(m.subject, STR("a  Bcc: x@y.test b"), "a subject is one line");
	is_str(m.events[0].title, STR("t  u"), "so is a title");
	is_int(m.severity, SEVERITY_CRITICAL, "the worst counts");
	is_int(m.more, 3, "more");
	m = message(a, "x", "", 1);
	is_str(m.events[0].title, STR("print.failed"), "without a title the type");
}

static void
test_cut(struct arena *a)
{
	static char long_text[3000];
	struct message m;

	for (size_t i = 0; i + 3 < sizeof(long_text); i += 3)
		memcpy(long_text + i, "\xe2\x82\xac", 4);
	m = message(a, long_text, long_text, 1);
	ok(m.subject.n <= MESSAGE_LINE && m.subject.n > MESSAGE_LINE - 3 && str_utf8(m.subject),
	    "a long text is cut between characters");
}

static void
test_lines(struct arena *a)
{
	static const char *const marks[] = {"i", "w", "c"};
	struct message m = message(a, "s", "title", 30);
	struct str all = message_lines(a, &m, buf_str, marks, 10000);
	struct str some = message_lines(a, &m, buf_str, marks, 150);

	ok(str_starts(all, STR("c title\nw title\n")), "lines");
	ok(holds(all, "\n\xe2\x80\xa6 and 3 more"), "the rest is counted");
	ok(some.n <= 150 && holds(some, "more"), "what does not fit is left out");
	ok(!holds(some, "and 3 more"), "and counted too");
	m.n = 0;
	m.more = 0;
	is_str(message_lines(a, &m, buf_str, marks, 150), STR("s"), "without events the subject");
}

static void
test_webhook(struct arena *a)
{
	struct message m = message(a, evil, evil, 2);
	struct str url = STR("https://a.test/x");
	struct json_object *o = body_of(a, "webhook", &m, &url);

	is_str(at(o, "type"), STR("notification"), "its type");
	is_str(at(o, "rule"), STR("Failures"), "its rule");
	is_str(at(o, "events.1.title"), str_from(evil), "titles as they are");
	is_str(at(o, "more"), STR("3"), "more");
	json_object_put(o);
}

static void
test_slack(struct arena *a)
{
	struct message m = message(a, evil, evil, 20);
	struct str url = STR("https://hooks.slack.test/x"), section;
	struct json_object *o = body_of(a, "slack", &m, &url);

	section = at(o, "blocks.1.text.text");
	ok(o != NULL, "JSON");
	is_str(at(o, "blocks.1.text.type"), STR("plain_text"), "text without markup");
	is_str(at(o, "blocks.0.text.type"), STR("plain_text"), "also above");
	is_str(at(o, "mrkdwn"), STR("false"), "and in the summary");
	ok(!holds(section, "<") && !holds(section, ">") && holds(section, "&lt;!channel&gt;"),
	    "no mention, no link");
	ok(!holds(at(o, "text"), "<"), "nor in the summary");
	ok(at(o, "blocks.0.text.text").n <= 150, "a header of at most 150");
	ok(section.n <= 3000, "a section of at most 3000");
	ok(at(o, "blocks.2.elements.0.text").n > 0, "who sent it");
	json_object_put(o);
}

static void
test_discord(struct arena *a)
{
	struct message m = message(a, evil, evil, 30);
	struct str url = STR("https://discord.test/x"), text;
	struct json_object *o = body_of(a, "discord", &m, &url);

	text = at(o, "embeds.0.description");
	is_str(at(o, "allowed_mentions.parse"), STR("[ ]"), "nobody is mentioned");
	ok(holds(text, "\\@everyone") && holds(text, "\\<\\@1\\>"), "nor looks mentioned");
	ok(holds(text, "\\[x\\]\\(https\\:\\/\\/e\\.test\\)"), "no link");
	ok(holds(text, "\\*b\\*") && holds(text, "\\_i\\_") && holds(text, "\\`c\\`"), "no markup");
	ok(text.n <= 4096, "a description of at most 4096");
	ok(at(o, "embeds.0.title").n <= 256, "a title of at most 256");
	json_object_put(o);
}

static void
test_teams(struct arena *a)
{
	struct message m = message(a, evil, evil, 2);
	struct str url = STR("https://teams.test/x");
	struct json_object *o = body_of(a, "teams", &m, &url);

	is_str(at(o, "attachments.0.contentType"), STR("application/vnd.microsoft.card.adaptive"),
	    "an Adaptive Card");
	is_str(at(o, "attachments.0.content.body.0.inlines.0.text"), str_from(evil), "the subject");
	is_str(at(o, "attachments.0.content.body.1.inlines.0.type"), STR("TextRun"),
	    "runs, which have no markup");
	ok(holds(at(o, "attachments.0.content.body.1.inlines.0.text"), evil), "a line each");
	ok(holds(at(o, "attachments.0.content.body.3.inlines.0.text"), "3 more"), "more");
	json_object_put(o);
}

static void
test_ntfy(struct arena *a)
{
	static const struct {
		const char *url, *to, *topic;
	} cases[] = {
	    {"https://ntfy.test/alerts", "https://ntfy.test/", "alerts"},
	    {"https://ntfy.test/alerts?auth=a/b", "https://ntfy.test/?auth=a/b", "alerts"},
	    {"https://ntfy.test:8443/push/a_B-9", "https://ntfy.test:8443/push/", "a_B-9"},
	    {"https://ntfy.test/", NULL, NULL}, {"https://ntfy.test/a%20b", NULL, NULL},
	    {"https://ntfy.test", NULL, NULL}, /* the host would be the topic */
	};
	struct message m = message(a, evil, evil, 60);

	TAP_EACH(cases, c)
	{
		struct str url = str_from(c->url);
		struct json_object *o = body_of(a, "ntfy", &m, &url);

		ok((o != NULL) == (c->to != NULL), "%s", c->url);
		if (!o)
			continue;
		is_str(url, str_from(c->to), "where it is posted");
		is_str(at(o, "topic"), str_from(c->topic), "the topic");
		is_str(at(o, "priority"), STR("5"), "critical is urgent");
		ok(at(o, "message").n <= 4096, "at most 4096 bytes");
		json_object_put(o);
	}
}

static void
test_mail_texts(struct arena *a)
{
	struct message m = message(a, evil, evil, 2);
	struct str html = message_html(a, &m), text = message_text(a, &m);

	ok(!holds(html, "<script") && holds(html, "&lt;script&gt;x"), "no markup in HTML");
	ok(!holds(html, "' ") && holds(html, "&quot;"), "nor quotes");
	ok(holds(html, "North &lt;High&gt;"), "nor in the names");
	ok(!holds(html, "src=") && !holds(html, "href="), "nothing from elsewhere");
	ok(holds(text, evil), "text as it is");
	ok(holds(text, "print.failed, critical, 2026-11-20 10:15:00 UTC\r\n"), "when it was");
	m.events[0].timestamp = STR("<script>-11-2T10:15:00");
	ok(!holds(message_html(a, &m), "<script"), "nor in what should be a time");
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] == '\n' && (i == 0 || text.p[i - 1] != '\r'))
			ok(false, "a bare LF at %zu", i);
}

static void
test_words(struct arena *a)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
	    {"plain", "plain"},
	    {"b\xc3\xa4r", "=?UTF-8?B?YsOkcg==?="},
	    {"=?UTF-8?Q?x?=", "=?UTF-8?B?PT9VVEYtOD9RP3g/PQ==?="},
	    {"a\nb", "=?UTF-8?B?YQpi?="},
	    {"", ""},
	};
	static char euros[301];
	struct str folded;

	TAP_EACH(cases, c)
	is_str(mail_words(a, str_from(c->in)), str_from(c->want), c->want);
	for (size_t i = 0; i < 100; i++)
		memcpy(euros + 3 * i, "\xe2\x82\xac", 4);
	folded = mail_words(a, str_from(euros));
	while (folded.n) {
		struct str line = str_trim(str_cut(&folded, '\n'));

		ok(line.n <= 76 && str_starts(line, STR("=?UTF-8?B?4oKs")),
		    "a word of whole characters");
	}
}

static void
test_addresses(void)
{
	static const char *const good[] = {"a@b.test", "a.b+c@x-y.test", "\xc3\xa4@b.test"};
	static const char *const bad[] = {"", "a", "@b.test", "a@", "a@b@c", "a b@c.test",
	    "a@b.test\r\nRCPT TO:<x@y.test>", "a@b.test>", "<a@b.test", "\"a\"@b.test",
	    "a,b@c.test", "-oX@b.test", "a@b.test;x", "a@[127.0.0.1]", "a@b.test\\", "\xff@b.test"};

	TAP_EACH(good, s)
	ok(mail_address_ok(str_from(*s)), "%s", *s);
	TAP_EACH(bad, s)
	ok(!mail_address_ok(str_from(*s)), "none of this");
}

static void
test_config(void)
{
	static const struct {
		const char *url, *from;
		bool good;
	} cases[] = {
	    {"", "", true},
	    {"smtp://mail.test:587", "print@x.test", true},
	    {"smtps://u:p@mail.test", "SoLoPrint <print@x.test>", true},
	    {"smtp://mail.test", "", false},
	    {"smtp://mail.test", "SoLoPrint <print@x.test", false},
	    {"smtp://mail.test", "SoLoPrint <>", false},
	    {"smtp://mail.test", "a\nb <print@x.test>", false},
	    {"https://mail.test", "print@x.test", false},
	};

	TAP_EACH(cases, c)
	ok(mail_config_ok(&(struct mail_config){c->url, "", c->from}) == c->good, "setting %d",
	    (int)(c - cases));
}

int
main(void)
{
	struct arena *a = arena_new(64 << 20);

	test_reading(a);
	test_cut(a);
	test_lines(a);
	test_webhook(a);
	test_slack(a);
	test_discord(a);
	test_teams(a);
	test_ntfy(a);
	test_mail_texts(a);
	test_words(a);
	test_addresses();
	test_config();
	ok(!channel_find(STR("email")) && !channel_find(STR("in_app")), "those are no HTTP");
	arena_free(a);
	return tap_done();
}
