/* A whole file in one request: for the handlers of ingest.c and octoprint.c. */
#ifndef FCGI_INGEST_H
#define FCGI_INGEST_H

#include "query.h"
#include "store/digest.h"

struct ingest {
	struct str source;             /* ingest or octoprint: files.source */
	bool form_only;                /* the body must be a form */
	bool any_field;                /* fields of the form that nobody knows are ignored */
	struct ingestFile_query given; /* what was said of the file */
	struct str print,
	    plateindex; /* any_field: OctoPrint's and OrcaSlicer's fields, as they came */
	/* the bytes */
	int fd;
	int64_t size;
	uint8_t sha256[DIGEST_LEN];
	struct uuid file_id, blob_id; /* of a new one */
	/* the outcome: one row of the answer, and whether there is a new file */
	struct query *row;
	bool created;
};

/* In stage PROBE judges whether the body may come in and stages 204; else takes the file out of the
 * body, stores it and fills the outcome. */
const struct err *ingest_run(struct req *r, struct ingest *g);

#endif
