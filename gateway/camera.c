#include "gateway/camera.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/camera_feed.h"
#include "gateway/camera_publish.h"
#include "gateway/session.h"

enum {
	TICK_MS = 500,
	SWEEP_MS = 2000,
	NEWS_MOST = 200,
	CHANNELS_MOST = 64,
	GRACE_MS = 5000, /* without a viewer for so long: over */
	PATIENCE_MS = 12000,
	RETRY_MS = 1000,
	TRIES = 3,        /* a camera that worked is dialled again so often */
	SINGLE_MS = 1000, /* between two pictures for those who want one */
	CLEAR_MS = 1000,
	EARLY_MS = 15 /* a picture that comes so much early is in time */
};

struct channel {
	struct camera *c;
	struct channel *next;
	int64_t id;
	int32_t fps; /* 0: single pictures */
	bool active;
	int64_t ends_ms, due_ms, empty_ms; /* empty: since when nobody looks; 0: somebody may */
	struct publishing *publishing;
	int64_t bytes; /* published since its viewers were last sent away */
};

struct camera {
	struct cameras *cs;
	struct uuid printer;
	const char *told; /* the source as last told; NULL: not yet */
	struct channel *channels;
	struct camera_source source; /* of the feed */
	const struct feed_ops *ops;
	struct feed *feed; /* NULL: closed */
	struct timer tick;
	bool failing; /* until the failure is written down */
	int tries;    /* openings since the last picture */
	bool worked;
	int64_t known_ms, retry_ms,
	    picture_ms; /* picture: the last one, or when the feed was opened */
};

struct cameras {
	struct cameras_config cfg;
	struct feeds *feeds;
	struct publisher *publisher;
	struct uuid_map map;
	struct timer sweep;
	int64_t cleared_ms; /* the last time memory was made free at nginx */
};

/* By kind of source. */
static const struct {
	const char *name;
	const struct feed_ops *ops;
	int64_t patience_ms; /* without a picture for so long: over */
} kinds[] = {
    [CAMERA_NONE] = {"none", NULL, 0},
    [CAMERA_BAMBU_JPEG] = {"jpeg", &feed_bambu, PATIENCE_MS},
    [CAMERA_HTTP] = {"http", &feed_http, PATIENCE_MS},
    [CAMERA_MJPEG] = {"mjpeg", &feed_mjpeg, PATIENCE_MS},
    [CAMERA_RTSP] = {"rtsp", &feed_rtsp, 2 * PATIENCE_MS}, /* ffmpeg looks before it shows */
};

static int64_t
now_ms(const struct camera *c)
{
	return loop_now(c->cs->cfg.loop);
}

/* --- channels --------------------------------------------------------------------------------- */

static void
channel_path(const struct channel *ch, char out[CHANNEL_PATH])
{
	char printer[UUID_TEXT_LEN + 1];

	uuid_text(ch->c->printer, printer);
	if (ch->fps == 0)
		snprintf(out, CHANNEL_PATH, "still/%s", printer);
	else
		snprintf(out, CHANNEL_PATH, "stream/%s.%d.%lld", printer, (int)ch->fps,
		    (long long)ch->id);
}

static void
end_viewers(const struct channel *ch)
{
	char path[CHANNEL_PATH];

	channel_path(ch, path);
	publisher_end(ch->c->cs->publisher, path);
}

static void
free_channel(struct channel *ch)
{
	if (ch->publishing)
		publisher_cancel(ch->publishing);
	free(ch);
}

static void
drop_channels(struct camera *c)
{
	while (c->channels) {
		struct channel *ch = c->channels;

		c->channels = ch->next;
		free_channel(ch);
	}
}

static bool
any_active(const struct camera *c)
{
	for (const struct channel *ch = c->channels; ch; ch = ch->next)
		if (ch->active)
			return true;
	return false;
}

