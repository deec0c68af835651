/* Text formats, regular expressions, lengths, JSON pointers. */
#include "base/arena.h"
#include "http/format.h"
#include "http/pointer.h"
#include "http/validate.h"
#include "tap.h"

#define LABEL63 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk"

static const struct {
	const char *format;
	struct str text;
	bool want;
} formats[] = {
    {"uuid", STR_INIT("0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"), true},
    {"uuid", STR_INIT("0193481C-6C2B-7D5E-8F3A-2B1C4D5E6F70"), true},
    {"uuid", STR_INIT("0193481c6c2b7d5e8f3a2b1c4d5e6f70"), false},
    {"uuid", STR_INIT("{0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70}"), false},
    {"uuid", STR_INIT("0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f7g"), false},
    {"uuid", STR_INIT("0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70 "), false},
    {"uuid", STR_INIT(""), false},

    {"date-time", STR_INIT("2026-11-20T20:24:20Z"), true},
    {"date-time", STR_INIT("2026-11-20t20:24:20.123456789z"), true},
    {"date-time", STR_INIT("2026-11-20T20:24:60Z"), true},
    {"date-time", STR_INIT("2026-11-20T20:24:20+05:45"), true},
    {"date-time", STR_INIT("2024-02-29T00:00:00Z"), true},
    {"date-time", STR_INIT("2000-02-29T00:00:00-00:00"), true},
    {"date-time", STR_INIT("0001-01-01T00:00:00Z"), true},
    {"date-time", STR_INIT("9999-12-31T23:59:59Z"), true},
    {"date-time", STR_INIT("0000-01-01T00:00:00Z"), false},
    {"date-time", STR_INIT("2026-02-29T00:00:00Z"), false},
    {"date-time", STR_INIT("1900-02-29T00:00:00Z"), false},
    {"date-time", STR_INIT("2026-04-31T00:00:00Z"), false},
    {"date-time", STR_INIT("2026-13-01T00:00:00Z"), false},
    {"date-time", STR_INIT("2026-00-01T00:00:00Z"), false},
    {"date-time", STR_INIT("2026-11-20T24:00:00Z"), false},
    {"date-time", STR_INIT("2026-11-20T20:60:00Z"), false},
    {"date-time", STR_INIT("2026-11-20T20:24:61Z"), false},
    {"date-time", STR_INIT("2026-11-20T20:24:20"), false},
    {"date-time", STR_INIT("2026-11-20 20:24:20Z"), false},
    {"date-time", STR_INIT("2026-11-20"), false},
    {"date-time", STR_INIT("2026-11-20T20:24:20.Z"), false},
    {"date-time", STR_INIT("2026-11-20T20:24:20+16:00"), false},
    {"date-time", STR_INIT("2026-11-20T20:24:20+0545"), false},
    {"date-time", STR_INIT("2026-11-20T20:24:20Z\n"), false},
    {"date-time", STR_INIT("12026-11-20T20:24:20Z"), false},

    {"hostname", STR_INIT("printer-4.lab.example"), true},
    {"hostname", STR_INIT("a"), true},
    {"hostname", STR_INIT("3dp.local"), true},
    {"hostname", STR_INIT(LABEL63 ".example"), true},
    {"hostname", STR_INIT(LABEL63 "x.example"), false},
    {"hostname", STR_INIT(LABEL63 "." LABEL63 "." LABEL63 "." LABEL63 ".example"), false},
    {"hostname", STR_INIT("-a.example"), false},
    {"hostname", STR_INIT("a-.example"), false},
    {"hostname", STR_INIT("a..example"), false},
    {"hostname", STR_INIT("a.example."), false},
    {"hostname", STR_INIT("a_b.example"), false},
    {"hostname", STR_INIT("a b"), false},
    {"hostname", STR_INIT("a\n"), false},
    {"hostname",
	STR_INIT("b\xc3\xbc"
		 "cher.example"),
	false},
    {"hostname", STR_INIT("256.1.1.1"), false},
    {"hostname", STR_INIT("123"), false},
    {"hostname", STR_INIT(""), false},

    {"ipv4", STR_INIT("192.0.2.1"), true},
    {"ipv4", STR_INIT("0.0.0.0"), true},
    {"ipv4", STR_INIT("192.0.2.256"), false},
    {"ipv4", STR_INIT("192.0.2"), false},
    {"ipv4", STR_INIT("192.0.2.01"), false},
    {"ipv4", STR_INIT("192.0.2.1 "), false},
    {"ipv4", STR_INIT("192.0.2.1\0"), false},
    {"ipv4", STR_INIT(""), false},
    {"ipv6", STR_INIT("2001:db8::1"), true},
    {"ipv6", STR_INIT("::"), true},
    {"ipv6", STR_INIT("::ffff:192.0.2.1"), true},
    {"ipv6", STR_INIT("2001:db8:::1"), false},
    {"ipv6", STR_INIT("fe80::1%eth0"), false},
    {"ipv6", STR_INIT("[::1]"), false},
    {"ipv6", STR_INIT("0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"), false},

    {"host", STR_INIT("192.0.2.1"), true},
    {"host", STR_INIT("2001:db8::1"), true},
    {"host", STR_INIT("printer.local"), true},
    {"host", STR_INIT("printer.local:8883"), false},
    {"host", STR_INIT("http://printer.local"), false},

    {"cidr", STR_INIT("198.51.100.0/24"), true},
    {"cidr", STR_INIT("198.51.100.7/32"), true},
    {"cidr", STR_INIT("198.51.100.7"), true},
    {"cidr", STR_INIT("0.0.0.0/0"), true},
    {"cidr", STR_INIT("2001:db8::/32"), true},
    {"cidr", STR_INIT("::/0"), true},
    {"cidr", STR_INIT("2001:db8::1"), true},
    {"cidr", STR_INIT("198.51.100.7/24"), false},
    {"cidr", STR_INIT("2001:db8::1/32"), false},
    {"cidr", STR_INIT("198.51.100.0/33"), false},
    {"cidr", STR_INIT("2001:db8::/129"), false},
    {"cidr", STR_INIT("198.51.100.0/-1"), false},
    {"cidr", STR_INIT("198.51.100.0/"), false},
    {"cidr", STR_INIT("198.51.100.0/0024"), false},
    {"cidr", STR_INIT("198.51.100.0/24/24"), false},
    {"cidr", STR_INIT("example/24"), false},
    {"cidr", STR_INIT(""), false},

    {"uri", STR_INIT("https://example.com/a?b=c#d"), true},
    {"uri", STR_INIT("urn:uuid:0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"), true},
    {"uri", STR_INIT("/relative"), false},
    {"uri", STR_INIT("example.com"), false},
    {"uri", STR_INIT("https://exa mple.com"), false},
    {"uri", STR_INIT("https://example.com/%zz"), false},
    {"uri", STR_INIT(""), false},
};

