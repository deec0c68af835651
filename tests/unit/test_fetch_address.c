/* Which addresses are public. The truth here is written as first and last addresses, from the
 * registries' text, not as the prefixes that the code has. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "net/fetch_guard.h"
#include "tap.h"

static const struct fetch_rules plain = {.http = false};

static const struct {
	const char *first, *last, *what;
} denied4[] = {
    {"0.0.0.0", "0.255.255.255", "this network"},
    {"10.0.0.0", "10.255.255.255", "private"},
    {"100.64.0.0", "100.127.255.255", "carriers' NAT"},
    {"127.0.0.0", "127.255.255.255", "loopback"},
    {"169.254.0.0", "169.254.255.255", "link-local"},
    {"172.16.0.0", "172.31.255.255", "private"},
    {"192.0.0.0", "192.0.0.255", "protocol assignments"},
    {"192.0.2.0", "192.0.2.255", "documentation"},
    {"192.88.99.0", "192.88.99.255", "6to4 relays"},
    {"192.168.0.0", "192.168.255.255", "private"},
    {"198.18.0.0", "198.19.255.255", "benchmarks"},
    {"198.51.100.0", "198.51.100.255", "documentation"},
    {"203.0.113.0", "203.0.113.255", "documentation"},
    {"224.0.0.0", "239.255.255.255", "multicast"},
    {"240.0.0.0", "255.255.255.255", "reserved"},
};

static uint32_t
number(const char *text)
{
	struct in_addr a;

	if (inet_pton(AF_INET, text, &a) != 1)
		abort();
	return ntohl(a.s_addr);
}

static bool
public4(const struct fetch_rules *rules, uint32_t n)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(n)};

	return fetch_address_public(rules, (struct sockaddr *)&sa);
}

static bool
public6(const struct fetch_rules *rules, const char *text)
{
	struct sockaddr_in6 sa = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET6, text, &sa.sin6_addr) != 1)
		abort();
	return fetch_address_public(rules, (struct sockaddr *)&sa);
}

static bool
truly_public4(uint32_t n)
{
	TAP_EACH(denied4, r)
	{
		if (n >= number(r->first) && n <= number(r->last))
			return false;
	}
	return true;
}

static void
test_boundaries(void)
{
	TAP_EACH(denied4, r)
	{
		uint32_t first = number(r->first), last = number(r->last);

		ok(!public4(&plain, first), "%s (%s)", r->first, r->what);
		ok(!public4(&plain, last), "%s (%s)", r->last, r->what);
		ok(!public4(&plain, first + (last - first) / 2), "the middle of %s", r->first);
		if (first > 0)
			ok(public4(&plain, first - 1) == truly_public4(first - 1), "before %s",
			    r->first);
		if (last < UINT32_MAX)
			ok(public4(&plain, last + 1) == truly_public4(last + 1), "after %s",
			    r->last);
	}
}

/* The first and last address of every 4,096. */
static void
test_sweep(void)
{
	uint32_t wrong = 0, n_public = 0;

	for (uint32_t block = 0; block < 1U << 20; block++) {
		uint32_t first = block << 12, last = first | 0xfff;

		if ((block & 0xff) == 0)
			wrong += public4(&plain, last) != truly_public4(last);
		wrong += public4(&plain, first) != truly_public4(first);
		n_public += public4(&plain, first);
	}
	is_int(wrong, 0, "no block is judged otherwise than the registries say");
	ok(n_public > 900000 && n_public < 1000000, "most are public: %u", n_public);
}