/* Ends what is over, and forgets those without viewers until they are wanted again. */
static void
review(struct camera *c)
{
	struct channel **at = &c->channels;

	while (*at) {
		struct channel *ch = *at;

		if (ch->fps > 0 && ch->empty_ms > 0 && now_ms(c) - ch->empty_ms > GRACE_MS)
			ch->active = false;
		if (now_ms(c) < ch->ends_ms) {
			at = &ch->next;
			continue;
		}
		if (ch->active && ch->fps > 0)
			end_viewers(ch);
		*at = ch->next;
		free_channel(ch);
	}
}

static int64_t
interval_ms(const struct channel *ch)
{
	return ch->fps > 0 ? 1000 / ch->fps : SINGLE_MS;
}

/* Somebody reads slower than pictures come and holds nginx' memory. Who that is nobody tells: the
 * channel that published most is ended, with its viewers. */
static void
make_room(struct cameras *cs)
{
	struct channel *most = NULL;
	struct camera *c;
	size_t at = 0;

	if (loop_now(cs->cfg.loop) - cs->cleared_ms < CLEAR_MS)
		return;
	cs->cleared_ms = loop_now(cs->cfg.loop);
	while ((c = uuid_map_next(&cs->map, &at)) != NULL)
		for (struct channel *ch = c->channels; ch; ch = ch->next)
			if (!most || ch->bytes > most->bytes)
				most = ch;
	if (!most)
		return;
	log_warn("nginx' memory for pictures is full of slow viewers: some are sent away",
	    LOG_I("bytes", most->bytes));
	most->bytes = 0;
	end_viewers(most);
}

static void
on_published(void *ctx, int64_t viewers)
{
	struct channel *ch = ctx;

	ch->publishing = NULL;
	if (viewers == PUBLISH_FULL)
		make_room(ch->c->cs);
	if (viewers > 0)
		ch->empty_ms = 0;
	else if (ch->empty_ms == 0)
		ch->empty_ms = now_ms(ch->c);
}

static void
publish(struct channel *ch, const uint8_t *jpeg, size_t n)
{
	int64_t now = now_ms(ch->c), interval = interval_ms(ch);
	char path[CHANNEL_PATH];

	if (!ch->active || ch->publishing || now + EARLY_MS < ch->due_ms)
		return;
	ch->due_ms = (now - ch->due_ms > interval ? now : ch->due_ms) + interval;
	channel_path(ch, path);
	ch->publishing = publisher_picture(
	    ch->c->cs->publisher, path, ch->fps > 0, jpeg, n, on_published, ch);
	ch->bytes += ch->publishing ? (int64_t)n : 0;
}

/* --- the feed --------------------------------------------------------------------------------- */

static void
close_feed(struct camera *c)
{
	if (c->feed)
		c->ops->close(c->feed);
	c->feed = NULL;
}

/* The failure is written down: whoever is sent away can be told why. */
static void
on_told(void *ctx, struct uuid printer)
{
	struct cameras *cs = ctx;
	struct camera *c = uuid_map_get(&cs->map, printer);

	if (!c || !c->failing)
		return;
	c->failing = false;
	for (struct channel *ch = c->channels; ch; ch = ch->next)
		if (ch->active)
			end_viewers(ch);
	drop_channels(c);
	timer_stop(cs->cfg.loop, &c->tick);
}

static void
tell_trouble(struct camera *c, const char *source, const char *trouble, const char *words)
{
	struct camera_news news = {c->printer, source, trouble, words};
	struct sink *sink = c->cs->cfg.sink;
	char id[UUID_TEXT_LEN + 1];

	c->failing = true;
	uuid_text(c->printer, id);
	log_info("camera", LOG_Z("printer_id", id), LOG_Z("trouble", trouble ? trouble : "none"));
	sink->ops->camera(sink, &news, 1, on_told, c->cs);
}

static void
fail(struct camera *c, enum feed_end why)
{
	close_feed(c);
	tell_trouble(c, NULL, feed_end_name(why), feed_end_words(why));
}

