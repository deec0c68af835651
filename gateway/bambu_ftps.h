/* One file to one printer by implicit FTPS, on a thread of its own: libcurl waits for a transfer's
 * last answer while blocking, up to a minute, and printers take their time. */
#ifndef GATEWAY_BAMBU_FTPS_H
#define GATEWAY_BAMBU_FTPS_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/loop.h"

struct ftps; /* one per process */
struct ftps_job;

/* Everything is copied, the descriptor duplicated. */
struct ftps_file {
	const char *serial; /* the certificate's CN, and the user is bblp */
	const char *secret, *ca_path, *address;
	int port;
	const char *name; /* at the printer, in its root; letters, digits, '-', '_' and '.' */
	int fd;           /* bytes 0 … size - 1 by pread */
	int64_t size;
	bool clear_data;     /* the data connection without TLS */
	bool may_clear_data; /* that is tried when nothing passes with it */
};

enum ftps_end { FTPS_STORED, FTPS_REFUSED, FTPS_NO_SPACE, FTPS_BROKEN };

struct ftps_result {
	enum ftps_end end;
	const char *words;  /* of a constant table; NULL for FTPS_STORED */
	bool clear_data;    /* it went without TLS on the data connection */
	int curl, status;   /* libcurl's result and FTP's last answer, for logs */
	int64_t sent, size; /* at the printer; -1: not known */
};

struct ftps *ftps_new(struct loop *loop);
/* Cancels what runs and waits for it: seconds at most. */
void ftps_free(struct ftps *f);

/* Stores the file; it counts as stored when the printer says that it has the right size. What has
 * come of it is removed when that fails. Callbacks run in the loop. */
struct ftps_job *ftps_store(struct ftps *f, const struct ftps_file *file,
    void (*sent)(void *ctx, int64_t bytes),
    void (*done)(void *ctx, const struct ftps_result *result), void *ctx);
/* Nothing is told any more. The partial file is removed in the background. */
void ftps_cancel(struct ftps_job *job);

#endif
