#include "gateway/file_box.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/io.h"
#include "base/log.h"
#include "gateway/http.h"
#include "store/s3.h"
#include "store/store.h"

enum {
	SETTINGS_ARENA = 64 * 1024,
	URL_ARENA = 64 * 1024,
	URL_S = 600,
	FETCHES = 4,
};

struct file_box {
	struct store *store; /* NULL: there is none */
	struct resolver *resolver;
	struct http_client *client; /* NULL: no object store */
	struct arena *settings;
	struct s3_config s3;
};

/* An object on its way from the object store into an unnamed file. */
struct file_call {
	struct file_box *box;
	struct uuid blob;
	int fd;
	bool disk_failed;
	struct resolve *resolving;
	struct http_call *call;
	void (*done)(void *ctx, enum file_end end, int fd);
	void *ctx;
};

struct file_box *
file_box_new(const char *directory, struct http *http, struct resolver *resolver)
{
	struct file_box *b = calloc(1, sizeof(*b));
	struct http_client_options options = {.parallel = FETCHES};

	must(b != NULL);
	b->store = directory[0] ? store_open(directory) : NULL;
	b->resolver = resolver;
	b->settings = arena_new(SETTINGS_ARENA);
	if (!s3_config_load(b->settings, &b->s3))
		b->s3.on = false;
	options.ca_file = b->s3.ca_file;
	if (b->store && b->s3.on)
		b->client = http_client_new(http, &options);
	return b;
}

void
file_box_free(struct file_box *b)
{
	if (!b)
		return;
	http_client_free(b->client);
	if (b->store)
		store_close(b->store);
	arena_free(b->settings);
	free(b);
}

/* --- the local store ---------------------------------------------------------------------------
 */

static void
open_local(struct file_box *b, struct uuid blob, void (*done)(void *ctx, enum file_end end, int fd),
    void *ctx)
{
	int fd = store_blob(b->store, blob), reason = errno;

	if (fd < 0)
		log_warn("a file cannot be opened", LOG_Z("reason", strerror(reason)));
	done(ctx, fd >= 0 ? FILE_OPEN : reason == ENOENT ? FILE_GONE : FILE_UNAVAILABLE, fd);
}

/* --- the object store --------------------------------------------------------------------------
 */

static void
finish(struct file_call *c, enum file_end end)
{
	void (*done)(void *ctx, enum file_end end, int fd) = c->done;
	void *ctx = c->ctx;
	int fd = c->fd;

	if (end != FILE_OPEN && fd >= 0)
		close(fd);
	free(c);
	done(ctx, end, end == FILE_OPEN ? fd : -1);
}

static bool
on_chunk(void *ctx, const void *bytes, size_t n)
{
	struct file_call *c = ctx;

	if (http_call_status(c->call) == 200 && !io_write_all(c->fd, bytes, n))
		c->disk_failed = true;
	return !c->disk_failed;
}

static void
on_fetched(void *ctx, const struct http_reply *reply)
{
	struct file_call *c = ctx;
	enum file_end end = FILE_UNAVAILABLE;

	c->call = NULL;
	if (reply->fault == HTTP_OK && reply->status == 200)
		end = FILE_OPEN;
	else if (reply->fault == HTTP_OK && reply->status == 404)
		end = FILE_GONE;
	if (end != FILE_OPEN)
		log_warn("a file cannot be fetched", LOG_I("status", reply->status),
		    LOG_Z("fault", http_fault_name(reply->fault)),
		    LOG_I("disk_failed", c->disk_failed));
	finish(c, end);
}

static void
fetch(struct file_call *c, const char *address)
{
	struct arena *a = arena_new(URL_ARENA);
	struct s3_presign there = {.method = "GET",
	    .expires_s = URL_S,
	    .size = -1,
	    .key = s3_blob_key(a, &c->box->s3, c->blob)};
	struct http_request r = {
	    .url = str_z(a, s3_presign(a, &c->box->s3, &there).url),
	    .address = address,
	    .total_ms = HTTP_NEVER,
	    .chunk = on_chunk,
	};

	c->call = http_send(c->box->client, &r, on_fetched, c);
	arena_free(a);
}

static void
on_resolved(void *ctx, const char *address)
{
	struct file_call *c = ctx;

	c->resolving = NULL;
	if (address)
		fetch(c, address);
	else
		finish(c, FILE_UNAVAILABLE);
}

/* The service's host without its port; an IPv6 literal without its brackets. */
static void
host_only(struct str host, char *out, size_t size)
{
	const char *end = host.n ? memrchr(host.p, ':', host.n) : NULL;
	size_t n = end ? (size_t)(end - host.p) : host.n;

	if (host.n && host.p[0] == '[') {
		const char *close = memchr(host.p, ']', host.n);

		host.p++;
		n = close ? (size_t)(close - host.p) : 0;
	}
	n = n < size ? n : size - 1;
	if (n)
		memcpy(out, host.p, n);
	out[n] = '\0';
}

static struct file_call *
open_remote(struct file_box *b, struct uuid blob,
    void (*done)(void *ctx, enum file_end end, int fd), void *ctx)
{
	struct file_call *c = calloc(1, sizeof(*c));
	char host[256], address[RESOLVE_TEXT];

	must(c != NULL);
	*c = (struct file_call){.box = b, .blob = blob, .done = done, .ctx = ctx};
	c->fd = store_temp(b->store);
	if (c->fd < 0) {
		log_warn("no room for a file to be sent", LOG_Z("reason", strerror(errno)));
		finish(c, FILE_UNAVAILABLE);
		return NULL;
	}
	host_only(b->s3.host, host, sizeof(host));
	if (resolve_literal(host, address))
		fetch(c, address);
	else
		c->resolving = resolve_start(b->resolver, host, on_resolved, c);
	return c;
}

struct file_call *
file_box_open(struct file_box *b, struct uuid blob, bool remote,
    void (*done)(void *ctx, enum file_end end, int fd), void *ctx)
{
	if (!b->store || (remote && !b->client)) {
		done(ctx, FILE_UNAVAILABLE, -1);
		return NULL;
	}
	if (remote)
		return open_remote(b, blob, done, ctx);
	open_local(b, blob, done, ctx);
	return NULL;
}

void
file_call_cancel(struct file_call *c)
{
	if (c->resolving)
		resolve_cancel(c->resolving);
	if (c->call)
		http_cancel(c->call);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}
