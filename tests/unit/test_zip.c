/* Archives: finding, inflating, and what is refused. Hostile ones are in tests/media. */
#include "media/zip.h"

#include "media/xml.h"
#include "media_fixture.h"

static struct buf archive;

static struct fixture
open_items(const struct zip_item *items, struct unzip **z)
{
	struct fixture f;

	fixture_zip(&archive, items);
	f = fixture_open(buf_view(&archive), "x.zip");
	*z = unzip_open(f.m);
	return f;
}

static void
test_reading(void)
{
	struct unzip *z;
	struct fixture f = open_items(
	    (struct zip_item[]){{"a", STR("hello")}, {"Dir/B.txt", STR("")},
		{"dir/b.TXT", STR("x")}, {NULL, STR_NONE}},
	    &z);

	ok(z != NULL, "opened");
	is_int(unzip_count(z), 3, "entries");
	is_str(unzip_name(z, 1), STR("Dir/B.txt"), "name");
	is_int(unzip_find(z, STR("a")), 0, "found");
	is_int(unzip_find(z, STR("dir/b.TXT")), 2, "the exact name first");
	is_int(unzip_find(z, STR("DIR/B.TXT")), 1, "else in any case");
	is_int(unzip_find(z, STR("b")), -1, "not found");
	is_str(unzip_bytes(z, 0, 100), STR("hello"), "content");
	is_str(unzip_bytes(z, 0, 5), STR("hello"), "that just fits");
	ok(!unzip_bytes(z, 0, 4).p, "that does not fit");
	is_str(unzip_bytes(z, 1, 10), STR(""), "empty");
	ok(unzip_bytes(z, 1, 10).p != NULL, "is not missing");
	ok(!unzip_bytes(z, -1, 10).p, "missing");
	ok(!f.m->reason_code, "all without a reason");
	fixture_close(&f);
}

static void
test_names(void)
{
	static const struct {
		const char *name;
		bool bad;
	} cases[] = {
	    {"a/b", false},
	    {"a/..b", false},
	    {"a../b", false},
	    {"...", false},
	    {"..", true},
	    {"../b", true},
	    {"a/../b", true},
	    {"a/..", true},
	    {"..\\b", true},
	    {"/a", true},
	    {"\\a", true},
	    {"c:a", true},
	};

	TAP_EACH(cases, c)
	{
		struct unzip *z;
		struct fixture f = open_items(
		    (struct zip_item[]){{c->name, STR("x")}, {NULL, STR_NONE}}, &z);

		ok(z != NULL, "%s: the rest is read", c->name);
		is_z(f.m->reason_code, c->bad ? "path_traversal" : NULL, c->name);
		fixture_close(&f);
	}
}

static void
test_refused(void)
{
	static const struct {
		struct str bytes;
		const char *code;
	} cases[] = {
	    {STR_INIT("PK\3\4"), "truncated"},
	    {STR_INIT("PK\3\4 and no directory anywhere, nor an end of one"), "truncated"},
	    {STR_INIT("PK\5\6\0\0\0\0\1\0\1\0\0\0\0\0\0\0\0\0\0\0"), "zip_corrupt"},
	};

	TAP_EACH(cases, c)
	{
		struct fixture f = fixture_open(c->bytes, "x.zip");

		ok(!unzip_open(f.m), "refused");
		is_z(f.m->reason_code, c->code, "with its reason");
		ok(f.m->reason.n > 0, "and a sentence");
		fixture_close(&f);
	}
}

static void
test_limits(void)
{
	struct buf zeros;
	struct unzip *z;
	struct fixture f;

	buf_init(&zeros, 2 * UNZIP_ENTRY_MOST);
	while (zeros.n < UNZIP_RATIO_FROM)
		buf_char(&zeros, 0);
	f = open_items((struct zip_item[]){{"a", buf_view(&zeros)}, {NULL, STR_NONE}}, &z);
	is_int(unzip_bytes(z, 0, UNZIP_ENTRY_MOST).n, UNZIP_RATIO_FROM,
	    "a small one may be of any ratio");
	fixture_close(&f);
	buf_char(&zeros, 0);
	f = open_items((struct zip_item[]){{"a", buf_view(&zeros)}, {NULL, STR_NONE}}, &z);
	ok(!unzip_bytes(z, 0, UNZIP_ENTRY_MOST).p, "a byte more");
	is_z(f.m->reason_code, "zip_bomb", "is a bomb");
	fixture_close(&f);
	buf_clear(&zeros);
	for (uint32_t i = 1; zeros.n <= UNZIP_ENTRY_MOST; i = i * 1664525 + 1013904223)
		buf_fmt(&zeros, "%08x................................", i);
	f = open_items((struct zip_item[]){{"a", buf_view(&zeros)}, {NULL, STR_NONE}}, &z);
	ok(!unzip_bytes(z, 0, 2 * UNZIP_ENTRY_MOST).p, "an entry over its limit");
	is_z(f.m->reason_code, "entry_too_large", "is not read");
	fixture_close(&f);
	buf_fini(&zeros);
}

struct seen {
	struct buf b;
	int left; /* elements until it breaks off; below zero: never */
};

static bool
on_start(void *ctx, struct str name, const char *const *attributes)
{
	struct seen *s = ctx;

	buf_fmt(&s->b, "<%.*s %.*s>", STR_ARG(name), STR_ARG(xml_attribute(attributes, STR("id"))));
	return s->left-- != 0;
}

static void
on_end(void *ctx, struct str name)
{
	buf_fmt(&((struct seen *)ctx)->b, "</%.*s>", STR_ARG(name));
}

static void
on_text(void *ctx, struct str bytes)
{
	buf_str(&((struct seen *)ctx)->b, bytes);
}

static void
test_xml(void)
{
	static const struct xml_events events = {on_start, on_end, on_text};
	static const struct {
		const char *xml, *want, *code;
		int left;
	} cases[] = {
	    {"<a id='1'><p:b p:id='2'>t&amp;&#65;</p:b></a>", "<a 1><b 2>t&A</b></a>", NULL, -1},
	    {"<a><b/><c/></a>", "<a ><b >", NULL, 1},
	    {"<a>", "<a >", "xml_malformed", -1},
	    {"", "", "xml_malformed", -1},
	    {"<a></b>", "<a >", "xml_malformed", -1},
	    {"<a>&x;</a>", "<a >", "xml_malformed", -1},
	    {"<!DOCTYPE a><a/>", "", "xml_dtd", -1},
	    {"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "", "xml_dtd", -1},
	};

	TAP_EACH(cases, c)
	{
		struct seen s = {.left = c->left};
		struct unzip *z;
		struct fixture f = open_items(
		    (struct zip_item[]){{"x", str_from(c->xml)}, {NULL, STR_NONE}}, &z);

		buf_init(&s.b, 4096);
		is_int(xml_read(f.m, z, 0, &events, &s), !c->code && c->left < 0, c->xml);
		is_str(buf_view(&s.b), str_from(c->want), "what was told");
		is_z(f.m->reason_code, c->code, "reason");
		buf_fini(&s.b);
		fixture_close(&f);
	}
}

int
main(void)
{
	buf_init(&archive, 256 << 20);
	test_reading();
	test_names();
	test_refused();
	test_limits();
	test_xml();
	buf_fini(&archive);
	return tap_done();
}
