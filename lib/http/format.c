#include "http/format.h"

#include <arpa/inet.h>
#include <string.h>
#include <uriparser/Uri.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/log.h"
#include "base/uuid.h"
#include "http/validate.h"

/* The contract's patterns are ECMA-262's: '$' is the very end. */
static pcre2_code *
compile(const char *text)
{
	int error;
	PCRE2_SIZE at;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
	    PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NO_AUTO_CAPTURE, &error, &at, NULL);

	must(code != NULL);
	return code;
}

bool
pattern_ok(struct pattern *p, struct str s)
{
	/* A process answers one request at a time: one block of working memory does for every
	 * pattern. */
	static pcre2_match_data *match;

	if (!match)
		match = pcre2_match_data_create(1, NULL);
	must(match != NULL);
	if (!p->code)
		p->code = compile(p->text);
	return pcre2_match(p->code, (PCRE2_SPTR)(s.p ? s.p : ""), s.n, 0, 0, match, NULL) >= 0;
}

size_t
text_length(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

/* inet_pton for a counted string. */
static bool
address(int family, struct str s, void *out)
{
	char z[INET6_ADDRSTRLEN];

	if (!s.n || s.n >= sizeof(z) || memchr(s.p, '\0', s.n))
		return false;
	memcpy(z, s.p, s.n);
	z[s.n] = '\0';
	return inet_pton(family, z, out) == 1;
}

static bool
is_ipv4(struct str s)
{
	uint8_t b[4];

	return address(AF_INET, s, b);
}

static bool
is_ipv6(struct str s)
{
	uint8_t b[16];

	return address(AF_INET6, s, b);
}

static bool
is_hostname(struct str s)
{
#define LABEL "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
	/* The last label is not a number: that would be a broken address. */
	static struct pattern name = {"^(?!(.*\\.)?[0-9]+$)" LABEL "(\\." LABEL ")*$", NULL};

	return s.n <= 253 && pattern_ok(&name, s);
}

static bool
is_host(struct str s)
{
	return is_ipv4(s) || is_ipv6(s) || is_hostname(s);
}

/* Are the bits behind the prefix all zero? */
static bool
network_only(const uint8_t *addr, size_t n, int64_t prefix)
{
	for (size_t bit = (size_t)prefix; bit < n * 8; bit++) {
		if (addr[bit / 8] & (0x80U >> (bit % 8)))
			return false;
	}
	return true;
}

static bool
is_cidr(struct str s)
{
	uint8_t addr[16];
	size_t n = str_index(s, ':') >= 0 ? 16 : 4;
	struct str host = str_cut(&s, '/');
	int64_t prefix = (int64_t)n * 8;

	if (!address(n == 16 ? AF_INET6 : AF_INET, host, addr))
		return false;
	if (s.p && (s.n > 3 || !str_to_i64(s, &prefix) || prefix < 0 || prefix > (int64_t)n * 8))
		return false;
	return network_only(addr, n, prefix);
}

static int
number(struct str s, size_t at, size_t n)
{
	int64_t v = 0;

	must(str_to_i64((struct str){s.p + at, n}, &v));
	return (int)v;
}

static bool
is_date_time(struct str s)
{
	static struct pattern shape = {
	    "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
	    "[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\\.[0-9]{1,9})?"
	    "([Zz]|[+-](0[0-9]|1[0-5]):[0-5][0-9])$",
	    NULL};
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int year, month, day;
	bool leap;

	if (!pattern_ok(&shape, s))
		return false;
	year = number(s, 0, 4);
	month = number(s, 5, 2);
	day = number(s, 8, 2);
	leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return year > 0 && day <= days[month - 1] + (month == 2 && leap);
}

static bool
is_uri(struct str s)
{
	UriUriA uri;
	bool ok;

	if (!s.n || uriParseSingleUriExA(&uri, s.p, s.p + s.n, NULL) != URI_SUCCESS)
		return false;
	ok = uri.scheme.first && uri.scheme.afterLast > uri.scheme.first;
	uriFreeUriMembersA(&uri);
	return ok;
}

static bool
is_uuid(struct str s)
{
	struct uuid u;

	return uuid_parse(s, &u);
}

static const struct {
	const char *name;
	bool (*ok)(struct str s);
} formats[] = {
    {"uuid", is_uuid},
    {"date-time", is_date_time},
    {"host", is_host},
    {"hostname", is_hostname},
    {"ipv4", is_ipv4},
    {"ipv6", is_ipv6},
    {"cidr", is_cidr},
    {"uri", is_uri},
};

bool
format_ok(const char *format, struct str s)
{
	size_t i = 0;

	while (strcmp(formats[i].name, format) != 0) {
		i++;
		must(i < sizeof(formats) / sizeof(formats[0]));
	}
	return formats[i].ok(s);
}
