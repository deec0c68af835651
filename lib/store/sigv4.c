#include "store/sigv4.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

enum { HASH_LEN = 32, TEXT_MOST = 64 * 1024 };

#define ALGORITHM "AWS4-HMAC-SHA256"
#define UNSIGNED STR("UNSIGNED-PAYLOAD")

static struct str
hash_hex(struct arena *a, struct str s)
{
	uint8_t out[HASH_LEN];

	must(EVP_Digest(s.p ? s.p : "", s.n, out, NULL, EVP_sha256(), NULL) == 1);
	return str_hex(a, out, sizeof(out));
}

static void
hmac(const uint8_t *key, size_t key_n, struct str s, uint8_t out[HASH_LEN])
{
	const unsigned char *in = (const unsigned char *)s.p;

	must(HMAC(EVP_sha256(), key, (int)key_n, in, s.n, out, NULL) != NULL);
}

/* Percent-encoding of RFC 3986, with a slash kept when asked for. */
static void
encode(struct buf *b, struct str s, bool keep_slash)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (isalnum(c) || strchr("-_.~", c) || (c == '/' && keep_slash))
			buf_char(b, (char)c);
		else
			buf_fmt(b, "%%%02X", c);
	}
}

/* The buffer's content in the arena; the buffer is empty after it. */
static struct str
taken(struct arena *a, struct buf *b)
{
	struct str s;

	must(!b->overflow);
	s = str_dup(a, buf_view(b));
	buf_fini(b);
	return s;
}

struct str
sigv4_path(struct arena *a, struct str path)
{
	struct buf b;

	buf_init(&b, TEXT_MOST);
	encode(&b, path, true);
	return taken(a, &b);
}

static int
by_name(const void *x, const void *y)
{
	const struct sigv4_pair *a = x, *b = y;
	int c = str_cmp(a->name, b->name);

	return c ? c : str_cmp(a->value, b->value);
}

/* A sorted copy. */
static struct sigv4_pair *
sorted(struct arena *a, const struct sigv4_pair *pairs, size_t n)
{
	struct sigv4_pair *copy = arena_array(a, n, sizeof(*copy));

	for (size_t i = 0; i < n; i++)
		copy[i] = pairs[i];
	qsort(copy, n, sizeof(*copy), by_name);
	return copy;
}

static struct str
encoded(struct arena *a, struct str s)
{
	struct buf b;

	buf_init(&b, TEXT_MOST);
	encode(&b, s, false);
	return taken(a, &b);
}

struct str
sigv4_query(struct arena *a, const struct sigv4_pair *query, size_t n)
{
	struct sigv4_pair *pairs = arena_array(a, n, sizeof(*pairs));
	struct buf b;

	for (size_t i = 0; i < n; i++)
		pairs[i] = (struct sigv4_pair){
		    encoded(a, query[i].name), encoded(a, query[i].value)};
	pairs = sorted(a, pairs, n);
	buf_init(&b, TEXT_MOST);
	for (size_t i = 0; i < n; i++)
		buf_fmt(&b, "%s%.*s=%.*s", i ? "&" : "", STR_ARG(pairs[i].name),
		    STR_ARG(pairs[i].value));
	return taken(a, &b);
}

struct str
sigv4_date(struct arena *a, int64_t at_s)
{
	char text[40], out[17];
	size_t n = 0;

	clock_rfc3339_to(text, at_s * 1000);
	for (const char *p = text; *p != '.'; p++)
		if (*p != '-' && *p != ':')
			out[n++] = *p;
	out[n++] = 'Z';
	return str_dup(a, (struct str){out, n});
}

/* "20130524/us-east-1/s3/aws4_request" */
static struct str
scope(struct arena *a, const struct sigv4_key *key, struct str date)
{
	return str_fmt(a, "%.8s/%.*s/s3/aws4_request", date.p, STR_ARG(key->region));
}

