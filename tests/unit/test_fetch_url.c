/* The policy on URLs, file names that others chose, and what a fetch's end is called. */
#include "base/arena.h"
#include "net/fetch_guard.h"
#include "tap.h"

static struct arena *arena;

static const struct fetch_rules strict = {
    .deny = "print.example.com, 9.9.9.0/24", .own_url = "https://Own.example.com:8443/base"};
static const struct fetch_rules lax = {.http = true, .test_net = "127.66.0.0/16"};

/* --- what is let through --- */

static const struct {
	const char *url, *text, *host;
	int port;
} good[] = {
    {"https://example.com/a.stl", "https://example.com/a.stl", "example.com", 443},
    {"https://example.com", "https://example.com/", "example.com", 443},
    {"HTTPS://EXAMPLE.com/A", "https://EXAMPLE.com/A", "example.com", 443},
    {"https://example.com:443/", "https://example.com:443/", "example.com", 443},
    {"https://example.com:8443/x?y=z&t=%20", "https://example.com:8443/x?y=z&t=%20", "example.com",
	8443},
    {"https://example.com:80/", "https://example.com:80/", "example.com", 80},
    {"https://xn--mnchen-3ya.example/x", "https://xn--mnchen-3ya.example/x",
	"xn--mnchen-3ya.example", 443},
    {"https://a_b.example.com/", "https://a_b.example.com/", "a_b.example.com", 443},
    {"https://8.8.8.8/", "https://8.8.8.8/", "8.8.8.8", 443},
    {"https://134744072/", "https://8.8.8.8/", "8.8.8.8", 443},
    {"https://[2606:4700:4700::1111]/", "https://[2606:4700:4700::1111]/", "[2606:4700:4700::1111]",
	443},
    {"https://[2606:4700:4700:0::1111]:8443/", "https://[2606:4700:4700::1111]:8443/",
	"[2606:4700:4700::1111]", 8443},
    {"https://example.com/?next=http://127.0.0.1/", "https://example.com/?next=http://127.0.0.1/",
	"example.com", 443},
    {"https://example.com/a@b:c", "https://example.com/a@b:c", "example.com", 443},
    {"https://127.0.0.1.example.com/", "https://127.0.0.1.example.com/", "127.0.0.1.example.com",
	443},
};

static void
test_good(void)
{
	TAP_EACH(good, c)
	{
		struct fetch_url u, again;

		is_int(fetch_url_check(&strict, arena, str_from(c->url), &u), FETCH_OK, c->url);
		is_str(u.text, str_from(c->text), "normalised");
		is_str(u.host, str_from(c->host), "host");
		is_int(u.port, c->port, "port");
		ok(!u.http, "https");
		is_int(fetch_url_check(&strict, arena, u.text, &again), FETCH_OK, "twice the same");
		ok(str_eq(again.text, u.text) && str_eq(again.host, u.host), "to the byte");
	}
}

/* --- what is not --- */

