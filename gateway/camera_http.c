/* Pictures over HTTP: one for each GET, or a body that does not end (multipart/x-mixed-replace, as
 * webcam servers send it). */
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/camera_feeds.h"
#include "gateway/http.h"
#include "gateway/resolve.h"

enum { STALL_MS = 15000, PACE_LEAST_MS = 100 };

struct feed {
	struct feeds *f;
	struct feed_client client;
	struct resolve *resolving;
	struct http_client *http;
	struct http_call *call;
	struct timer next; /* of the next GET, or ends what failed within open */
	enum feed_end failed;
	bool endless, over;
	int64_t pace_ms, asked_ms;
	char url[512], host[256], address[RESOLVE_TEXT];
	char key[544]; /* "": none */
	struct picture_cutter cutter;
};

static void
end(struct feed *h, enum feed_end why)
{
	h->call = NULL;
	timer_stop(h->f->cfg.loop, &h->next);
	h->client.ended(h->client.ctx, why);
}

static enum feed_end
end_of(const struct http_reply *r)
{
	if (r->status == 401 || r->status == 403)
		return FEED_REFUSED;
	switch (r->fault) {
	case HTTP_UNREACHABLE:
		return FEED_UNREACHABLE;
	case HTTP_TLS:
	case HTTP_UNTRUSTED:
	case HTTP_OTHER_HOST:
		return FEED_UNTRUSTED;
	case HTTP_TIMEOUT:
		return FEED_NO_PICTURE;
	default:
		return FEED_BROKEN;
	}
}

static void
on_piece(void *ctx, const uint8_t *jpeg, size_t n)
{
	struct feed *h = ctx;

	h->client.picture(h->client.ctx, jpeg, n);
}

static bool
on_chunk(void *ctx, const void *bytes, size_t n)
{
	struct feed *h = ctx;

	return http_call_status(h->call) == 200 && picture_cut(&h->cutter, bytes, n, on_piece, h);
}

static void
on_reply(void *ctx, const struct http_reply *r)
{
	struct feed *h = ctx;
	int64_t left;

	h->call = NULL;
	if (h->endless || r->fault != HTTP_OK || r->status != 200 ||
	    !picture_is_whole((const uint8_t *)r->body.p, r->body.n)) {
		end(h, end_of(r));
		return;
	}
	h->client.picture(h->client.ctx, (const uint8_t *)r->body.p, r->body.n);
	left = h->asked_ms + h->pace_ms - loop_now(h->f->cfg.loop);
	timer_set(h->f->cfg.loop, &h->next, left);
}

static void
ask(struct feed *h)
{
	struct http_header key = {"X-Api-Key", h->key};
	struct http_request r = {
	    .headers = &key,
	    .n_headers = h->key[0] != '\0',
	    .url = h->url,
	    .address = h->address,
	    .stall_ms = STALL_MS,
	    .total_ms = h->endless ? HTTP_NEVER : 0,
	    .most = PICTURE_MOST,
	    .chunk = h->endless ? on_chunk : NULL,
	};

	h->asked_ms = loop_now(h->f->cfg.loop);
	h->call = http_send(h->http, &r, on_reply, h);
}

static void
on_next(void *ctx)
{
	struct feed *h = ctx;

	if (h->over)
		end(h, h->failed);
	else
		ask(h);
}

static void
on_address(void *ctx, const char *address)
{
	struct feed *h = ctx;

	h->resolving = NULL;
	h->over = address == NULL;
	h->failed = FEED_UNREACHABLE;
	if (address)
		snprintf(h->address, sizeof(h->address), "%s", address);
	timer_set(h->f->cfg.loop, &h->next, 0);
}

static bool
host_of(const char *url, char *out, size_t size)
{
	CURLU *u = curl_url();
	char *host = NULL;
	bool ok = u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK && strlen(host) < size;

	if (ok) {
		size_t n = strlen(host), inner = host[0] == '[' && n > 2;

		snprintf(out, size, "%.*s", (int)(inner ? n - 2 : n), host + inner);
	}
	curl_free(host);
	curl_url_cleanup(u);
	return ok;
}

static void
find_address(struct feed *h)
{
	char literal[RESOLVE_TEXT];

	if (!host_of(h->url, h->host, sizeof(h->host)))
		on_address(h, NULL);
	else if (resolve_literal(h->host, literal))
		on_address(h, literal);
	else
		h->resolving = resolve_start(h->f->cfg.resolver, h->host, on_address, h);
}

/* The secret without the user that stands before it. */
static const char *
bare_secret(const struct feed_target *t)
{
	size_t n = strlen(t->source->user);

	if ((n > 0 || t->source->key) && strncmp(t->secret, t->source->user, n) == 0 &&
	    t->secret[n] == ':')
		return t->secret + n + 1;
	return t->secret;
}

static struct feed *
open_feed(struct feeds *f, const struct feed_target *t, const struct feed_client *client)
{
	struct feed *h = calloc(1, sizeof(*h));
	/* A webcam is told no secret unless its driver names the user. */
	struct http_client_options o = {
	    .parallel = 1,
	    .user = t->source->user[0] ? t->source->user : NULL,
	    .secret = t->source->user[0] ? bare_secret(t) : NULL,
	};

	must(h != NULL);
	h->f = f;
	h->client = *client;
	h->pace_ms = 1000;
	h->next = (struct timer){.fn = on_next, .ctx = h};
	h->endless = t->source->kind == CAMERA_MJPEG;
	snprintf(h->url, sizeof(h->url), "%s", t->source->url);
	if (t->source->key)
		snprintf(h->key, sizeof(h->key), "%s", bare_secret(t));
	h->http = http_client_new(f->cfg.http, &o);
	find_address(h);
	return h;
}

static void
close_feed(struct feed *h)
{
	if (h->resolving)
		resolve_cancel(h->resolving);
	if (h->call)
		http_cancel(h->call);
	http_client_free(h->http);
	timer_stop(h->f->cfg.loop, &h->next);
	picture_cutter_fini(&h->cutter);
	explicit_bzero(h->key, sizeof(h->key));
	free(h);
}

static void
pace(struct feed *h, int64_t interval_ms)
{
	h->pace_ms = interval_ms > PACE_LEAST_MS ? interval_ms : PACE_LEAST_MS;
}

const struct feed_ops feed_http = {open_feed, close_feed, pace};
const struct feed_ops feed_mjpeg = {open_feed, close_feed, NULL};
