/* An S3-compatible service as the place of blobs. Settings and presigned URLs need no network and
 * are for every process; struct s3 is a client for those that may open connections. */
#ifndef STORE_S3_H
#define STORE_S3_H

#include "base/uuid.h"
#include "store/digest.h"
#include "store/sigv4.h"

struct s3_config {
	bool on;        /* there is a service, whatever is there */
	bool preferred; /* SOLOPRINT_STORE=s3: new blobs shall be there */
	bool https, virtual_host;
	struct str host; /* with the port, when it is not the scheme's own */
	struct str base; /* path before bucket and key, without a slash at its end */
	struct str bucket, prefix, sse;
	struct sigv4_key key;
	const char *ca_file; /* NULL: the system's */
	int64_t timeout_ms;  /* longest time without a byte */
};

/* Reads SOLOPRINT_STORE and the SOLOPRINT_S3_* settings (docs/storage.md); everything lives in the
 * arena. False when they contradict each other or the secret's file cannot be read; logged, without
 * the values. */
bool s3_config_load(struct arena *a, struct s3_config *out);

/* "<prefix>blobs/c3/d4/<id>" and "<prefix>staging/<file>/<part>", in the arena. */
struct str s3_blob_key(struct arena *a, const struct s3_config *c, struct uuid blob);
struct str s3_staged_key(struct arena *a, const struct s3_config *c, struct uuid file, int part);

struct s3_presign {
	const char *method; /* GET, HEAD, PUT */
	struct str key;
	int64_t expires_s; /* at most a week */
	int64_t size;      /* PUT: the only length that is taken; < 0: any */
	/* GET: what the service shall say about the content; STR_NONE: as it was stored. */
	struct str content_type, content_disposition, cache_control;
};
struct s3_presigned {
	struct str url;
	/* That the client must send with it, beside the length that was signed. */
	struct sigv4_pair headers[1];
	size_t n_headers;
};
/* From now on; the URL is in the arena. */
struct s3_presigned s3_presign(
    struct arena *a, const struct s3_config *c, const struct s3_presign *p);

/* --- the client --- */

struct s3;

enum s3_end {
	S3_DONE,
	S3_MISSING,     /* no such object, bucket or upload */
	S3_REFUSED,     /* credentials, rights, settings: trying again does not help */
	S3_UNAVAILABLE, /* still failing after the retries */
	S3_CORRUPT,     /* the bytes are not what was expected */
	S3_STOPPED      /* a callback said so */
};

/* Not to be shared by threads; config is borrowed. Temporary failures (5xx, SlowDown, timeouts,
 * lost connections) are tried again with growing pauses, `tries` times in all (0: 5). */
struct s3 *s3_new(const struct s3_config *c, int tries);
void s3_free(struct s3 *s);
/* fn is called about once a second, also while nothing moves; false stops what is under way. */
void s3_watch(struct s3 *s, bool (*fn)(void *ctx), void *ctx);
/* Why the last call did not end with S3_DONE: for logs and people. Until the next call. */
const char *s3_reason(const struct s3 *s);

enum { S3_PART_BYTES = 64 << 20, S3_ETAG_MOST = 128 };

struct s3_object {
	int64_t size;
	char etag[S3_ETAG_MOST + 1];
	/* Base64, with "-<parts>" when it is a digest of parts' digests; "" when the service keeps
	 * none. */
	char sha256[80];
};
enum s3_end s3_head(struct s3 *s, struct str key, struct s3_object *out);

/* The whole file; above S3_PART_BYTES in parts, which are aborted when it fails. sha256 is the
 * file's. S3_DONE means that the service has these bytes: it confirmed their digest, or they were
 * read back. fn (or NULL) is told of bytes sent. */
enum s3_end s3_put(struct s3 *s, struct str key, int fd, int64_t size,
    const uint8_t sha256[DIGEST_LEN], progress_fn fn, void *ctx);

/* Bytes [from, from + size) of the object to the callback, in order, each once, also when the
 * connection is lost in between; size < 0: to its end. */
typedef bool (*s3_sink_fn)(void *ctx, const void *p, size_t n);
enum s3_end s3_get(
    struct s3 *s, struct str key, int64_t from, int64_t size, s3_sink_fn fn, void *ctx);
/* Reads the object: S3_CORRUPT when size or digest differ. */
enum s3_end s3_verify(struct s3 *s, struct str key, int64_t size, const uint8_t sha256[DIGEST_LEN],
    progress_fn fn, void *ctx);
/* Digest and size of the object at `key`. */
enum s3_end s3_digest(struct s3 *s, struct str key, uint8_t out[DIGEST_LEN], int64_t *size,
    progress_fn fn, void *ctx);

/* Done also when there is none. */
enum s3_end s3_delete(struct s3 *s, struct str key);
/* Makes `to` of n objects, one after the other, inside of the service. All but the last must have
 * at least 5 MiB, each at most 5 GiB. */
enum s3_end s3_compose(
    struct s3 *s, struct str to, const struct str *parts, size_t n, progress_fn fn, void *ctx);

struct s3_entry {
	struct str key;
	int64_t size, modified_s;
	struct str upload_id; /* s3_uploads only */
};
typedef bool (*s3_entry_fn)(void *ctx, const struct s3_entry *e);
/* Every object whose key begins with prefix and comes after `after` (or STR_NONE), in order. */
enum s3_end s3_list(struct s3 *s, struct str prefix, struct str after, s3_entry_fn fn, void *ctx);
/* Unfinished multipart uploads; modified_s is when they began. */
enum s3_end s3_uploads(struct s3 *s, struct str prefix, s3_entry_fn fn, void *ctx);
enum s3_end s3_abort(struct s3 *s, struct str key, struct str upload_id);

/* Whether the bucket can be reached and used with these credentials. */
enum s3_end s3_probe(struct s3 *s);

#endif