static void
on_picture(void *ctx, const uint8_t *jpeg, size_t n)
{
	struct camera *c = ctx;

	c->picture_ms = now_ms(c);
	c->tries = 0;
	c->worked = true;
	for (struct channel *ch = c->channels; ch; ch = ch->next)
		publish(ch, jpeg, n);
}

static void
on_feed_ended(void *ctx, enum feed_end why)
{
	struct camera *c = ctx;

	close_feed(c);
	if (!c->worked || why == FEED_REFUSED || ++c->tries > TRIES)
		fail(c, why);
	else
		c->retry_ms = now_ms(c) + RETRY_MS;
}

static int64_t
fastest_ms(const struct camera *c)
{
	int64_t least = SINGLE_MS;

	for (const struct channel *ch = c->channels; ch; ch = ch->next)
		if (ch->active && interval_ms(ch) < least)
			least = interval_ms(ch);
	return least;
}

/* "+200": so far above the printer's own port. */
static int
own_port(const struct camera *c, const struct session *s)
{
	struct str text = str_from(c->cs->cfg.camera_port);
	bool above = str_starts(text, STR("+"));
	struct str digits = above ? (struct str){text.p + 1, text.n - 1} : text;
	int64_t n;

	if (!str_to_i64(digits, &n))
		return c->source.port;
	return (int)n + (above ? session_port(s) : 0);
}

static void
open_feed(struct camera *c, const struct session *s)
{
	struct feed_target t = {&c->source, session_host(s), session_serial(s), session_secret(s)};
	struct feed_client client = {c, on_picture, on_feed_ended};

	if (c->source.kind == CAMERA_NONE) {
		tell_trouble(c, "none", NULL, NULL);
		return;
	}
	if (c->source.kind == CAMERA_RTSP && !feed_rtsp_works(c->cs->feeds)) {
		fail(c, FEED_NO_DECODER);
		return;
	}
	if (c->source.port)
		c->source.port = own_port(c, s);
	c->picture_ms = now_ms(c);
	c->ops = kinds[c->source.kind].ops;
	c->feed = c->ops->open(c->cs->feeds, &t, &client);
}

/* Opens the feed when there is a session, closes it when the camera is another one. */
static void
attend(struct camera *c)
{
	const struct session *s = uuid_map_get(c->cs->cfg.sessions, c->printer);
	struct camera_source source;

	if (!s || !session_camera(s, &source)) {
		if (now_ms(c) - c->known_ms > PATIENCE_MS)
			fail(c, FEED_NOT_CONNECTED);
		return;
	}
	c->known_ms = now_ms(c);
	source.port = c->feed ? c->source.port : source.port;
	if (c->feed && memcmp(&source, &c->source, sizeof(source)) != 0)
		close_feed(c);
	if (!c->feed && now_ms(c) >= c->retry_ms) {
		c->source = source;
		open_feed(c, s);
	}
	if (c->feed && c->ops->pace)
		c->ops->pace(c->feed, fastest_ms(c));
}

static void
on_tick(void *ctx)
{
	struct camera *c = ctx;

	if (c->failing)
		return;
	review(c);
	if (!any_active(c)) {
		close_feed(c);
		c->worked = false;
		return;
	}
	timer_set(c->cs->cfg.loop, &c->tick, TICK_MS);
	if (c->feed && now_ms(c) - c->picture_ms > kinds[c->source.kind].patience_ms)
		fail(c, FEED_NO_PICTURE);
	else
		attend(c);
}

/* --- what is wanted --------------------------------------------------------------------------- */

static struct camera *
camera_of(struct cameras *cs, struct uuid printer)
{
	struct camera *c = uuid_map_get(&cs->map, printer);

	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	must(c != NULL);
	c->cs = cs;
	c->printer = printer;
	c->tick = (struct timer){.fn = on_tick, .ctx = c};
	uuid_map_put(&cs->map, printer, c);
	return c;
}

