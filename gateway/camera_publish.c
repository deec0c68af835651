#include "gateway/camera_publish.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/camera_feed.h"
#include "gateway/http.h"

enum {
	PARALLEL = 64,
	UNDER_WAY_MOST = 32 << 20, /* bytes: nginx is slow, pictures are left out */
	PUBLISH_MS = 5000,
	ANSWER_MOST = 4096,
	COMPLAIN_MS = 60000
};

struct publisher {
	struct http_client *client;
	char socket[108];
	size_t under_way;
	uint8_t *part; /* PICTURE_MOST and what stands around */
	int64_t complained_ms;
};

/* One on its way; freed by its end. A cancelled one stays in the publisher's count until then. */
struct sending {
	struct publisher *p;
	size_t size;
	publish_done done;
	void *ctx;
};

enum { AROUND = 128 };

struct publisher *
publisher_new(struct http *h, const char *socket_path)
{
	struct publisher *p = calloc(1, sizeof(*p));
	struct http_client_options o = {.parallel = PARALLEL};

	must(p != NULL);
	if (strlen(socket_path) >= sizeof(p->socket)) {
		free(p);
		return NULL;
	}
	snprintf(p->socket, sizeof(p->socket), "%s", socket_path);
	p->client = http_client_new(h, &o);
	p->part = malloc(PICTURE_MOST + AROUND);
	must(p->part != NULL);
	return p;
}
