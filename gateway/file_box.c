#include "gateway/file_box.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/store.h"

struct file_box {
	struct store *store; /* NULL: there is none */
	struct http *http;
};

struct file_box *
file_box_new(const char *directory, struct http *http)
{
	struct file_box *b = calloc(1, sizeof(*b));

	must(b != NULL);
	b->store = directory[0] ? store_open(directory) : NULL;
	b->http = http;
	return b;
}

void
file_box_free(struct file_box *b)
{
	if (!b)
		return;
	if (b->store)
		store_close(b->store);
	free(b);
}

struct file_call *
file_box_open(struct file_box *b, struct uuid blob, bool remote,
    void (*done)(void *ctx, enum file_end end, int fd), void *ctx)
{
	int fd, reason;

	if (!b->store || remote) {
		done(ctx, FILE_UNAVAILABLE, -1);
		return NULL;
	}
	fd = store_blob(b->store, blob);
	reason = errno;
	if (fd < 0)
		log_warn("a file cannot be opened", LOG_Z("reason", strerror(reason)));
	done(ctx, fd >= 0 ? FILE_OPEN : reason == ENOENT ? FILE_GONE : FILE_UNAVAILABLE, fd);
	return NULL;
}

void
file_call_cancel(struct file_call *c)
{
	(void)c;
}