static const struct {
	const char *url;
	enum fetch_status status;
} bad[] = {
    {"", FETCH_BAD_URL},
    {"example.com", FETCH_BAD_URL},
    {"//example.com/", FETCH_BAD_URL},
    {"https:", FETCH_BAD_URL},
    {"https:/example.com/", FETCH_BAD_URL},
    {"https:///example.com/", FETCH_BAD_URL},
    {"https:example.com", FETCH_BAD_URL},
    {"https://", FETCH_BAD_URL},
    {"https://:443/", FETCH_BAD_URL},
    {"https:///", FETCH_BAD_URL},
    {"https://?x", FETCH_BAD_URL},
    {"http://example.com/", FETCH_BAD_URL},
    {"ftp://example.com/", FETCH_BAD_URL},
    {"file:///etc/passwd", FETCH_BAD_URL},
    {"gopher://example.com/", FETCH_BAD_URL},
    {"dict://example.com:443/", FETCH_BAD_URL},
    {"ws://example.com/", FETCH_BAD_URL},
    {"javascript:alert(1)", FETCH_BAD_URL},
    {"data:text/plain,x", FETCH_BAD_URL},
    {"httpss://example.com/", FETCH_BAD_URL},
    {" https://example.com/", FETCH_BAD_URL},
    {"https://example.com/ ", FETCH_BAD_URL},
    {"https://example.com/a b", FETCH_BAD_URL},
    {"https://example.com/\tx", FETCH_BAD_URL},
    {"https://example.com\\@127.0.0.1/", FETCH_BAD_URL},
    {"https://example.com\\.evil/", FETCH_BAD_URL},
    {"https://user@example.com/", FETCH_BAD_URL},
    {"https://user:password@example.com/", FETCH_BAD_URL},
    {"https://@example.com/", FETCH_BAD_URL},
    {"https://:@example.com/", FETCH_BAD_URL},
    {"https://example.com@127.0.0.1/", FETCH_BAD_URL},
    {"https://127.0.0.1@example.com/", FETCH_BAD_URL},
    {"https://example.com/#x", FETCH_BAD_URL},
    {"https://example.com/#", FETCH_BAD_URL},
    {"https://example.com#@127.0.0.1/", FETCH_BAD_URL},
    {"https://example.com:22/", FETCH_BAD_URL},
    {"https://example.com:0/", FETCH_BAD_URL},
    {"https://example.com:6379/", FETCH_BAD_URL},
    {"https://example.com:65979/", FETCH_BAD_URL},
    {"https://example.com:-443/", FETCH_BAD_URL},
    {"https://example.com:443x/", FETCH_BAD_URL},
    {"https://example.com:443:80/", FETCH_BAD_URL},
    {"https://example.com./", FETCH_BAD_URL},
    {"https://127.0.0.1./", FETCH_BAD_URL},
    {"https://example..com/", FETCH_BAD_URL},
    {"https://.example.com/", FETCH_BAD_URL},
    {"https://localhost/", FETCH_BAD_URL},
    {"https://redis/", FETCH_BAD_URL},
    {"https://exa%6dple.123/", FETCH_BAD_URL},
    {"https://1.2.3.4.5/", FETCH_BAD_URL},
    {"https://256.256.256.256/", FETCH_BAD_URL},
    {"https://0x7f.0.0.0.1/", FETCH_BAD_URL},
    {"https://example.0x1/", FETCH_BAD_URL},
    {"https://[::1/", FETCH_BAD_URL},
    {"https://::1/", FETCH_BAD_URL},
    {"https://[fe80::1%25lo]/", FETCH_BAD_URL},
    {"https://[fe80::1%lo]/", FETCH_BAD_URL},
    {"https://[v1.x]/", FETCH_BAD_URL},
    {"https://[]/", FETCH_BAD_URL},
    {"https://m\xc3\xbcnchen.example/", FETCH_BAD_URL},
    {"https://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1/", FETCH_BAD_URL},
    {"https://127\xe3\x80\x82"
     "0.0.1/",
	FETCH_BAD_URL},
    {"https://127.0.0.1/", FETCH_BLOCKED},
    {"https://127.0.0.1:443/", FETCH_BLOCKED},
    {"https://127.1/", FETCH_BLOCKED},
    {"https://127.0.1/", FETCH_BLOCKED},
    {"https://0/", FETCH_BLOCKED},
    {"https://0.0.0.0/", FETCH_BLOCKED},
    {"https://2130706433/", FETCH_BLOCKED},
    {"https://0x7f000001/", FETCH_BLOCKED},
    {"https://0x7f.0.0.1/", FETCH_BLOCKED},
    {"https://0177.0.0.1/", FETCH_BLOCKED},
    {"https://017700000001/", FETCH_BLOCKED},
    {"https://0x7F.1/", FETCH_BLOCKED},
    {"https://127.0.0.%31/", FETCH_BLOCKED},
    {"https://169.254.169.254/latest/meta-data/", FETCH_BLOCKED},
    {"https://2852039166/", FETCH_BLOCKED},
    {"https://0xa9fea9fe/", FETCH_BLOCKED},
    {"https://10.0.0.1/", FETCH_BLOCKED},
    {"https://172.31.255.255/", FETCH_BLOCKED},
    {"https://192.168.0.1/", FETCH_BLOCKED},
    {"https://100.64.0.1/", FETCH_BLOCKED},
    {"https://127.66.0.1/", FETCH_BLOCKED},
    {"https://[::1]/", FETCH_BLOCKED},
    {"https://[::]/", FETCH_BLOCKED},
    {"https://[0:0:0:0:0:0:0:1]/", FETCH_BLOCKED},
    {"https://[::ffff:127.0.0.1]/", FETCH_BLOCKED},
    {"https://[::ffff:7f00:1]/", FETCH_BLOCKED},
    {"https://[::ffff:8.8.8.8]/", FETCH_BLOCKED},
    {"https://[64:ff9b::127.0.0.1]/", FETCH_BLOCKED},
    {"https://[2002:7f00:1::]/", FETCH_BLOCKED},
    {"https://[fd00:ec2::254]/", FETCH_BLOCKED},
    {"https://[fe80::1]/", FETCH_BLOCKED},
    {"https://9.9.9.9/", FETCH_BLOCKED},
    {"https://print.example.com/", FETCH_BLOCKED},
    {"https://PRINT.example.COM:8443/v1/files", FETCH_BLOCKED},
    {"https://print.ex%61mple.com/", FETCH_BLOCKED},
    {"https://own.example.com/v1/files", FETCH_BLOCKED},
    {"https://OWN.example.com:8443/", FETCH_BLOCKED},
};

