/* One signed request of an S3 client. Private to lib/store. */
#ifndef STORE_S3_HTTP_H
#define STORE_S3_HTTP_H

#include <curl/curl.h>

#include "base/buf.h"
#include "store/s3.h"
#include "store/s3_xml.h"

struct arena;

enum { S3_CALL_PAIRS_MOST = 8 };

struct s3 {
	const struct s3_config *config;
	CURL *curl;
	struct arena *call; /* of the call that runs or ran last */
	int tries;
	bool (*watch)(void *ctx);
	void *watch_ctx;
	char reason[320];
};

struct s3_call {
	const char *method;
	struct str key; /* STR_NONE: the bucket itself */
	struct sigv4_pair query[S3_CALL_PAIRS_MOST], headers[S3_CALL_PAIRS_MOST];
	size_t n_query, n_headers;
	/* What is sent: text, or size bytes of a file (fd >= 0) with their digest. */
	struct str text;
	int fd;
	int64_t from, size;
	const uint8_t *sha256;
	/* Where a good answer's bytes go; NULL: into `answer`. */
	s3_sink_fn sink;
	void *sink_ctx;
	/* May stop the call; told of bytes sent, `done` added. */
	progress_fn progress;
	void *progress_ctx;
	int64_t done;
	/* The answer, until the next call. xml.root is STR_NONE when there was no XML. */
	int64_t status, length;
	struct s3_answer xml;
	/* private */
	struct s3 *s3;
	struct buf answer;
	int64_t sent;
	bool stopped;
};

/* An empty call of this method. */
struct s3_call s3_call(struct s3 *s, const char *method, struct str key);
void s3_ask(struct s3_call *c, struct str name, struct str value);
void s3_header(struct s3_call *c, struct str name, struct str value);
/* A header of the last answer, STR_NONE when there was none. Borrowed until the next call. */
struct str s3_answer_header(const struct s3_call *c, const char *name);

/* One attempt: S3_UNAVAILABLE when another may succeed. */
enum s3_end s3_once(struct s3_call *c);
/* As many as it takes. */
enum s3_end s3_run(struct s3_call *c);
/* Waits before the next attempt, 1 being the first that failed. False: stop. */
bool s3_pause(const struct s3_call *c, int attempt);

/* False: stop. */
bool s3_goes_on(const struct s3 *s);
/* The same as a progress_fn, ctx being the client. */
bool s3_tick(void *ctx, int64_t done);

/* Notes why; returns end. */
__attribute__((format(printf, 3, 4))) enum s3_end s3_say(
    struct s3 *s, enum s3_end end, const char *fmt, ...);

#endif
