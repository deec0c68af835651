/* XML entries of an archive, event by event, over expat. Document types are refused, and with them
 * every entity; depth, tokens and texts are bounded.
 *
 * Reasons (media_fail): xml_dtd, xml_depth, xml_token, xml_malformed; and those of zip.h. */
#ifndef MEDIA_XML_H
#define MEDIA_XML_H

#include "media/zip.h"

enum {
	XML_DEPTH_MOST = 64,
	XML_TOKEN_MOST = 1 << 20 /* bytes of one tag with its attributes */
};

/* Names come without their prefix. Attributes: name, value, …, NULL. */
struct xml_events {
	/* False breaks off. */
	bool (*start)(void *ctx, struct str name, const char *const *attributes);
	void (*end)(void *ctx, struct str name);   /* may be NULL */
	void (*text)(void *ctx, struct str bytes); /* may be NULL; in pieces */
};

/* False when it was broken off: by start, or with a reason in m. */
bool xml_read(
    struct media *m, struct unzip *z, ptrdiff_t entry, const struct xml_events *events, void *ctx);

/* The attribute's value, whatever its prefix; STR_NONE when absent. */
struct str xml_attribute(const char *const *attributes, struct str name);

#endif
