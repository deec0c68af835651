/* Reading ZIP archives that nobody vouches for, over libzip. Nothing that a header says is
 * believed: what is inflated is counted, where entries lie is watched. Names are only compared,
 * never opened.
 *
 * Reasons (media_fail): too_many_entries, zip_encrypted, zip_symlink, zip_overlap, zip_bomb,
 * zip_corrupt, zip_method, entry_too_large, truncated, path_traversal, unparsable. */
#ifndef MEDIA_ZIP_H
#define MEDIA_ZIP_H

#include "media/media.h"

enum {
	UNZIP_ENTRIES_MOST = 2000,
	UNZIP_ENTRY_MOST = 64 << 20,  /* bytes of one entry, inflated */
	UNZIP_TOTAL_MOST = 512 << 20, /* bytes inflated of one archive */
	UNZIP_RATIO_MOST = 200,       /* inflated to stored, of entries over UNZIP_RATIO_FROM */
	UNZIP_RATIO_FROM = 1 << 20,
	UNZIP_CHUNK = 64 << 10
};

struct buf;
struct unzip;

/* NULL when the archive must not be read, with the reason noted. A name that leads out of the
 * archive (path_traversal) is noted, and the rest is read. Closed with the arena. */
struct unzip *unzip_open(struct media *m);

size_t unzip_count(const struct unzip *z);
/* Borrowed from the archive. */
struct str unzip_name(const struct unzip *z, size_t i);
/* The entry of this name, or else of the same name in other ASCII case; -1 when there is none. */
ptrdiff_t unzip_find(const struct unzip *z, struct str name);

/* Gets the next bytes; false breaks off without a reason. */
typedef bool (*unzip_fn)(void *ctx, struct str bytes);
/* Inflates the entry piece by piece. False when it was broken off: by fn, or with a reason. */
bool unzip_each(struct unzip *z, ptrdiff_t i, unzip_fn fn, void *ctx);
/* Appends the whole entry to the buffer. False when it does not fit, cannot be read, or is -1. */
bool unzip_into(struct unzip *z, ptrdiff_t i, struct buf *b);
/* The whole entry in the arena; STR_NONE when it is over `most` bytes or cannot be read. An entry
 * of -1 gives STR_NONE without a reason. */
struct str unzip_bytes(struct unzip *z, ptrdiff_t i, size_t most);

#endif
