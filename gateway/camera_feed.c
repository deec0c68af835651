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
	f->ffmpeg = find_program(cfg->ffmpeg);
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
