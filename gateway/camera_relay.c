#include "gateway/camera_relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/loop.h"

enum { ROOM = 64 * 1024 };

/* Bytes on their way in one direction. */
struct lane {
	uint8_t p[ROOM];
	size_t from, to;
};

struct relay {
	struct feeds *f;
	struct relay_client client;
	char serial[80];
	SSL *ssl;
	int outer, inner, listener; /* towards the printer, towards the program; -1: not there */
	struct watch outer_watch, inner_watch, listen_watch;
	bool open;           /* the printer has shown its certificate */
	bool wants_to_write; /* TLS, whatever the direction */
	struct lane up, down;
};

static void
end(struct relay *r, enum feed_end why)
{
	watch_stop(r->f->cfg.loop, &r->outer_watch);
	watch_stop(r->f->cfg.loop, &r->inner_watch);
	watch_stop(r->f->cfg.loop, &r->listen_watch);
	r->client.ended(r->client.ctx, why);
}

/* --- the loopback's side ---------------------------------------------------------------------- */

static int
listen_once(int *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&a, sizeof(a)) == 0 &&
	    listen(fd, 1) == 0 && getsockname(fd, (struct sockaddr *)&a, &size) == 0) {
		*port = ntohs(a.sin_port);
		return fd;
	}
	log_warn("no port of the loopback for a camera", LOG_I("errno", errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* --- TLS: each returns bytes, 0: none now, -1: over ------------------------------------------- */

static ptrdiff_t
tls_result(struct relay *r, int rc)
{
	int what = SSL_get_error(r->ssl, rc);

	ERR_clear_error();
	if (rc > 0)
		return rc;
	if (what == SSL_ERROR_WANT_WRITE)
		r->wants_to_write = true;
	return what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ptrdiff_t
tls_read(struct relay *r)
{
	return tls_result(r, SSL_read(r->ssl, r->down.p, ROOM));
}

static ptrdiff_t
tls_write(struct relay *r)
{
	return tls_result(r, SSL_write(r->ssl, r->up.p + r->up.from, (int)(r->up.to - r->up.from)));
}

static ptrdiff_t
plain_result(ptrdiff_t n)
{
	if (n > 0)
		return n;
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

/* --- both ------------------------------------------------------------------------------------- */

static bool
is_empty(const struct lane *l)
{
	return l->from == l->to;
}

static bool
took(struct lane *l, ptrdiff_t n, bool *moved)
{
	if (n > 0) {
		l->from += (size_t)n;
		*moved = true;
	}
	return n >= 0;
}

static bool
filled(struct lane *l, ptrdiff_t n, bool *moved)
{
	if (n > 0) {
		l->from = 0;
		l->to = (size_t)n;
		*moved = true;
	}
	return n >= 0;
}

/* One round; false when a side is gone. */
static bool
move(struct relay *r, bool *moved)
{
	struct lane *up = &r->up, *down = &r->down;
	bool alive = true;

	if (is_empty(up))
		alive = filled(up, plain_result(recv(r->inner, up->p, ROOM, 0)), moved);
	if (alive && !is_empty(up))
		alive = took(up, tls_write(r), moved);
	if (alive && is_empty(down))
		alive = filled(down, tls_read(r), moved);
	if (alive && !is_empty(down))
		alive = took(down,
		    plain_result(
			send(r->inner, down->p + down->from, down->to - down->from, MSG_NOSIGNAL)),
		    moved);
	return alive;
}

static bool
watch_both(struct relay *r)
{
	uint32_t outer = (is_empty(&r->down) ? EPOLLIN : 0u) | (r->wants_to_write ? EPOLLOUT : 0u);
	uint32_t inner = (is_empty(&r->up) ? EPOLLIN : 0u) | (is_empty(&r->down) ? 0u : EPOLLOUT);

	return watch_set(r->f->cfg.loop, &r->outer_watch, r->outer, outer) &&
	    watch_set(r->f->cfg.loop, &r->inner_watch, r->inner, inner);
}

static void
pump(struct relay *r)
{
	bool alive = true, moved = true;

	r->wants_to_write = false;
	for (int turns = 0; alive && moved && turns < 32; turns++) {
		moved = false;
		alive = move(r, &moved);
	}
	if (moved)
		r->wants_to_write = true; /* comes back at once, after the others' turn */
	if (!alive || !watch_both(r))
		end(r, FEED_BROKEN);
}

static void
on_inner(void *ctx, uint32_t events)
{
	(void)events;
	pump(ctx);
}

static void
on_listen(void *ctx, uint32_t events)
{
	struct relay *r = ctx;
	struct sockaddr_in peer;
	socklen_t size = sizeof(peer);

	(void)events;
	r->inner = accept4(
	    r->listener, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (r->inner < 0)
		return;
	watch_stop(r->f->cfg.loop, &r->listen_watch);
	close(r->listener);
	r->listener = -1;
	pump(r);
}

static void
shake(struct relay *r)
{
	enum tls_verdict verdict;
	int rc, what, port;

	r->f->tls.serial = r->serial;
	r->f->tls.verdict = TLS_NOT_SEEN;
	rc = SSL_connect(r->ssl);
	what = SSL_get_error(r->ssl, rc);
	verdict = r->f->tls.verdict;
	r->f->tls.serial = NULL;
	ERR_clear_error();
	if (rc == 1) {
		r->open = true;
		watch_stop(r->f->cfg.loop, &r->outer_watch);
		r->listener = listen_once(&port);
		if (r->listener < 0 ||
		    !watch_set(r->f->cfg.loop, &r->listen_watch, r->listener, EPOLLIN))
			end(r, FEED_BROKEN);
		else
			r->client.ready(r->client.ctx, port);
		return;
	}
	if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE)
		watch_set(r->f->cfg.loop, &r->outer_watch, r->outer,
		    what == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
	else
		end(r,
		    verdict == TLS_OTHER_SERIAL || verdict == TLS_UNTRUSTED ? FEED_UNTRUSTED
									    : FEED_UNREACHABLE);
}

static void
on_outer(void *ctx, uint32_t events)
{
	struct relay *r = ctx;

	(void)events;
	if (r->open)
		pump(r);
	else
		shake(r);
}

struct relay *
relay_new(struct feeds *f, const char *address, int port, const char *serial,
    const struct relay_client *client)
{
	struct relay *r = calloc(1, sizeof(*r));

	must(r != NULL);
	r->f = f;
	r->client = *client;
	r->inner = r->listener = -1;
	r->outer_watch = (struct watch){.fn = on_outer, .ctx = r};
	r->inner_watch = (struct watch){.fn = on_inner, .ctx = r};
	r->listen_watch = (struct watch){.fn = on_listen, .ctx = r};
	snprintf(r->serial, sizeof(r->serial), "%s", serial);
	r->ssl = SSL_new(f->tls.ctx);
	must(r->ssl != NULL);
	SSL_set_mode(r->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	r->outer = feed_dial(address, port);
	if (r->outer >= 0 && SSL_set_fd(r->ssl, r->outer) == 1 &&
	    watch_set(f->cfg.loop, &r->outer_watch, r->outer, EPOLLOUT))
		return r;
	relay_free(r);
	return NULL;
}

static void
close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void
relay_free(struct relay *r)
{
	if (!r)
		return;
	watch_stop(r->f->cfg.loop, &r->outer_watch);
	watch_stop(r->f->cfg.loop, &r->inner_watch);
	watch_stop(r->f->cfg.loop, &r->listen_watch);
	SSL_free(r->ssl);
	close_fd(r->outer);
	close_fd(r->inner);
	close_fd(r->listener);
	explicit_bzero(&r->up, sizeof(r->up)); /* the password went through here */
	free(r);
}
