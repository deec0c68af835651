/* A feed of pictures outside of the gateway: camera_probe http|mjpeg URL FPS COUNT [USER SECRET]
 * writes the size of each picture, a line each, then how it ended. USER "": the secret is a key. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/camera_feed.h"
#include "gateway/http.h"
#include "gateway/loop.h"
#include "gateway/resolve.h"

struct probe {
	struct loop *loop;
	int64_t left;
	const char *end;
};

static void
on_picture(void *ctx, const uint8_t *jpeg, size_t n)
{
	struct probe *p = ctx;

	must(picture_is_whole(jpeg, n));
	if (p->left == 0)
		return; /* more of them came at once */
	printf("%zu\n", n);
	fflush(stdout);
	if (--p->left == 0)
		loop_stop(p->loop);
}

static void
on_end(void *ctx, enum feed_end why)
{
	struct probe *p = ctx;

	p->end = feed_end_name(why);
	loop_stop(p->loop);
}

int
main(int argc, char **argv)
{
	struct probe p = {.loop = loop_new(), .end = "enough"};
	struct feeds_config cfg = {
	    .loop = p.loop, .ca_path = getenv("CA"), .ffmpeg = "/nonexistent"};
	struct camera_source source = {.kind = CAMERA_HTTP};
	struct feed_target target = {&source, "", "", argc > 6 ? argv[6] : ""};
	struct feed_client client = {&p, on_picture, on_end};
	const struct feed_ops *ops = &feed_http;
	struct feeds *feeds;
	struct feed *feed;
	int64_t fps;

	log_init("probe", LOG_WARN);
	if (argc < 5 || !str_to_i64(str_from(argv[3]), &fps) || fps < 1 ||
	    !str_to_i64(str_from(argv[4]), &p.left))
		return 2;
	if (strcmp(argv[1], "mjpeg") == 0) {
		source.kind = CAMERA_MJPEG;
		ops = &feed_mjpeg;
	}
	snprintf(source.url, sizeof(source.url), "%s", argv[2]);
	snprintf(source.user, sizeof(source.user), "%s", argc > 6 ? argv[5] : "");
	source.key = argc > 6 && !argv[5][0];
	cfg.http = http_new(p.loop);
	cfg.resolver = resolver_new(p.loop);
	feeds = feeds_new(&cfg);
	if (!feeds)
		return 3;
	feed = ops->open(feeds, &target, &client);
	if (ops->pace)
		ops->pace(feed, 1000 / fps);
	loop_run(p.loop);
	ops->close(feed);
	puts(p.end);
	feeds_free(feeds);
	http_free(cfg.http);
	resolver_free(cfg.resolver);
	loop_free(p.loop);
	return 0;
}
