#include "media/xml.h"

/* Debian builds expat with it; the header hides what it brings otherwise. */
#define XML_DTD 1
#include <expat.h>

struct reading {
	struct media *m;
	XML_Parser parser;
	const struct xml_events *events;
	void *ctx;
	int depth;
	int64_t fed;
	bool stopped; /* by a rule or by the caller: no syntax error */
};

static struct str
local(const char *name)
{
	struct str s = str_from(name);
	ptrdiff_t colon = str_index(s, ':');

	return colon < 0 ? s : (struct str){s.p + colon + 1, s.n - (size_t)colon - 1};
}

static void
stop(struct reading *r)
{
	r->stopped = true;
	XML_StopParser(r->parser, XML_FALSE);
}

static void
on_start(void *user, const XML_Char *name, const XML_Char **attributes)
{
	struct reading *r = user;

	if (r->stopped)
		return;
	if (++r->depth > XML_DEPTH_MOST) {
		media_fail(
		    r->m, "xml_depth", "An XML part is nested more than %d deep.", XML_DEPTH_MOST);
		stop(r);
	} else if (!r->events->start(r->ctx, local(name), (const char *const *)attributes)) {
		stop(r);
	}
}

static void
on_end(void *user, const XML_Char *name)
{
	struct reading *r = user;

	r->depth--;
	if (!r->stopped && r->events->end)
		r->events->end(r->ctx, local(name));
}

static void
on_text(void *user, const XML_Char *p, int n)
{
	struct reading *r = user;

	if (!r->stopped && r->events->text)
		r->events->text(r->ctx, (struct str){p, (size_t)n});
}

static void
on_doctype(
    void *user, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal)
{
	struct reading *r = user;

	(void)name, (void)system, (void)public, (void)internal;
	media_fail(r->m, "xml_dtd", "An XML part declares a document type, which is not allowed.");
	stop(r);
}

static bool
on_bytes(void *ctx, struct str bytes)
{
	struct reading *r = ctx;

	r->fed += (int64_t)bytes.n;
	if (XML_Parse(r->parser, bytes.p, (int)bytes.n, XML_FALSE) != XML_STATUS_OK)
		return r->stopped ||
		    media_fail(r->m, "xml_malformed", "An XML part is malformed: %s.",
			XML_ErrorString(XML_GetErrorCode(r->parser)));
	/* What expat holds back is the beginning of a token. */
	if (r->fed - XML_GetCurrentByteIndex(r->parser) > XML_TOKEN_MOST)
		return media_fail(
		    r->m, "xml_token", "A tag of an XML part is over %d bytes.", XML_TOKEN_MOST);
	return !r->stopped;
}

static XML_Parser
parser_new(struct reading *r)
{
	XML_Parser p = XML_ParserCreate(NULL);

	if (!p)
		return NULL;
	XML_SetUserData(p, r);
	XML_SetElementHandler(p, on_start, on_end);
	XML_SetCharacterDataHandler(p, on_text);
	XML_SetStartDoctypeDeclHandler(p, on_doctype);
	XML_SetParamEntityParsing(p, XML_PARAM_ENTITY_PARSING_NEVER);
	XML_SetBillionLaughsAttackProtectionMaximumAmplification(p, 2.0F);
	XML_SetBillionLaughsAttackProtectionActivationThreshold(p, 1 << 20);
	return p;
}

bool
xml_read(
    struct media *m, struct unzip *z, ptrdiff_t entry, const struct xml_events *events, void *ctx)
{
	struct reading r = {.m = m, .events = events, .ctx = ctx};
	bool good;

	r.parser = parser_new(&r);
	if (!r.parser)
		return media_fail(m, "unparsable", "There is no memory for an XML part.");
	good = unzip_each(z, entry, on_bytes, &r) && !r.stopped;
	if (good && XML_Parse(r.parser, "", 0, XML_TRUE) != XML_STATUS_OK && !r.stopped)
		good = media_fail(m, "xml_malformed", "An XML part ends too early.");
	XML_ParserFree(r.parser);
	return good && !r.stopped;
}

struct str
xml_attribute(const char *const *attributes, struct str name)
{
	for (size_t i = 0; attributes[i]; i += 2)
		if (str_eq(local(attributes[i]), name))
			return str_from(attributes[i + 1]);
	return STR_NONE;
}