/* "host;range;x-amz-date" */
static struct str
signed_names(struct arena *a, const struct sigv4_pair *headers, size_t n)
{
	struct buf b;

	buf_init(&b, TEXT_MOST);
	for (size_t i = 0; i < n; i++)
		buf_fmt(&b, "%s%.*s", i ? ";" : "", STR_ARG(headers[i].name));
	return taken(a, &b);
}

/* headers are sorted; query is encoded and sorted. */
static struct str
canonical(struct arena *a, const struct sigv4_request *r, const struct sigv4_pair *headers,
    struct str query)
{
	struct buf b;

	buf_init(&b, TEXT_MOST);
	buf_fmt(&b, "%s\n", r->method);
	encode(&b, r->path, true);
	buf_fmt(&b, "\n%.*s\n", STR_ARG(query));
	for (size_t i = 0; i < r->n_headers; i++)
		buf_fmt(&b, "%.*s:%.*s\n", STR_ARG(headers[i].name),
		    STR_ARG(str_trim(headers[i].value)));
	buf_char(&b, '\n');
	buf_str(&b, signed_names(a, headers, r->n_headers));
	buf_char(&b, '\n');
	buf_str(&b, r->payload.p ? r->payload : UNSIGNED);
	return taken(a, &b);
}

static struct str
signature(struct arena *a, const struct sigv4_key *key, struct str date, struct str request)
{
	struct str text = str_fmt(a, ALGORITHM "\n%.*s\n%.*s\n%.*s", STR_ARG(date),
	    STR_ARG(scope(a, key, date)), STR_ARG(hash_hex(a, request)));
	struct str seed = str_fmt(a, "AWS4%.*s", STR_ARG(key->secret));
	const struct str steps[] = {{date.p, 8}, key->region, STR("s3"), STR("aws4_request"), text};
	uint8_t mac[HASH_LEN];

	hmac((const uint8_t *)seed.p, seed.n, steps[0], mac);
	for (size_t i = 1; i < sizeof(steps) / sizeof(steps[0]); i++)
		hmac(mac, sizeof(mac), steps[i], mac);
	return str_hex(a, mac, sizeof(mac));
}

struct str
sigv4_authorization(struct arena *a, const struct sigv4_key *key, const struct sigv4_request *r)
{
	struct sigv4_pair *headers = sorted(a, r->headers, r->n_headers);
	struct str date = sigv4_date(a, r->at_s);
	struct str request = canonical(a, r, headers, sigv4_query(a, r->query, r->n_query));

	return str_fmt(a, ALGORITHM " Credential=%.*s/%.*s,SignedHeaders=%.*s,Signature=%.*s",
	    STR_ARG(key->id), STR_ARG(scope(a, key, date)),
	    STR_ARG(signed_names(a, headers, r->n_headers)),
	    STR_ARG(signature(a, key, date, request)));
}

struct str
sigv4_presign(
    struct arena *a, const struct sigv4_key *key, const struct sigv4_request *r, int64_t expires_s)
{
	struct sigv4_pair *headers = sorted(a, r->headers, r->n_headers);
	struct str date = sigv4_date(a, r->at_s), query;
	const struct sigv4_pair own[] = {
	    {STR("X-Amz-Algorithm"), STR(ALGORITHM)},
	    {STR("X-Amz-Credential"),
		str_fmt(a, "%.*s/%.*s", STR_ARG(key->id), STR_ARG(scope(a, key, date)))},
	    {STR("X-Amz-Date"), date},
	    {STR("X-Amz-Expires"), str_fmt(a, "%lld", (long long)expires_s)},
	    {STR("X-Amz-SignedHeaders"), signed_names(a, headers, r->n_headers)},
	};
	enum { OWN = sizeof(own) / sizeof(own[0]) };
	struct sigv4_pair *all = arena_array(a, r->n_query + OWN, sizeof(*all));

	for (size_t i = 0; i < r->n_query + OWN; i++)
		all[i] = i < OWN ? own[i] : r->query[i - OWN];
	query = sigv4_query(a, all, r->n_query + OWN);
	return str_fmt(a, "%.*s&X-Amz-Signature=%.*s", STR_ARG(query),
	    STR_ARG(signature(a, key, date, canonical(a, r, headers, query))));
}
