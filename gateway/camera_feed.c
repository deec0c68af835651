#include "gateway/camera_feed.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/camera_feeds.h"

static const struct {
	const char *name, *words;
} ends[FEED_ENDS] = {
    [FEED_UNREACHABLE] = {"unreachable", "The camera does not answer."},
    [FEED_REFUSED] = {"wrong_access_code", "The camera refuses the access code or password."},
    [FEED_UNTRUSTED] = {"certificate_mismatch",
	"The camera's certificate is not the one of this printer."},
    [FEED_BROKEN] = {"broken", "What came from the camera was no picture, or it ended."},
    [FEED_NO_PICTURE] = {"no_picture", "The camera is connected but sends no pictures."},
    [FEED_NO_DECODER] = {"no_decoder",
	"This printer's camera sends video, and ffmpeg, which makes pictures of it, is not installed on "
	"the gateway."},
    [FEED_TOO_MANY] = {"too_many",
	"This gateway makes pictures of as many cameras with video as it may; try again later."},
    [FEED_NOT_CONNECTED] = {"not_connected", "The printer is not connected."},
};

const char *
feed_end_name(enum feed_end e)
{
	return ends[e].name;
}

const char *
feed_end_words(enum feed_end e)
{
	return ends[e].words;
}

struct feeds *
feeds_new(const struct feeds_config *cfg)
{
	struct feeds *f = calloc(1, sizeof(*f));

	must(f != NULL);
	f->cfg = *cfg;
	f->ffmpeg = find_program("ffmpeg");
	if (bambu_tls_init(&f->tls, cfg->ca_path))
		return f;
	feeds_free(f);
	return NULL;
}

void
feeds_free(struct feeds *f)
{
	if (!f)
		return;
	bambu_tls_fini(&f->tls);
	free(f->ffmpeg);
	free(f);
}

int
feed_dial(const char *address, int port)
{
	struct addrinfo hints = {
	    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	char service[8];
	int fd;

	snprintf(service, sizeof(service), "%d", port);
	if (getaddrinfo(address, service, &hints, &found) != 0)
		return -1;
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0 &&
	    errno != EINPROGRESS) {
		close(fd);
		fd = -1;
	}
	freeaddrinfo(found);
	return fd;
}

/* --- pictures --------------------------------------------------------------------------------- */

bool
picture_is_whole(const uint8_t *p, size_t n)
{
	return n >= 4 && n <= PICTURE_MOST && p[0] == 0xFF && p[1] == 0xD8 && p[n - 2] == 0xFF &&
	    p[n - 1] == 0xD9;
}

static const uint8_t *
find_marker(const uint8_t *p, size_t n, uint8_t second)
{
	const uint8_t *at = p, *end = p + n;

	while (end - at >= 2) {
		at = memchr(at, 0xFF, (size_t)(end - at) - 1);
		if (!at)
			return NULL;
		if (at[1] == second)
			return at;
		at++;
	}
	return NULL;
}

static void
keep(struct picture_cutter *c, const uint8_t *bytes, size_t n)
{
	if (c->n + n > c->room) {
		c->room = c->n + n > c->room * 2 ? c->n + n : c->room * 2;
		c->p = realloc(c->p, c->room);
		must(c->p != NULL);
	}
	memcpy(c->p + c->n, bytes, n);
	c->n += n;
}

static void
drop_front(struct picture_cutter *c, size_t n)
{
	memmove(c->p, c->p + n, c->n - n);
	c->n -= n;
	c->seen = 0;
}

/* Leaves a picture's beginning, or what may become one, at the front. */
static void
skip_to_start(struct picture_cutter *c)
{
	const uint8_t *start = find_marker(c->p, c->n, 0xD8);

	if (start)
		drop_front(c, (size_t)(start - c->p));
	else
		drop_front(c, c->n && c->p[c->n - 1] == 0xFF ? c->n - 1 : c->n);
}

bool
picture_cut(struct picture_cutter *c, const uint8_t *bytes, size_t n,
    void (*picture)(void *ctx, const uint8_t *jpeg, size_t n), void *ctx)
{
	const uint8_t *end;
	size_t size;

	if (n > PICTURE_MOST)
		return false;
	keep(c, bytes, n);
	for (;;) {
		if (!c->seen)
			skip_to_start(c);
		if (c->n < 4)
			return true;
		c->seen = c->seen < 2 ? 2 : c->seen;
		end = find_marker(c->p + c->seen, c->n - c->seen, 0xD9);
		if (!end) {
			c->seen = c->n - 1;
			return c->n <= PICTURE_MOST;
		}
		size = (size_t)(end - c->p) + 2;
		if (size > PICTURE_MOST)
			return false;
		picture(ctx, c->p, size);
		drop_front(c, size);
	}
}

void
picture_cutter_fini(struct picture_cutter *c)
{
	free(c->p);
	memset(c, 0, sizeof(*c));
}
