/* Signatures against the values that AWS publishes ("Signature calculations for the Authorization
 * header", "Authenticating requests: using query parameters", Amazon S3 API reference). */
#include "base/arena.h"
#include "store/sigv4.h"
#include "tap.h"

#define EMPTY STR_INIT("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
#define DATE                                                                                       \
	{                                                                                          \
		STR_INIT("x-amz-date"), STR_INIT("20130524T000000Z")                               \
	}
#define HOST                                                                                       \
	{                                                                                          \
		STR_INIT("host"), STR_INIT("examplebucket.s3.amazonaws.com")                       \
	}
#define NO_CONTENT                                                                                 \
	{                                                                                          \
		STR_INIT("x-amz-content-sha256"), EMPTY                                            \
	}

static struct arena *arena;

static const struct sigv4_key key = {STR_INIT("AKIAIOSFODNN7EXAMPLE"),
    STR_INIT("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), STR_INIT("us-east-1")};
static const int64_t at_s = 1369353600; /* 2013-05-24 00:00:00 */

static const struct {
	const char *name, *method;
	struct str path;
	struct sigv4_pair query[2];
	size_t n_query;
	struct sigv4_pair headers[6];
	size_t n_headers;
	struct str payload;
	const char *names, *signature;
} cases[] = {
    {"GetObject", "GET", STR_INIT("/test.txt"), {{STR_INIT(""), STR_INIT("")}}, 0,
	{HOST, DATE, {STR_INIT("range"), STR_INIT("bytes=0-9")}, NO_CONTENT}, 4, EMPTY,
	"host;range;x-amz-content-sha256;x-amz-date",
	"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
    {"PutObject", "PUT", STR_INIT("/test$file.text"), {{STR_INIT(""), STR_INIT("")}}, 0,
	{DATE, HOST, {STR_INIT("date"), STR_INIT("Fri, 24 May 2013 00:00:00 GMT")},
	    {STR_INIT("x-amz-storage-class"), STR_INIT("REDUCED_REDUNDANCY")},
	    {STR_INIT("x-amz-content-sha256"),
		STR_INIT("44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072")}},
	5, STR_INIT("44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
	"date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
	"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
    {"GetBucketLifecycle", "GET", STR_INIT("/"), {{STR_INIT("lifecycle"), STR_INIT("")}}, 1,
	{HOST, NO_CONTENT, DATE}, 3, EMPTY, "host;x-amz-content-sha256;x-amz-date",
	"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
    {"ListObjects", "GET", STR_INIT("/"),
	{{STR_INIT("prefix"), STR_INIT("J")}, {STR_INIT("max-keys"), STR_INIT("2")}}, 2,
	{HOST, NO_CONTENT, DATE}, 3, EMPTY, "host;x-amz-content-sha256;x-amz-date",
	"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
};

static void
test_header(void)
{
	TAP_EACH(cases, c)
	{
		const struct sigv4_request r = {.method = c->method,
		    .path = c->path,
		    .query = c->query,
		    .n_query = c->n_query,
		    .headers = c->headers,
		    .n_headers = c->n_headers,
		    .payload = c->payload,
		    .at_s = at_s};

		is_str(sigv4_authorization(arena, &key, &r),
		    str_fmt(arena,
			"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"
			"aws4_request,SignedHeaders=%s,Signature=%s",
			c->names, c->signature),
		    c->name);
	}
}

static void
test_query(void)
{
	static const struct sigv4_pair headers[] = {HOST};
	static const struct sigv4_request r = {.method = "GET",
	    .path = STR_INIT("/test.txt"),
	    .headers = headers,
	    .n_headers = 1,
	    .at_s = 1369353600};

	is_str(sigv4_presign(arena, &key, &r, 86400),
	    STR("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524"
		"%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&"
		"X-Amz-SignedHeaders=host&X-Amz-Signature="
		"aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"),
	    "a presigned GET");
}

static void
test_encoding(void)
{
	static const struct sigv4_pair pairs[] = {
	    {STR_INIT("b"), STR_INIT("2")},
	    {STR_INIT("a b"), STR_INIT("x/y+z&=")},
	    {STR_INIT("a"), STR_INIT("\xC3\xA4~")},
	    {STR_INIT("a"), STR_INIT("")},
	    {STR_INIT("a-"), STR_INIT("*")},
	};

	is_str(sigv4_query(arena, pairs, 5), STR("a=&a=%C3%A4~&a%20b=x%2Fy%2Bz%26%3D&a-=%2A&b=2"),
	    "query: encoded, then sorted");
	is_str(sigv4_query(arena, pairs, 0), STR(""), "no query");
	is_str(sigv4_path(arena, STR("/a b/\xC3\xA4+(1)~.txt")),
	    STR("/a%20b/%C3%A4%2B%281%29~.txt"), "path");
	is_str(sigv4_date(arena, at_s), STR("20130524T000000Z"), "date");
}

int
main(void)
{
	arena = arena_new(1 << 20);
	test_header();
	test_query();
	test_encoding();
	arena_free(arena);
	return tap_done();
}