static void
test_bad(void)
{
	TAP_EACH(bad, c)
	{
		struct fetch_url u;

		is_int(fetch_url_check(&strict, arena, str_from(c->url), &u), c->status, c->url);
	}
}

static void
test_bytes(void)
{
	static char longest[9000];
	struct fetch_url u;

	is_int(fetch_url_check(&strict, arena, STR("https://example.com/a\0b"), &u), FETCH_BAD_URL,
	    "a NUL inside");
	is_int(fetch_url_check(&strict, arena, STR("https://example.com/\r\nHost: x"), &u),
	    FETCH_BAD_URL, "a line feed inside");
	is_int(fetch_url_check(&strict, arena, STR_NONE, &u), FETCH_BAD_URL, "nothing");
	memset(longest, 'a', sizeof(longest));
	memcpy(longest, "https://example.com/", 20);
	is_int(fetch_url_check(&strict, arena, (struct str){longest, 9000}, &u), FETCH_BAD_URL,
	    "9,000 bytes");
	is_int(fetch_url_check(&strict, arena, (struct str){longest, 8192}, &u), FETCH_OK,
	    "8,192 bytes");
}

static void
test_lax(void)
{
	struct fetch_url u;

	is_int(fetch_url_check(&lax, arena, STR("http://example.com/"), &u), FETCH_OK, "http");
	ok(u.http && u.port == 80, "at its port");
	is_int(fetch_url_check(&lax, arena, STR("ftp://example.com/"), &u), FETCH_BAD_URL, "ftp");
	is_int(fetch_url_check(&lax, arena, STR("https://127.66.0.1:8443/x"), &u), FETCH_OK,
	    "the test's network");
	is_int(fetch_url_check(&lax, arena, STR("https://127.0.0.1:8443/x"), &u), FETCH_BLOCKED,
	    "not all of loopback");
}

/* --- names --- */

static void
test_segment(void)
{
	static const struct {
		const char *url, *name;
	} cases[] = {
	    {"https://example.com/a/benchy.3mf?x=1", "benchy.3mf"},
	    {"https://example.com/a/my%20part.stl", "my part.stl"},
	    {"https://example.com/a/..%2f..%2fetc%2fpasswd", "passwd"},
	    {"https://example.com/a%5cb.stl", "b.stl"},
	    {"https://example.com/a%0d%0ab.stl", "ab.stl"},
	    {"https://example.com/a%00.stl", "a.stl"},
	    {"https://example.com/%ff.stl", NULL},
	    {"https://example.com/", NULL},
	    {"https://example.com", NULL},
	    {"https://example.com/a/", NULL},
	    {"https://example.com/%2e%2e", NULL},
	};

	TAP_EACH(cases, c)
	{
		struct fetch_url u;

		is_int(fetch_url_check(&strict, arena, str_from(c->url), &u), FETCH_OK, c->url);
		is_str(u.filename, str_from(c->name), "its file name");
	}
}

static void
test_disposition(void)
{
	static const struct {
		const char *header, *name;
	} cases[] = {
	    {"attachment; filename=\"benchy.3mf\"", "benchy.3mf"},
	    {"attachment; filename=benchy.3mf", "benchy.3mf"},
	    {"attachment;FILENAME = benchy.3mf ; size=3", "benchy.3mf"},
	    {"attachment; filename=\"a;b=c.stl\"", "a;b=c.stl"},
	    {"attachment; filename=\"../../etc/passwd\"", "passwd"},
	    {"attachment; filename=\"C:\\\\x\\\\a.stl\"", "a.stl"},
	    {"attachment; filename*=UTF-8''m%C3%BCnchen.stl; filename=\"x.stl\"",
		"m\xc3\xbcnchen.stl"},
	    {"attachment; filename=\"x.stl\"; filename*=utf-8'de'm%C3%BCnchen.stl",
		"m\xc3\xbcnchen.stl"},
	    {"attachment; filename*=UTF-8''%2e%2e%2fa%0a.stl", "a.stl"},
	    {"attachment; filename*=iso-8859-1''%FC.stl; filename=\"x.stl\"", "x.stl"},
	    {"attachment; filename=\"\"", NULL},
	    {"attachment; filename=\"..\"", NULL},
	    {"attachment; filename=\"\xff\"", NULL},
	    {"attachment", NULL},
	    {"inline; notfilename=x", NULL},
	    {"", NULL},
	};

	TAP_EACH(cases, c)
	is_str(fetch_disposition(arena, str_from(c->header)), str_from(c->name), c->header);
}

