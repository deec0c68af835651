/* The XML of an S3 service's answers: untrusted. A document type is refused, names are compared
 * without their namespace, what is not known is passed over. */
#ifndef STORE_S3_XML_H
#define STORE_S3_XML_H

#include "base/str.h"

struct arena;

struct s3_item {
	struct str key, upload_id;
	int64_t size, modified_s; /* 0 when there was none or it is malformed */
};

/* STR_NONE where the answer has no such element. */
struct s3_answer {
	struct str root; /* the document's element: Error, ListBucketResult … */
	struct str code, message;
	struct str upload_id, etag, next_token, next_key, next_upload;
	bool truncated;
	struct s3_item *items; /* Contents or Upload */
	size_t n;
};

enum { S3_ITEMS_MOST = 10000, S3_TEXT_MOST = 4096 };

/* False when it is not well-formed, has a document type, or more items or a longer text than the
 * limits; *out is then not to be used. Everything in the arena. */
bool s3_xml_parse(struct arena *a, struct str xml, struct s3_answer *out);

/* "2026-11-20T20:24:20[.123]Z" as Unix time; 0 when it is something else. */
int64_t s3_time(struct str s);

#endif