static const struct {
	struct str text;
	int64_t length;
} lengths[] = {
    {STR_INIT(""), 0},
    {STR_INIT("abc"), 3},
    {STR_INIT("\xc3\xa4\xc3\xb6"), 2},
    {STR_INIT("\xf0\x9f\x96\xa8"), 1},
    {STR_INIT("e\xcc\x81"), 2},
};

static void
test_patterns(void)
{
	static struct pattern name = {"^[^\\x00-\\x20]([^\\x00-\\x1f]*[^\\x00-\\x20])?$", NULL};
	static struct pattern loose = {"b+", NULL};
	static struct pattern wide = {"^.$", NULL};

	ok(pattern_ok(&name, STR("Bench 4")), "a name");
	ok(pattern_ok(&name, STR("x")), "one character");
	ok(!pattern_ok(&name, STR("Bench\n")), "'$' is not before a line feed");
	ok(!pattern_ok(&name, STR(" x")), "a blank in front");
	ok(!pattern_ok(&name, STR("")), "empty");
	ok(!pattern_ok(&name, STR_NONE), "nothing at all");
	ok(pattern_ok(&loose, STR("abc")), "not anchored by itself");
	ok(pattern_ok(&wide, STR("\xf0\x9f\x96\xa8")), "one character of four bytes");
	ok(!pattern_ok(&wide, STR("\xff")), "no match in what is not UTF-8");
}

static void
test_pointers(void)
{
	struct arena *a = arena_new(1 << 16);
	struct pointer root = {NULL, STR("tags"), 0};
	struct pointer item = {&root, STR_NONE, 17};
	struct pointer odd = {&item, STR("a~/b"), 0};
	struct pointer empty = {NULL, STR(""), 0};

	is_str(pointer_text(a, NULL), STR(""), "the whole document");
	is_str(pointer_text(a, &root), STR("/tags"), "a member");
	is_str(pointer_text(a, &item), STR("/tags/17"), "an item");
	is_str(pointer_text(a, &odd), STR("/tags/17/a~0~1b"), "escapes");
	is_str(pointer_text(a, &empty), STR("/"), "the member with the empty name");
	arena_free(a);
}

int
main(void)
{
	TAP_EACH(formats, f)
	ok(format_ok(f->format, f->text) == f->want, "%s: '%.*s' is %s", f->format, (int)f->text.n,
	    f->text.p, f->want ? "good" : "bad");
	TAP_EACH(lengths, l)
	is_int((int64_t)text_length(l->text), l->length, l->text.p);
	test_patterns();
	test_pointers();
	return tap_done();
}
