/* What a scan has found, as the database takes it (app.ingest_file, app.store_scan), with its
 * pictures in the store. */
#ifndef MEDIA_FOUND_H
#define MEDIA_FOUND_H

#include "base/uuid.h"
#include "media/scan.h"

struct store;

struct found {
	struct str json; /* {kind, metadata, analysis, keys, thumbnails}; arena */
	struct uuid pictures[SCAN_THUMBNAILS_MOST]; /* blobs that are on disk and in no row yet */
	size_t n_pictures;
};

/* False when a picture could not be stored, which has been logged; nothing is left then. */
bool found_keep(
    struct arena *a, struct store *s, const struct scan_result *scan, struct found *out);
/* Drops the pictures again. */
void found_drop(struct store *s, const struct found *f);
/* Drops the blobs of a list, "<uuid>,<uuid>…". */
void found_drop_spare(struct store *s, struct str spare);

#endif
