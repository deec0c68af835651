/* Parts of a delivery: headers that may be added, Retry-After, what is kept of an answer, what is
 * refused before there is a request. */
#include <string.h>

#include "auth/seal.h"
#include "auth/webhook.h"
#include "base/arena.h"
#include "courier/send.h"
#include "tap.h"

static void
test_headers(void)
{
	static const struct {
		const char *name, *value;
		bool good;
	} cases[] = {
	    {"Authorization", "Bearer x", true},
	    {"X-Token", "", true},
	    {"X-Text", "a, b; c=\"d\"", true},
	    {"X-Utf8", "b\xc3\xa4r", true},
	    {"webhook-id", "x", false},
	    {"Webhook-Signature", "x", false},
	    {"WEBHOOK-ANYTHING", "x", false},
	    {"Content-Type", "text/plain", false},
	    {"content-length", "5", false},
	    {"Transfer-Encoding", "chunked", false},
	    {"Host", "x", false},
	    {"User-Agent", "x", false},
	    {"Connection", "close", false},
	    {"Expect", "100-continue", false},
	    {"", "x", false},
	    {"A B", "x", false},
	    {"A:", "x", false},
	    {"A\r\nB", "x", false},
	    {"X", "a\r\nHost: b", false},
	    {"X", "a\nb", false},
	    {"X", "\x7f", false},
	};

	TAP_EACH(cases, c)
	ok(send_header_ok(str_from(c->name), str_from(c->value)) == c->good, "header %d",
	    (int)(c - cases));
}

static void
test_retry_after(void)
{
	static const struct {
		const char *value;
		int64_t want;
	} cases[] = {
	    {"0", 0},
	    {"120", 120},
	    {" 7 ", 7},
	    {"86400", 86400},
	    {"9999999", 86400},
	    {"-5", -1},
	    {"1.5", -1},
	    {"soon", -1},
	    {"", -1},
	    {"Fri, 31 Dec 1999 23:59:59 GMT", 59},
	    {"Friday, 31-Dec-99 23:59:59 GMT", 59},
	    {"Fri Dec 31 23:59:59 1999", 59},
	    {"Fri, 31 Dec 1999 23:00:00 GMT", 0},
	    {"Fri, 31 Dec 2099 23:00:00 GMT", 86400},
	    {"9223372036854775808", -1},
	};
	const int64_t now_s = 946684740; /* 1999-12-31 23:59:00 */

	TAP_EACH(cases, c)
	is_int(send_retry_after(str_from(c->value), now_s), c->want, c->value);
	is_int(send_retry_after(STR_NONE, now_s), -1, "nothing was said");
}

static void
test_shown(void)
{
	static const struct {
		const char *type, *bytes, *want;
	} cases[] = {
	    {"text/plain", "no", "no"},
	    {"TEXT/html; charset=utf-8", "<p>", "<p>"},
	    {"application/json", "{}", "{}"},
	    {"application/problem+json ; x=y", "{}", "{}"},
	    {"image/svg+xml", "<svg>", "<svg>"},
	    {"application/octet-stream", "no", NULL},
	    {"image/png", "no", NULL},
	    {"+json", "{}", NULL},
	    {NULL, "no", NULL},
	    {"text/plain", "", NULL},
	    {"text/plain", "\xff", NULL},
	    {"text/plain", "a\xc3", NULL},
	};
	static char whole[SEND_HEAD], nul[] = "a\0b";

	TAP_EACH(cases, c)
	is_str(send_shown(c->type, str_from(c->bytes)), str_from(c->want),
	    c->type ? c->type : "no type");
	ok(!send_shown("text/plain", (struct str){nul, 3}).p, "no NUL");
	memset(whole, 'a', sizeof(whole));
	memcpy(whole + sizeof(whole) - 2, "\xe2\x82", 2);
	is_int(send_shown("text/plain", (struct str){whole, sizeof(whole)}).n, SEND_HEAD - 2,
	    "a character cut in two at the end is left out");
	memcpy(whole + 10, "\xe2\x82", 2);
	ok(!send_shown("text/plain", (struct str){whole, sizeof(whole)}).p, "but nowhere else");
}

struct world {
	struct arena *a;
	struct seal_public *pub;
	struct seal_private *priv;
	struct fetch_rules rules;
	struct uuid org, hook, secret;
};

static struct delivery *
delivery(struct world *w, const char *url)
{
	struct arena *a = arena_new(8 << 20);
	struct delivery *d = ARENA_NEW(a, struct delivery);

	d->arena = a;
	d->id = uuid_v7();
	d->event_id = uuid_v7();
	d->org_id = w->org;
	d->endpoint_id = w->hook;
	d->channel = STR("webhook");
	d->url = str_from(url);
	d->body = STR("{\"type\":\"x\"}");
	return d;
}

