#include "gateway/camera_publish.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/camera_feed.h"
#include "gateway/http.h"
#include "gateway/loop.h"

enum {
	INSUFFICIENT_STORAGE = 507,
	PARALLEL = 12,
	UNDER_WAY_MOST = 32 << 20, /* bytes: nginx is slow, pictures are left out */
	PUBLISH_MS = 5000,
	ANSWER_MOST = 4096,
	COMPLAIN_MS = 60000,
	AROUND = 128 /* bytes around a picture as a part */
};

struct publisher {
	struct loop *loop;
	struct http_client *client;
	uint8_t *part;
	size_t under_way;
	int64_t complained_ms;
};

struct publishing {
	struct publisher *p;
	struct http_call *call;
	size_t size;
	publish_done done;
	void *ctx;
};

struct publisher *
publisher_new(struct loop *loop, struct http *h, const char *socket_path)
{
	struct publisher *p = calloc(1, sizeof(*p));
	struct http_client_options o = {.parallel = PARALLEL, .unix_socket = socket_path};

	must(p != NULL);
	p->loop = loop;
	p->complained_ms = -COMPLAIN_MS;
	p->client = http_client_new(h, &o);
	p->part = malloc(PICTURE_MOST + AROUND);
	must(p->part != NULL);
	return p;
}

void
publisher_free(struct publisher *p)
{
	if (!p)
		return;
	http_client_free(p->client);
	free(p->part);
	free(p);
}

/* --- answers ---------------------------------------------------------------------------------- */

int64_t
publish_viewers(struct str answer)
{
	struct json_tokener *tok = json_tokener_new_ex(4);
	struct json_object *v, *n;
	int64_t viewers = PUBLISH_FAILED;

	must(tok != NULL);
	v = json_tokener_parse_ex(tok, answer.p, (int)answer.n);
	if (json_object_object_get_ex(v, "subscribers", &n) &&
	    json_object_is_type(n, json_type_int))
		viewers = json_object_get_int64(n);
	json_object_put(v);
	json_tokener_free(tok);
	return viewers;
}

static void
complain(struct publisher *p, const struct http_reply *r)
{
	if (loop_now(p->loop) - p->complained_ms < COMPLAIN_MS)
		return;
	p->complained_ms = loop_now(p->loop);
	log_warn("pictures cannot be published", LOG_Z("fault", http_fault_name(r->fault)),
	    LOG_I("status", r->status));
}

static bool
is_published(const struct http_reply *r)
{
	return r->fault == HTTP_OK && (r->status == 201 || r->status == 202);
}

static void
on_published(void *ctx, const struct http_reply *r)
{
	struct publishing *s = ctx;
	int64_t viewers = is_published(r)       ? publish_viewers(r->body)
	    : r->status == INSUFFICIENT_STORAGE ? PUBLISH_FULL
						: PUBLISH_FAILED;

	if (!is_published(r))
		complain(s->p, r);
	s->p->under_way -= s->size;
	s->done(s->ctx, viewers);
	free(s);
}

static void
on_ended(void *ctx, const struct http_reply *r)
{
	struct publisher *p = ctx;

	if (r->fault != HTTP_OK || (r->status != 200 && r->status != 404))
		complain(p, r);
}

/* --- requests --------------------------------------------------------------------------------- */

static const struct http_header headers[] = {{"Accept", "application/json"}, {"Expect", NULL}};

static struct http_request
request(const char *method, char url[CHANNEL_PATH + 16], const char *path)
{
	snprintf(url, CHANNEL_PATH + 16, "http://nginx/%s", path);
	return (struct http_request){
	    .method = method,
	    .url = url,
	    .headers = headers,
	    .n_headers = 2,
	    .total_ms = PUBLISH_MS,
	    .most = ANSWER_MOST,
	};
}

/* A part of multipart/x-mixed-replace (RFC 2046 5.1), without the boundary that ends it: that is
 * the next one's. */
static struct str
as_part(struct publisher *p, const uint8_t *jpeg, size_t n)
{
	int head = snprintf((char *)p->part, AROUND,
	    "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %zu\r\n\r\n", n);

	must(head > 0 && head + 2 < AROUND);
	memcpy(p->part + head, jpeg, n);
	memcpy(p->part + head + n, "\r\n", 2);
	return (struct str){(const char *)p->part, (size_t)head + n + 2};
}

struct publishing *
publisher_picture(struct publisher *p, const char *path, bool part, const uint8_t *jpeg, size_t n,
    publish_done done, void *ctx)
{
	char url[CHANNEL_PATH + 16];
	struct http_request r = request("POST", url, path);
	struct publishing *s;

	if (n > PICTURE_MOST || p->under_way + n > UNDER_WAY_MOST)
		return NULL;
	s = calloc(1, sizeof(*s));
	must(s != NULL);
	*s = (struct publishing){.p = p, .size = n, .done = done, .ctx = ctx};
	p->under_way += n;
	r.body = part ? as_part(p, jpeg, n) : (struct str){(const char *)jpeg, n};
	r.body_type = "image/jpeg";
	s->call = http_send(p->client, &r, on_published, s);
	return s;
}

void
publisher_cancel(struct publishing *s)
{
	http_cancel(s->call);
	s->p->under_way -= s->size;
	free(s);
}

void
publisher_end(struct publisher *p, const char *path)
{
	char url[CHANNEL_PATH + 16];
	struct http_request r = request("DELETE", url, path);

	http_send(p->client, &r, on_ended, p);
}
