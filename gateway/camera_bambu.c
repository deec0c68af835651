/* Pictures of the A1 and P1 models: TLS to a port of their own, a login of 80 bytes, then frames of
 * a 16-byte header and a JPEG, one every second or two (protocols: Bambu camera). */
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/camera_feeds.h"
#include "gateway/resolve.h"

enum { LOGIN = 80, NAME_AT = 16, NAME_MOST = 32, CODE_AT = 48, CODE_MOST = 32 };

struct feed {
	struct feeds *f;
	struct feed_client client;
	struct resolve *resolving;
	struct watch watch;
	struct timer now; /* ends what failed within open */
	enum feed_end failed;
	int fd, port;
	SSL *ssl;
	enum { DIALLING, SHAKING, GREETING, READING } phase;
	char serial[80];
	uint8_t login[LOGIN];
	int sent;
	struct frame_reader frames;
	bool seen_any;
};

static void
end(struct feed *b, enum feed_end why)
{
	watch_stop(b->f->cfg.loop, &b->watch);
	timer_stop(b->f->cfg.loop, &b->now);
	b->client.ended(b->client.ctx, why);
}

static void
end_soon(struct feed *b, enum feed_end why)
{
	b->failed = why;
	timer_set(b->f->cfg.loop, &b->now, 0);
}

static void
on_now(void *ctx)
{
	struct feed *b = ctx;

	end(b, b->failed);
}

/* What a call into TLS that did not succeed means: NULL-like -1: wait, else an end. */
static int
tls_trouble(struct feed *b, int rc)
{
	int what = SSL_get_error(b->ssl, rc);
	enum tls_verdict verdict = b->f->tls.verdict;

	ERR_clear_error();
	if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE) {
		uint32_t events = what == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT;

		return watch_set(b->f->cfg.loop, &b->watch, b->fd, events) ? -1 : FEED_BROKEN;
	}
	if (b->phase == SHAKING)
		return verdict == TLS_OTHER_SERIAL || verdict == TLS_UNTRUSTED ? FEED_UNTRUSTED
									       : FEED_UNREACHABLE;
	/* A wrong code is answered by nothing but the connection's end. */
	return b->phase == READING && !b->seen_any && b->frames.n_head == 0 ? FEED_REFUSED
									    : FEED_BROKEN;
}

/* --- the connection's course: each returns -1 while it waits, an end, or FEED_ENDS to go on -----
 */

static int
shake(struct feed *b)
{
	int rc = SSL_connect(b->ssl);

	if (rc != 1)
		return tls_trouble(b, rc);
	b->phase = GREETING;
	return FEED_ENDS;
}

static int
greet(struct feed *b)
{
	int rc = SSL_write(b->ssl, b->login + b->sent, LOGIN - b->sent);

	if (rc <= 0)
		return tls_trouble(b, rc);
	b->sent += rc;
	if (b->sent < LOGIN)
		return FEED_ENDS;
	explicit_bzero(b->login, sizeof(b->login));
	b->phase = READING;
	return FEED_ENDS;
}

static int
read_some(struct feed *b)
{
	size_t most;
	uint8_t *place = frame_place(&b->frames, &most);
	int rc = SSL_read(b->ssl, place, (int)most);
	enum frame_step step;

	if (rc <= 0)
		return tls_trouble(b, rc);
	step = frame_take(&b->frames, (size_t)rc);
	if (step == FRAME_PICTURE) {
		b->seen_any = true;
		b->client.picture(b->client.ctx, b->frames.picture, b->frames.size);
	}
	return step == FRAME_BAD ? FEED_BROKEN : FEED_ENDS;
}

static int
dialled(struct feed *b)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(b->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
		return FEED_UNREACHABLE;
	b->phase = SHAKING;
	return FEED_ENDS;
}

static void
on_ready(void *ctx, uint32_t events)
{
	static int (*const steps[])(struct feed *) = {
	    [DIALLING] = dialled, [SHAKING] = shake, [GREETING] = greet, [READING] = read_some};
	struct feed *b = ctx;
	int next, turns = 64;

	(void)events;
	do {
		b->f->tls.serial = b->serial;
		b->f->tls.verdict = TLS_NOT_SEEN;
		next = steps[b->phase](b);
		b->f->tls.serial = NULL;
	} while (next == FEED_ENDS && (--turns > 0 || SSL_pending(b->ssl) > 0));
	if (next >= 0 && next < FEED_ENDS)
		end(b, (enum feed_end)next);
}

static void
on_address(void *ctx, const char *address)
{
	struct feed *b = ctx;

	b->resolving = NULL;
	b->fd = address ? feed_dial(address, b->port) : -1;
	b->ssl = SSL_new(b->f->tls.ctx);
	must(b->ssl != NULL);
	if (b->fd < 0 || SSL_set_fd(b->ssl, b->fd) != 1 ||
	    !watch_set(b->f->cfg.loop, &b->watch, b->fd, EPOLLOUT))
		end_soon(b, FEED_UNREACHABLE);
}

static void
fill(uint8_t *out, size_t most, const char *text)
{
	size_t n = strlen(text);

	memcpy(out, text, n < most ? n : most);
}

/* Four little-endian numbers 0x40, 0x3000, 0, 0; user and access code, padded with zeros. */
static void
write_login(struct feed *b, const char *code)
{
	b->login[0] = 0x40;
	b->login[5] = 0x30;
	fill(b->login + NAME_AT, NAME_MOST, "bblp");
	fill(b->login + CODE_AT, CODE_MOST, code);
}

static struct feed *
open_feed(struct feeds *f, const struct feed_target *t, const struct feed_client *client)
{
	struct feed *b = calloc(1, sizeof(*b));
	char address[RESOLVE_TEXT];

	must(b != NULL);
	b->f = f;
	b->client = *client;
	b->fd = -1;
	b->port = t->source->port;
	b->watch = (struct watch){.fn = on_ready, .ctx = b};
	b->now = (struct timer){.fn = on_now, .ctx = b};
	snprintf(b->serial, sizeof(b->serial), "%s", t->serial);
	write_login(b, t->secret);
	if (resolve_literal(t->host, address))
		on_address(b, address);
	else
		b->resolving = resolve_start(f->cfg.resolver, t->host, on_address, b);
	return b;
}

static void
close_feed(struct feed *b)
{
	if (b->resolving)
		resolve_cancel(b->resolving);
	timer_stop(b->f->cfg.loop, &b->now);
	watch_stop(b->f->cfg.loop, &b->watch);
	SSL_free(b->ssl);
	if (b->fd >= 0)
		close(b->fd);
	explicit_bzero(b->login, sizeof(b->login));
	frame_reader_fini(&b->frames);
	free(b);
}

const struct feed_ops feed_bambu = {open_feed, close_feed, NULL};
