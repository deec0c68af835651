/* Any bytes as the content of a notification, and as an answer of who is sent to: bodies are JSON,
 * mails have one line per header, what is shown is text. */
#include <json-c/json.h>
#include <string.h>

#include "base/arena.h"
#include "courier/channel.h"
#include "courier/mail.h"
#include "courier/send.h"
#include "fuzz.h"

static struct arena *arena;

static void
check_body(const struct message *m, const char *name)
{
	struct str url = STR("https://chat.example.com/topic");
	struct json_tokener *tokener = json_tokener_new_ex(64);
	struct json_object *o;
	struct buf b;

	buf_init(&b, 8 << 20);
	must(channel_find(str_from(name))->body(arena, m, &url, &b) && !b.overflow);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tokener, b.p, (int)b.n);
	must(o && json_object_is_type(o, json_type_object));
	must(json_tokener_get_parse_end(tokener) == b.n);
	json_object_put(o);
	json_tokener_free(tokener);
	buf_fini(&b);
}

/* Folded lines begin with a blank, and no CR or LF stands alone. */
static void
check_header(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		must(s.p[i] != '\0');
		if (s.p[i] == '\r' || s.p[i] == '\n')
			must(i + 2 < s.n && memcmp(s.p + i, "\r\n ", 3) == 0), i += 2;
	}
}

static void
check_message(struct str content)
{
	static const char *const channels[] = {"slack", "discord", "teams", "ntfy", "webhook"};
	struct message m;
	struct str html;

	if (!message_parse(arena, content, &m))
		return;
	must(m.subject.n > 0 && m.subject.n <= MESSAGE_LINE && str_utf8(m.subject));
	for (size_t i = 0; i < sizeof(channels) / sizeof(channels[0]); i++)
		check_body(&m, channels[i]);
	check_header(mail_words(arena, m.subject));
	html = message_html(arena, &m);
	must(str_utf8(html) && !memmem(html.p, html.n, "<script", 7));
	must(str_utf8(message_text(arena, &m)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = {(const char *)data, size}, shown;
	struct str head = {s.p, size < SEND_HEAD ? size : SEND_HEAD};
	int64_t wait_s;

	if (!arena)
		arena = arena_new(1 << 28);
	check_message(s);
	shown = send_shown("text/plain", head);
	must(str_utf8(shown) && shown.n <= SEND_HEAD);
	wait_s = send_retry_after(s, 1800000000);
	must(wait_s >= -1 && wait_s <= 86400);
	if (mail_address_ok(s))
		check_header(s);
	arena_reset(arena);
	return 0;
}