static struct channel *
channel_of(struct camera *c, const struct camera_channel *w)
{
	struct channel *ch;

	for (ch = c->channels; ch; ch = ch->next)
		if (ch->id == w->id)
			return ch;
	ch = calloc(1, sizeof(*ch));
	must(ch != NULL);
	*ch = (struct channel){.c = c, .next = c->channels, .id = w->id, .fps = w->fps};
	c->channels = ch;
	return ch;
}

/* One that has ended is ended at nginx too, also when it was a predecessor's. */
static void
want(struct camera *c, const struct camera_channel *w)
{
	struct channel *ch = channel_of(c, w);

	ch->active = true;
	ch->empty_ms = 0;
	if (ch->fps == 0)
		ch->due_ms = 0; /* somebody waits for the next one */
	ch->ends_ms = now_ms(c) + w->left_ms;
}

void
cameras_want(struct cameras *cs, struct uuid printer, const struct camera_channel *v, size_t n)
{
	struct camera *c = camera_of(cs, printer);

	for (size_t i = 0; i < n && i < CHANNELS_MOST; i++)
		want(c, &v[i]);
	if (c->failing)
		return; /* they are sent away with the others */
	if (!c->feed)
		c->known_ms = now_ms(c);
	on_tick(c);
}

static void
forget(struct camera *c)
{
	close_feed(c);
	timer_stop(c->cs->cfg.loop, &c->tick);
	drop_channels(c);
	free(c);
}

void
cameras_forget(struct cameras *cs, struct uuid printer)
{
	struct camera *c = uuid_map_take(&cs->map, printer);

	if (c)
		forget(c);
}

/* --- what cameras there are ------------------------------------------------------------------- */

/* The source's name when it is not what was told. */
static const char *
news_of(struct cameras *cs, struct session *s)
{
	struct camera *c = camera_of(cs, session_printer(s));
	struct camera_source source;
	const char *name;

	if (!session_camera(s, &source))
		return NULL;
	name = kinds[source.kind].name;
	if (c->told == name)
		return NULL;
	c->told = name;
	return name;
}

static void
on_sweep(void *ctx)
{
	struct cameras *cs = ctx;
	struct camera_news news[NEWS_MOST];
	size_t at = 0, n = 0;
	struct session *s;

	timer_set(cs->cfg.loop, &cs->sweep, SWEEP_MS);
	while (n < NEWS_MOST && (s = uuid_map_next(cs->cfg.sessions, &at)) != NULL) {
		const char *source = news_of(cs, s);

		if (source)
			news[n++] = (struct camera_news){session_printer(s), source, NULL, NULL};
	}
	if (n > 0)
		cs->cfg.sink->ops->camera(cs->cfg.sink, news, n, NULL, NULL);
}

/* --- all of them ------------------------------------------------------------------------------ */

struct cameras *
cameras_new(const struct cameras_config *cfg)
{
	struct cameras *cs = calloc(1, sizeof(*cs));
	struct feeds_config fc = {cfg->loop, cfg->resolver, cfg->http, cfg->ca_path, cfg->ffmpeg};

	must(cs != NULL);
	cs->cfg = *cfg;
	cs->sweep = (struct timer){.fn = on_sweep, .ctx = cs};
	cs->feeds = feeds_new(&fc);
	if (!cs->feeds) {
		free(cs);
		return NULL;
	}
	cs->publisher = publisher_new(cfg->loop, cfg->http, cfg->publish);
	timer_set(cfg->loop, &cs->sweep, SWEEP_MS);
	return cs;
}

void
cameras_free(struct cameras *cs)
{
	struct camera *c;
	size_t at = 0;

	if (!cs)
		return;
	while ((c = uuid_map_next(&cs->map, &at)) != NULL)
		forget(c);
	uuid_map_fini(&cs->map);
	timer_stop(cs->cfg.loop, &cs->sweep);
	publisher_free(cs->publisher);
	feeds_free(cs->feeds);
	free(cs);
}
