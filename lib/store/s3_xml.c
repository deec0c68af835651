#include "store/s3_xml.h"

#include <expat.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"

enum { DEPTH_MOST = 16, TOP = 2, IN_ITEM = 3 };

struct parse {
	struct arena *arena;
	struct s3_answer *out;
	XML_Parser parser;
	struct buf text;
	size_t size; /* of out->items */
	int depth;
	bool bad;
	bool in_item; /* below Contents or Upload */
};

enum kind { TEXT, NUMBER, TIME, TRUTH };

static const struct field {
	struct str name;
	int depth;
	enum kind kind;
	size_t offset; /* in s3_answer or s3_item */
} fields[] = {
    {STR_INIT("Code"), TOP, TEXT, offsetof(struct s3_answer, code)},
    {STR_INIT("Message"), TOP, TEXT, offsetof(struct s3_answer, message)},
    {STR_INIT("UploadId"), TOP, TEXT, offsetof(struct s3_answer, upload_id)},
    {STR_INIT("ETag"), TOP, TEXT, offsetof(struct s3_answer, etag)},
    {STR_INIT("NextContinuationToken"), TOP, TEXT, offsetof(struct s3_answer, next_token)},
    {STR_INIT("NextKeyMarker"), TOP, TEXT, offsetof(struct s3_answer, next_key)},
    {STR_INIT("NextUploadIdMarker"), TOP, TEXT, offsetof(struct s3_answer, next_upload)},
    {STR_INIT("IsTruncated"), TOP, TRUTH, offsetof(struct s3_answer, truncated)},
    {STR_INIT("Key"), IN_ITEM, TEXT, offsetof(struct s3_item, key)},
    {STR_INIT("UploadId"), IN_ITEM, TEXT, offsetof(struct s3_item, upload_id)},
    {STR_INIT("Size"), IN_ITEM, NUMBER, offsetof(struct s3_item, size)},
    {STR_INIT("LastModified"), IN_ITEM, TIME, offsetof(struct s3_item, modified_s)},
    {STR_INIT("Initiated"), IN_ITEM, TIME, offsetof(struct s3_item, modified_s)},
};

static void
stop(struct parse *p)
{
	p->bad = true;
	XML_StopParser(p->parser, XML_FALSE);
}

/* Without the namespace, which expat puts before it. */
static struct str
local_name(const char *name)
{
	const char *space = strrchr(name, ' ');

	return str_from(space ? space + 1 : name);
}

static bool
add_item(struct parse *p)
{
	struct s3_answer *out = p->out;

	if (out->n == S3_ITEMS_MOST)
		return false;
	if (out->n == p->size) {
		struct s3_item *more;

		p->size = p->size ? 2 * p->size : 64;
		more = arena_array(p->arena, p->size, sizeof(*more));
		for (size_t i = 0; i < out->n; i++)
			more[i] = out->items[i];
		out->items = more;
	}
	out->items[out->n++] = (struct s3_item){.size = 0};
	return true;
}

static void XMLCALL
on_start(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
	struct parse *p = ctx;
	struct str s = local_name(name);

	(void)attributes;
	buf_clear(&p->text);
	if (++p->depth > DEPTH_MOST) {
		stop(p);
		return;
	}
	if (p->depth == 1)
		p->out->root = str_dup(p->arena, s);
	if (p->depth == TOP) {
		p->in_item = str_eq(s, STR("Contents")) || str_eq(s, STR("Upload"));
		if (p->in_item && !add_item(p))
			stop(p);
	}
}

static void
store_field(struct parse *p, const struct field *f, void *at)
{
	struct str s = buf_view(&p->text);

	switch (f->kind) {
	case TEXT:
		*(struct str *)at = str_dup(p->arena, s);
		break;
	case NUMBER:
		if (!str_to_i64(s, at) || *(int64_t *)at < 0)
			*(int64_t *)at = 0;
		break;
	case TIME:
		*(int64_t *)at = s3_time(s);
		break;
	case TRUTH:
		*(bool *)at = str_eq(s, STR("true"));
		break;
	}
}

static void XMLCALL
on_end(void *ctx, const XML_Char *name)
{
	struct parse *p = ctx;
	struct str s = local_name(name);
	bool wanted = p->depth == TOP || (p->depth == IN_ITEM && p->in_item);

	for (size_t i = 0; wanted && i < sizeof(fields) / sizeof(fields[0]); i++) {
		const struct field *f = &fields[i];
		char *at = p->depth == TOP ? (char *)p->out
					   : (char *)(p->out->items + p->out->n - 1);

		if (f->depth == p->depth && str_eq(f->name, s))
			store_field(p, f, at + f->offset);
	}
	if (p->text.overflow)
		stop(p);
	buf_clear(&p->text);
	p->depth--;
}

static void XMLCALL
on_text(void *ctx, const XML_Char *s, int n)
{
	struct parse *p = ctx;

	buf_add(&p->text, s, (size_t)n);
	if (p->text.overflow)
		stop(p);
}

static void XMLCALL
on_doctype(void *ctx, const XML_Char *name, const XML_Char *system, const XML_Char *public, int own)
{
	(void)name, (void)system, (void)public, (void)own;
	stop(ctx);
}

bool
s3_xml_parse(struct arena *a, struct str xml, struct s3_answer *out)
{
	struct parse p = {.arena = a, .out = out, .parser = XML_ParserCreateNS("UTF-8", ' ')};
	bool good;

	must(p.parser != NULL);
	/* Services send blanks to keep a connection while they work. */
	while (xml.n > 0 && strchr(" \t\r\n", xml.p[0]) && xml.p[0])
		xml.p++, xml.n--;
	*out = (struct s3_answer){.n = 0};
	buf_init(&p.text, S3_TEXT_MOST);
	XML_SetUserData(p.parser, &p);
	XML_SetElementHandler(p.parser, on_start, on_end);
	XML_SetCharacterDataHandler(p.parser, on_text);
	XML_SetStartDoctypeDeclHandler(p.parser, on_doctype);
	good = xml.n <= INT32_MAX &&
	    XML_Parse(p.parser, xml.p ? xml.p : "", (int)xml.n, XML_TRUE) == XML_STATUS_OK;
	XML_ParserFree(p.parser);
	buf_fini(&p.text);
	return good && !p.bad;
}

int64_t
s3_time(struct str s)
{
	char text[40];
	struct tm tm = {.tm_isdst = 0};
	const char *rest;

	if (s.n >= sizeof(text) || s.n == 0)
		return 0;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	return rest && (*rest == 'Z' || *rest == '.') ? (int64_t)timegm(&tm) : 0;
}
