/* Looks into a file that nobody vouches for: what it is, its metadata, its pictures. The reading is
 * done by a child, soloprint-scan, that has only the descriptors given to it, no network, 256 MiB
 * and 10 s; whatever happens to it, the caller gets an answer. */
#ifndef MEDIA_SCAN_H
#define MEDIA_SCAN_H

#include <json-c/json.h>

#include "base/str.h"

struct arena;

enum { SCAN_DEADLINE_MS = 10000, SCAN_THUMBNAILS_MOST = 64, SCAN_KEYS_MOST = 256 };

struct scan_thumbnail {
	int64_t offset, length; /* in scan_result.thumbnails_fd */
	int plate;              /* 0: of the whole file */
	int width, height;
	const char *content_type; /* image/png, image/jpeg or image/x-qoi */
};

struct scan_result {
	/* gcode, bgcode, gcode_3mf, 3mf, stl, step, obj or other: by content first, then by name.
	 */
	struct str kind;
	/* NULL when it was read; else a code (unparsable, truncated, zip_bomb, ...) and a sentence.
	 */
	struct str reason_code, reason;
	struct json_object
	    *metadata;    /* the contract's FileMetadata, or NULL; freed with the arena */
	struct str *keys; /* "mesh:<sha256>": what its model can be recognised by */
	size_t n_keys;
	struct scan_thumbnail thumbnails[SCAN_THUMBNAILS_MOST];
	size_t n_thumbnails;
	int thumbnails_fd; /* -1 without any; closed with the arena */
};

/* fd: the file, read from its start through pread; filename: only a hint. Never fails: what goes
 * wrong is a reason. Blocks for at most SCAN_DEADLINE_MS and a little. */
void scan_file(struct arena *a, int fd, struct str filename, struct scan_result *out);
/* The same for who holds a lease meanwhile: beat is called every second; when it says false the
 * scan is broken off, and false is returned. */
bool scan_file_beating(struct arena *a, int fd, struct str filename, bool (*beat)(void *ctx),
    void *ctx, struct scan_result *out);

/* multipart/form-data (RFC 7578). */
struct scan_form {
	struct str error;    /* NULL, or why the body is refused: a sentence */
	bool unavailable;    /* that is not the body's fault */
	int64_t size;        /* of the file part, written to out_fd */
	struct str filename; /* its last path segment; "" when it had none */
	struct str content_type;
	struct {
		struct str name, value; /* the other fields, at most 1 KiB each */
	} fields[16];
	size_t n_fields;
};

/* Takes the part `file` out of the body into out_fd (an empty, writable file of the caller's).
 * content_type: the request's. */
void scan_form(
    struct arena *a, int body_fd, struct str content_type, int out_fd, struct scan_form *out);
/* The field's value; STR_NONE when absent. */
struct str scan_form_field(const struct scan_form *f, struct str name);

#endif