static struct str
sealed_secret(struct world *w, struct arena *a, struct uuid id)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct seal_place at = SEAL_WEBHOOK_SECRET(w->org, id);
	struct str public, plain = webhook_secret_generate(w->a, WEBHOOK_HMAC, &public);
	struct str s = seal_secret(w->a, w->pub, &at, plain);
	struct buf b;
	struct str out;

	buf_init(&b, 4096);
	for (size_t i = 0; i < s.n; i += 3) {
		uint32_t v = (uint32_t)(unsigned char)s.p[i] << 16;

		v |= i + 1 < s.n ? (uint32_t)(unsigned char)s.p[i + 1] << 8 : 0;
		v |= i + 2 < s.n ? (unsigned char)s.p[i + 2] : 0;
		buf_char(&b, digits[v >> 18 & 63]);
		buf_char(&b, digits[v >> 12 & 63]);
		buf_char(&b, i + 1 < s.n ? digits[v >> 6 & 63] : '=');
		buf_char(&b, i + 2 < s.n ? digits[v & 63] : '=');
		if (i % 57 == 54)
			buf_str(&b, STR("\\n")); /* as Postgres breaks lines, in JSON */
	}
	out = str_dup(a, buf_view(&b));
	buf_fini(&b);
	return out;
}

static struct str
secrets_json(struct world *w, struct arena *a, struct uuid place, int n)
{
	struct str out = STR("["), id = uuid_str(a, w->secret);

	for (int i = 0; i < n; i++)
		out = str_fmt(a, "%.*s%s{\"id\":\"%.*s\",\"sealed\":\"%.*s\"}", STR_ARG(out),
		    i ? "," : "", STR_ARG(id), STR_ARG(sealed_secret(w, a, place)));
	return str_fmt(a, "%.*s]", STR_ARG(out));
}

static const char *
header_of(const struct delivery *d, const char *name)
{
	for (const struct curl_slist *h = d->headers; h; h = h->next)
		if (strncmp(h->data, name, strlen(name)) == 0)
			return h->data + strlen(name);
	return "";
}

static void
end_with(struct delivery *d)
{
	send_release(d);
	arena_free(d->arena);
}

static void
test_prepare(struct world *w)
{
	struct send_tools t = {.rules = &w->rules, .key = w->priv, .mail = {"", "", ""}};
	struct delivery *d = delivery(w, "https://receiver.example.com/hook");
	struct seal_place at = SEAL_WEBHOOK_HEADERS(w->org, w->hook);
	struct send_end end;
	struct str id = uuid_str(w->a, d->event_id);

	d->secrets = secrets_json(w, d->arena, w->secret, 2);
	d->headers_sealed = seal_secret(d->arena, w->pub, &at,
	    STR("{\"Authorization\":\"Bearer t\",\"webhook-id\":\"mine\",\"X\":1,\"Empty\":\"\"}"));
	ok(send_prepare(&t, d, &end) && d->easy, "ready to be sent");
	is_str(str_from(header_of(d, "webhook-id: ")), id, "the event's id");
	is_int(d->signatures, 2, "two signatures");
	ok(str_starts(str_from(header_of(d, "webhook-signature: ")), STR("v1,")) &&
		strstr(header_of(d, "webhook-signature: "), " v1,"),
	    "in one header");
	is_z(header_of(d, "Authorization: "), "Bearer t", "a header of their own");
	is_z(header_of(d, "Empty"), ";", "an empty one");
	end_with(d);
}

static void
test_refused_before(struct world *w)
{
	struct send_tools t = {.rules = &w->rules, .key = w->priv, .mail = {"", "", ""}};
	struct send_tools keyless = {.rules = &w->rules, .mail = {"", "", ""}};
	static const struct {
		const char *url, *error;
	} urls[] = {
	    {"https://127.0.0.1/", "blocked_address"},
	    {"https://[::1]/", "blocked_address"},
	    {"http://receiver.example.com/", "bad_url"},
	    {"https://receiver.example.com:22/", "bad_url"},
	    {"https://u:p@receiver.example.com/", "bad_url"},
	    {"file:///etc/passwd", "bad_url"},
	    {"", "bad_url"},
	};
	struct send_end end;
	struct delivery *d;

	TAP_EACH(urls, u)
	{
		d = delivery(w, u->url);
		d->secrets = secrets_json(w, d->arena, w->secret, 1);
		ok(!send_prepare(&t, d, &end) && !d->easy, "nothing is sent to '%s'", u->url);
		is_str(end.error, str_from(u->error), u->error);
		ok(end.permanent, "nor ever");
		end_with(d);
	}
	d = delivery(w, "https://receiver.example.com/");
	d->secrets = secrets_json(w, d->arena, uuid_v7(), 1);
	ok(!send_prepare(&t, d, &end), "a secret that was sealed for another place");
	is_str(end.error, STR("misconfigured"), "is one that cannot be used");
	ok(!end.permanent, "but perhaps later");
	end_with(d);
	d = delivery(w, "https://receiver.example.com/");
	d->secrets = secrets_json(w, d->arena, w->secret, 1);
	ok(!send_prepare(&keyless, d, &end) && str_eq(end.error, STR("misconfigured")), "no key");
	end_with(d);
	d = delivery(w, "https://receiver.example.com/");
	d->secrets = STR("[]");
	ok(!send_prepare(&t, d, &end) && str_eq(end.error, STR("misconfigured")), "no secret");
	end_with(d);
}

