/* What uploads.c and complete.c know of an upload. */
#ifndef FCGI_UPLOADS_H
#define FCGI_UPLOADS_H

#include "req.h"

/* An upload as its row says. */
struct upload {
	struct uuid file;
	struct str status;
	bool stored, trashed, open, completing, remote, expired;
	int64_t size, part_bytes;
	int n_parts;
	struct str sha256; /* hexadecimal; STR_NONE: not declared */
};

/* Runs the transaction, which may have other statements before. err_resource_not_found */
const struct err *upload_load(struct req *r, struct upload *u);
/* Whether bytes can still come: err_file_status_conflict, with the reason as detail. */
const struct err *upload_check_open(struct req *r, const struct upload *u);

#endif