static void
test_filename(void)
{
	static char many[1200];

	for (size_t i = 0; i < sizeof(many); i += 2)
		memcpy(many + i, "\xc3\xbc", 2);
	is_int((int64_t)fetch_filename(arena, (struct str){many, sizeof(many)}).n, 510,
	    "255 characters at most");
	is_str(fetch_filename(arena,
		   STR("a\xc2\x85\x7f"
		       "b")),
	    STR("ab"), "no control characters");
	is_str(fetch_filename(arena, STR(" \x01 a b \x01 ")), STR("a b"), "no blanks around it");
	is_str(fetch_filename(arena, STR("  ")), STR_NONE, "blanks are no name");
}

/* --- ends --- */

static void
test_reasons(void)
{
	static const struct {
		enum fetch_status status;
		int http;
		const char *code;
		bool transient;
	} cases[] = {
	    {FETCH_OK, 200, "ok", false},
	    {FETCH_BAD_URL, 0, "bad_url", false},
	    {FETCH_BLOCKED, 0, "blocked_address", false},
	    {FETCH_DNS_FAILED, 0, "dns_failed", true},
	    {FETCH_CONNECT_FAILED, 0, "connect_failed", true},
	    {FETCH_TLS_FAILED, 0, "tls_failed", false},
	    {FETCH_TIMEOUT, 0, "timeout", true},
	    {FETCH_TOO_LARGE, 200, "too_large", false},
	    {FETCH_TOO_MANY_REDIRECTS, 302, "too_many_redirects", false},
	    {FETCH_HTTP_ERROR, 404, "http_404", false},
	    {FETCH_HTTP_ERROR, 408, "http_408", true},
	    {FETCH_HTTP_ERROR, 429, "http_429", true},
	    {FETCH_HTTP_ERROR, 500, "http_500", true},
	    {FETCH_HTTP_ERROR, 304, "http_304", false},
	    {FETCH_ENCODED, 200, "encoded_answer", false},
	    {FETCH_BROKEN, 200, "broken_answer", true},
	    {FETCH_CANCELLED, 0, "cancelled", false},
	};

	TAP_EACH(cases, c)
	{
		struct fetch_result r = {.status = c->status, .http_status = c->http};

		is_str(fetch_reason(arena, &r), str_from(c->code), c->code);
		ok(fetch_transient(&r) == c->transient, "%s for good", c->transient ? "not" : "");
		ok(fetch_sentence(arena, &r).n > 10, "and a sentence");
	}
}

static void
test_verdicts(void)
{
	static const struct {
		CURLcode code;
		bool blocked;
		enum fetch_status status;
	} cases[] = {
	    {CURLE_OK, false, FETCH_OK},
	    {CURLE_OK, true, FETCH_OK},
	    {CURLE_COULDNT_CONNECT, false, FETCH_CONNECT_FAILED},
	    {CURLE_COULDNT_CONNECT, true, FETCH_BLOCKED},
	    {CURLE_ABORTED_BY_CALLBACK, true, FETCH_BLOCKED},
	    {CURLE_ABORTED_BY_CALLBACK, false, FETCH_CANCELLED},
	    {CURLE_PEER_FAILED_VERIFICATION, false, FETCH_TLS_FAILED},
	    {CURLE_GOT_NOTHING, false, FETCH_BROKEN},
	    {CURLE_PARTIAL_FILE, false, FETCH_BROKEN},
	    {CURLE_OPERATION_TIMEDOUT, false, FETCH_TIMEOUT},
	};

	TAP_EACH(cases, c)
	{
		struct fetch_guard g = {.rules = &strict, .blocked = c->blocked};

		is_int(fetch_verdict(&g, c->code), c->status, curl_easy_strerror(c->code));
	}
}

int
main(void)
{
	arena = arena_new(1 << 24);
	test_good();
	test_bad();
	test_bytes();
	test_lax();
	test_segment();
	test_disposition();
	test_filename();
	test_reasons();
	test_verdicts();
	arena_free(arena);
	return tap_done();
}