#define CONTENT                                                                                    \
	"{\"rule\":\"r\",\"organization\":\"o\",\"subject\":\"s\",\"more\":0,\"events\":"          \
	"[{\"type\":\"a.b\",\"severity\":\"info\",\"title\":\"t\",\"timestamp\":\"x\"}]}"

static void
test_messages(struct world *w)
{
	struct send_tools t = {.rules = &w->rules, .key = w->priv, .mail = {"", "", ""}};
	struct send_tools mail = {
	    .rules = &w->rules, .mail = {"smtp://mail.example.com", "", "Print <p@example.com>"}};
	struct seal_place at = SEAL_RULE_TARGET(w->org, w->hook);
	static const char *const channels[] = {"webhook", "slack", "discord", "teams", "ntfy"};
	struct send_end end;
	struct delivery *d;

	TAP_EACH(channels, c)
	{
		d = delivery(w, "");
		d->message = true;
		d->channel = str_from(*c);
		d->content = STR(CONTENT);
		d->target_sealed = seal_secret(
		    d->arena, w->pub, &at, STR("https://chat.example.com/topic"));
		ok(send_prepare(&t, d, &end) && d->easy && d->body.n > 10, "%s", *c);
		end_with(d);
		d = delivery(w, "");
		d->message = true;
		d->channel = str_from(*c);
		d->content = STR(CONTENT);
		d->target_sealed = seal_secret(
		    d->arena, w->pub, &at, STR("https://10.0.0.1/topic"));
		ok(!send_prepare(&t, d, &end) && str_eq(end.error, STR("blocked_address")),
		    "%s: nothing internal", *c);
		end_with(d);
	}
	d = delivery(w, "");
	d->message = true;
	d->channel = STR("email");
	d->content = STR(CONTENT);
	d->recipients = STR("[\"a@example.com\"]");
	ok(!send_prepare(&t, d, &end) && str_eq(end.error, STR("mail_not_configured")),
	    "no mail server");
	ok(send_prepare(&mail, d, &end) && d->by_mail && d->easy, "a mail");
	end_with(d);
	d = delivery(w, "");
	d->message = true;
	d->channel = STR("email");
	d->content = STR(CONTENT);
	d->recipients = STR("[\"nobody\", 1]");
	ok(!send_prepare(&mail, d, &end) && str_eq(end.error, STR("no_recipients")), "to nobody");
	end_with(d);
	d = delivery(w, "");
	d->message = true;
	d->channel = STR("pigeon");
	d->content = STR(CONTENT);
	ok(!send_prepare(&t, d, &end) && str_eq(end.error, STR("misconfigured")),
	    "no such channel");
	end_with(d);
}

static void
test_result(struct world *w)
{
	struct delivery *d = delivery(w, "");
	struct send_end end = {.status = 503,
	    .error = STR("http_503"),
	    .retry_after_s = 7,
	    .latency_ms = 12,
	    .head = STR("a\"b\n")};
	struct str text;

	d->fencing = 5;
	d->signatures = 1;
	text = send_result(d, &end);
	ok(strstr(text.p, "\"kind\":\"webhook\"") && strstr(text.p, "\"fencing\":5") &&
		strstr(text.p, "\"status\":503") && strstr(text.p, "\"error\":\"http_503\"") &&
		strstr(text.p, "\"response_head\":\"a\\\"b\\n\"") &&
		strstr(text.p, "\"retry_after_s\":7") && strstr(text.p, "\"signatures\":1"),
	    "a failure");
	end = (struct send_end){.retry_after_s = -1};
	d->message = true;
	text = send_result(d, &end);
	ok(strstr(text.p, "\"kind\":\"message\"") && strstr(text.p, "\"status\":null") &&
		strstr(text.p, "\"error\":null") && strstr(text.p, "\"retry_after_s\":null") &&
		strstr(text.p, "\"permanent\":false"),
	    "a mail that was taken");
	end_with(d);
}

int
main(void)
{
	struct world w = {
	    .a = arena_new(64 << 20), .org = uuid_v7(), .hook = uuid_v7(), .secret = uuid_v7()};
	struct str priv, pub;

	seal_generate(w.a, &priv, &pub);
	w.pub = seal_public_new(pub);
	w.priv = seal_private_new(priv);
	test_headers();
	test_retry_after();
	test_shown();
	test_prepare(&w);
	test_refused_before(&w);
	test_messages(&w);
	test_result(&w);
	seal_public_free(w.pub);
	seal_private_free(w.priv);
	arena_free(w.a);
	return tap_done();
}
