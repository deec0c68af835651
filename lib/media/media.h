/* Readers of print files. They run in soloprint-scan, where a crash costs one file its metadata;
 * unit tests and fuzzers call them directly. Input is hostile: sizes, offsets and counts in it are
 * claims. */
#ifndef MEDIA_MEDIA_H
#define MEDIA_MEDIA_H

#include <json-c/json.h>
#include <stdbool.h>

#include "base/str.h"
#include "media/scan.h"

struct arena;

enum {
	MEDIA_HEAD = 4096,            /* bytes that a format is told by */
	MEDIA_PICTURE_MOST = 4 << 20, /* bytes of one picture */
	MEDIA_TEXT_MOST = 1024        /* bytes of one text that goes into the metadata */
};

/* One file being read, and what has been found. */
struct media {
	struct arena *arena;
	int fd; /* borrowed; only pread */
	int64_t size;
	struct str filename;
	int thumbnails_fd; /* pictures are appended here; -1: dropped */

	const char *kind;
	const char *reason_code; /* NULL: nothing wrong */
	struct str reason;
	struct json_object *metadata; /* made by media_meta */
	struct str keys[SCAN_KEYS_MOST];
	size_t n_keys;
	struct scan_thumbnail thumbnails[SCAN_THUMBNAILS_MOST];
	size_t n_thumbnails;
	int64_t thumbnails_bytes;
};

struct media_format {
	const char *kind;
	/* head: the first MEDIA_HEAD bytes, or fewer. */
	bool (*is)(const struct media *m, struct str head);
	void (*read)(struct media *m);
};

/* Tells the format and reads it; all of *m but its first members is filled. */
void media_read(struct media *m);

/* For the readers: */

/* At most n bytes from the offset, in the arena; fewer at the end, STR_NONE on a read error. */
struct str media_bytes(const struct media *m, int64_t offset, size_t n);
/* The same into the caller's n bytes. */
struct str media_read_at(const struct media *m, int64_t offset, char *p, size_t n);
/* Notes why the file cannot be read further; the first reason counts. Always false. */
__attribute__((format(printf, 3, 4))) bool media_fail(
    struct media *m, const char *code, const char *fmt, ...);
/* The metadata object, made at its first use. */
struct json_object *media_meta(struct media *m);
/* Adds a picture when its first bytes are a PNG's, JPEG's or QOI's and its size is sane; else it is
 * dropped. The picture itself is never decoded. */
void media_picture(struct media *m, int plate, struct str bytes);
void media_key(struct media *m, struct str key);
/* A JSON string of valid UTF-8 without control characters, cut to MEDIA_TEXT_MOST. */
struct json_object *media_text(struct str s);
/* A JSON number with at most four decimals; NULL, which is JSON's null, unless it is finite. */
struct json_object *media_number(double v);

#endif
