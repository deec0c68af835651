/* The object store: where blobs are. A local directory, or an S3-compatible service beside it.
 *
 * Local layout, all on one filesystem: blobs/<xx>/<yy>/<id> (xx, yy: the id's last four hexadecimal
 * digits), staging/<file id>.<part> (written by nginx), tmp/ (bytes that are on their way). An
 * object appears under its name only when it is complete and on disk. Nothing here needs a network
 * but the functions of s3.h.
 *
 * Files are group-readable (0640), whatever the process' umask, so that nginx can serve them. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>

#include "base/str.h"
#include "base/uuid.h"

struct arena;
struct store;

/* Opens and completes the layout. NULL when the directory cannot be used; the reason is logged. */
struct store *store_open(const char *directory);
void store_close(struct store *s);

/* "c3/d4/<id>"; the same for every location. In the arena. */
struct str store_key(struct arena *a, struct uuid blob);

/* An unnamed file on the store's filesystem, open for reading and writing; -1 with errno. It is
 * gone when it is closed, unless it was kept. */
int store_temp(struct store *s);
/* Makes the file the blob's object, in place of one that has the name already: on disk when this
 * returns true, else logged. The descriptor stays open; it may be one of store_staged too. */
bool store_keep(struct store *s, int fd, struct uuid blob);
/* The same with a file of staging/, which disappears from there. A client may send a part again at
 * any time: what counts is the digest of what store_blob gives after this. */
bool store_keep_staged(struct store *s, struct uuid file, int part, struct uuid blob);
/* Read-only descriptors; -1 with errno. */
int store_blob(struct store *s, struct uuid blob);
int store_staged(struct store *s, struct uuid file, int part);
/* True also when there is none. */
bool store_drop(struct store *s, struct uuid blob);
void store_drop_staged(struct store *s, struct uuid file);

/* Bytes that can still be written; for the health page and for refusing uploads. */
int64_t store_free_bytes(const struct store *s);

struct store_entry {
	struct uuid blob;
	int64_t size, modified_s; /* Unix time */
	int shard;                /* first byte of the fan-out; -1: beside it */
};
/* Calls fn for every object until it says false, in the order of the fan-out from `first` (0 … 255)
 * on; files that are none are reported with a zero id, those beside the fan-out only when first is
 * 0. False when the walk broke off. */
bool store_each(
    struct store *s, int first, bool (*fn)(void *ctx, const struct store_entry *e), void *ctx);

/* Whether what was uploaded of this file is still wanted. */
typedef bool (*keep_fn)(void *ctx, struct uuid file);
/* Removes what is in staging/ and tmp/ from before then (Unix time), but for files that `keep` (or
 * NULL) wants. Returns how many. */
int store_sweep_staging(struct store *s, int64_t before_s, keep_fn keep, void *ctx);

#endif
