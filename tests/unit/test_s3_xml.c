/* The XML of S3 services' answers. */
#include "base/arena.h"
#include "base/buf.h"
#include "store/s3_xml.h"
#include "tap.h"

#define NS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

static struct arena *arena;

static struct s3_answer
parsed(const char *xml)
{
	struct s3_answer x;

	ok(s3_xml_parse(arena, str_from(xml), &x), "parsed");
	return x;
}

static void
test_list(void)
{
	struct s3_answer x = parsed(
	    "<?xml version=\"1.0\"?><ListBucketResult" NS "><Name>b</Name><IsTruncated>true"
	    "</IsTruncated><NextContinuationToken>t=/+</NextContinuationToken>"
	    "<Contents><Key>a &amp; b</Key><LastModified>2026-11-20T20:24:20.000Z</LastModified>"
	    "<Size>434234</Size><Owner><ID>x</ID></Owner></Contents>"
	    "<Contents><Key>k</Key><LastModified>x</LastModified><Size>-1</Size></Contents>"
	    "<CommonPrefixes><Prefix>p</Prefix></CommonPrefixes></ListBucketResult>");

	is_str(x.root, STR("ListBucketResult"), "root");
	ok(x.truncated, "truncated");
	is_str(x.next_token, STR("t=/+"), "token");
	is_int(x.n, 2, "objects");
	is_str(x.items[0].key, STR("a & b"), "key");
	is_int(x.items[0].size, 434234, "size");
	is_int(x.items[0].modified_s, 1795206260, "time");
	is_int(x.items[1].size, 0, "a size that is none");
	is_int(x.items[1].modified_s, 0, "a time that is none");
}

static void
test_uploads(void)
{
	struct s3_answer x = parsed(
	    "<ListMultipartUploadsResult" NS
	    "><NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>u"
	    "</NextUploadIdMarker><IsTruncated>false</IsTruncated><Upload><Key>slp/x</Key><UploadId>"
	    "id</UploadId><Initiated>2010-11-10T20:48:33Z</Initiated></Upload>"
	    "</ListMultipartUploadsResult>");

	is_int(x.n, 1, "uploads");
	is_str(x.items[0].upload_id, STR("id"), "id");
	is_int(x.items[0].modified_s, 1289422113, "began");
	is_str(x.next_key, STR("k"), "key marker");
	is_str(x.next_upload, STR("u"), "id marker");
	ok(!x.truncated, "all of it");
	ok(!x.upload_id.p, "an upload's id is not the answer's");
}

static void
test_others(void)
{
	struct s3_answer x = parsed(
	    " \r\n\t<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>"
	    "Please.</Message></Error>");

	is_str(x.root, STR("Error"), "an error behind blanks");
	is_str(x.code, STR("SlowDown"), "code");
	is_str(x.message, STR("Please."), "message");
	x = parsed("<s:CopyPartResult xmlns:s=\"x\"><s:ETag>\"e\"</s:ETag></s:CopyPartResult>");
	is_str(x.root, STR("CopyPartResult"), "any prefix");
	is_str(x.etag, STR("\"e\""), "etag");
	x = parsed(
	    "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>");
	is_str(x.upload_id, STR("u"), "upload id");
	x = parsed(
	    "<L><Contents><Contents><Key>deep</Key></Contents></Contents><Key>top</Key></L>");
	is_int(x.n, 1, "an item is where it belongs");
	ok(!x.items[0].key.p, "and so is its key");
}

static void
test_refused(void)
{
	static const char *const cases[] = {"", " ", "text", "<a>", "<a></b>", "<!DOCTYPE x><x/>",
	    "<!DOCTYPE x [<!ENTITY a \"b\">]><x>&a;</x>", "<x>&a;</x>", "<x>\x01</x>",
	    "<x>\xE4</x>", "<html><br></html>"};
	struct s3_answer x;

	TAP_EACH(cases, c)
	ok(!s3_xml_parse(arena, str_from(*c), &x), "refused: %s", *c);
}

static bool
repeated(const char *head, const char *part, int n, const char *tail)
{
	struct buf b;
	struct s3_answer x;
	bool good;

	buf_init(&b, 8 << 20);
	buf_str(&b, str_from(head));
	for (int i = 0; i < n; i++)
		buf_str(&b, str_from(part));
	buf_str(&b, str_from(tail));
	good = s3_xml_parse(arena, buf_view(&b), &x);
	buf_fini(&b);
	return good;
}

static void
test_limits(void)
{
	const char *item = "<Contents><Key>k</Key></Contents>";

	ok(repeated("<L>", item, S3_ITEMS_MOST, "</L>"), "as many items as there may be");
	ok(!repeated("<L>", item, S3_ITEMS_MOST + 1, "</L>"), "one more");
	ok(repeated("<L><Key>", "x", S3_TEXT_MOST, "</Key></L>"), "as long a text as there may be");
	ok(!repeated("<L><Key>", "x", S3_TEXT_MOST + 1, "</Key></L>"), "one more");
	ok(!repeated("", "<a>", 100, ""), "too deep");
}

static void
test_time(void)
{
	static const struct {
		const char *in;
		int64_t want;
	} cases[] = {
	    {"2026-11-20T20:24:20Z", 1795206260},
	    {"2026-11-20T20:24:20.123Z", 1795206260},
	    {"1970-01-01T00:00:00Z", 0},
	    {"2026-11-20T20:24:20", 0},
	    {"2026-11-20", 0},
	    {"", 0},
	    {"2026-11-20T20:24:20.123456789012345678901Z", 0},
	};

	TAP_EACH(cases, c)
	is_int(s3_time(str_from(c->in)), c->want, c->in);
}

int
main(void)
{
	arena = arena_new(64 << 20);
	test_list();
	test_uploads();
	test_others();
	test_refused();
	test_limits();
	test_time();
	arena_free(arena);
	return tap_done();
}