static void
test_v6(void)
{
	static const struct {
		const char *text;
		bool good;
	} cases[] = {
	    {"2606:4700:4700::1111", true},
	    {"2a00:1450:4001:80b::200e", true},
	    {"2000::", true},
	    {"2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true},
	    {"2001:200::", true},
	    {"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", true},
	    {"2001:db9::", true},
	    {"2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true},
	    {"2003::", true},
	    {"3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true},
	    {"3fff:1000::", true},
	    {"3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true},
	    {"::", false},
	    {"::1", false},
	    {"::2", false},
	    {"::127.0.0.1", false},
	    {"::ffff:127.0.0.1", false},
	    {"::ffff:10.0.0.1", false},
	    {"::ffff:169.254.169.254", false},
	    {"::ffff:8.8.8.8", false},
	    {"::ffff:0:8.8.8.8", false},
	    {"64:ff9b::7f00:1", false},
	    {"64:ff9b::8.8.8.8", false},
	    {"64:ff9b:1::1", false},
	    {"100::1", false},
	    {"1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
	    {"2001::", false},
	    {"2001:0:4136:e378:8000:63bf:3fff:fdd2", false},
	    {"2001:2::1", false},
	    {"2001:10::1", false},
	    {"2001:20::1", false},
	    {"2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", false},
	    {"2001:db8::", false},
	    {"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", false},
	    {"2002::", false},
	    {"2002:7f00:1::1", false},
	    {"2002:808:808::1", false},
	    {"2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
	    {"3fff::", false},
	    {"3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", false},
	    {"4000::", false},
	    {"5f00::1", false},
	    {"fc00::1", false},
	    {"fd00:ec2::254", false},
	    {"fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
	    {"fe80::1", false},
	    {"febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
	    {"fec0::1", false},
	    {"ff02::1", false},
	    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
	};

	TAP_EACH(cases, c)
	ok(public6(&plain, c->text) == c->good, "%s is %spublic", c->text, c->good ? "" : "not ");
}

static void
test_rules(void)
{
	struct fetch_rules test = {.test_net = "127.66.0.0/16"};
	struct fetch_rules test6 = {.test_net = "fd66::/16"};
	struct fetch_rules deny = {.deny = "print.example.com, 8.8.8.0/24,2606:4700::/32,9.9.9.9"};
	struct fetch_rules both = {.test_net = "127.66.0.0/16", .deny = "127.66.0.1"};

	ok(public4(&test, number("127.66.0.0")), "the test's network counts as public");
	ok(public4(&test, number("127.66.255.255")), "to its end");
	ok(!public4(&test, number("127.65.255.255")), "not before it");
	ok(!public4(&test, number("127.67.0.0")), "not behind it");
	ok(!public6(&test, "::ffff:127.66.0.1"), "nor mapped into IPv6");
	ok(public6(&test6, "fd66::1") && !public6(&test6, "fd67::1"), "a test's IPv6 network");
	ok(!public4(&deny, number("8.8.8.8")) && public4(&deny, number("8.8.9.8")), "own network");
	ok(!public4(&deny, number("9.9.9.9")) && public4(&deny, number("9.9.9.8")), "own address");
	ok(!public6(&deny, "2606:4700::1") && public6(&deny, "2606:4701::1"), "own IPv6 network");
	ok(!public4(&both, number("127.66.0.1")), "what is denied is denied in a test too");
}

static void
test_families(void)
{
	struct sockaddr_storage sa = {.ss_family = AF_UNIX};

	ok(!fetch_address_public(&plain, (struct sockaddr *)&sa), "a unix socket is not public");
	sa.ss_family = AF_UNSPEC;
	ok(!fetch_address_public(&plain, (struct sockaddr *)&sa), "no family is not public");
}

static void
test_own(void)
{
	struct fetch_rules all = {.test_net = "127.0.0.0/8"};
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	ok(!fetch_address_allowed(&plain, (struct sockaddr *)&sa), "loopback");
	ok(fetch_address_allowed(&all, (struct sockaddr *)&sa), "a test may fetch from itself");
	sa.sin_addr.s_addr = htonl(number("1.1.1.1"));
	ok(fetch_address_allowed(&plain, (struct sockaddr *)&sa), "a public address of others");
}

static void
test_lists(void)
{
	static const struct {
		const char *list;
		bool names, good;
	} cases[] = {
	    {NULL, false, true},
	    {"", false, true},
	    {"10.0.0.0/8", false, true},
	    {"10.0.0.0/33", false, false},
	    {"10.0.0.0/-1", false, false},
	    {"10.0.0.0/", false, false},
	    {"10.0.0/8", false, false},
	    {"fd00::/8,10.0.0.1", false, true},
	    {"fd00::/129", false, false},
	    {"example.com", false, false},
	    {"example.com", true, true},
	    {"example.com/8", true, false},
	    {"fd00::zz", true, false},
	};

	TAP_EACH(cases, c)
	ok(fetch_networks_ok(c->list, c->names) == c->good, "'%s' is %sa list",
	    c->list ? c->list : "(none)", c->good ? "" : "not ");
}

static void
test_new(void)
{
	static const struct {
		struct fetch_rules rules;
		bool good;
	} cases[] = {
	    {{.http = false}, true},
	    {{.ca_file = "", .deny = "", .test_net = ""}, true},
	    {{.deny = "print.example.com,192.0.2.1"}, true},
	    {{.ca_file = "/nonexistent"}, false},
	    {{.test_net = "everything"}, false},
	    {{.deny = "10.0.0.0/99"}, false},
	};

	TAP_EACH(cases, c)
	{
		struct fetch *f = fetch_new(&c->rules);

		ok((f != NULL) == c->good, "rules %zu are %susable", (size_t)(c - cases),
		    c->good ? "" : "not ");
		fetch_free(f);
	}
}

int
main(void)
{
	test_boundaries();
	test_sweep();
	test_v6();
	test_rules();
	test_families();
	test_own();
	test_lists();
	test_new();
	return tap_done();
}
