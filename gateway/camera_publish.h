/* Pictures to nginx: POST and DELETE of nchan's publisher locations
 * (nginx/realtime.conf.in). */
#ifndef GATEWAY_CAMERA_PUBLISH_H
#define GATEWAY_CAMERA_PUBLISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct http;
struct loop;
struct publisher;
struct publishing; /* a picture on its way */

enum { CHANNEL_PATH = 96 };

/* socket_path: copied. */
struct publisher *publisher_new(struct loop *loop, struct http *h, const char *socket_path);
/* Nothing may be on its way but what publisher_end began. */
void publisher_free(struct publisher *p);

/* How many look, or why it could not be published; ends the life of what publisher_picture
 * returned. FULL: viewers that are slower than their pictures hold all of nginx' memory. */
enum { PUBLISH_FAILED = -1, PUBLISH_FULL = -2 };
/* How many are at a channel, by nchan's answer {"messages": 1, "requested": 0, "subscribers": 2,
 * …}; PUBLISH_FAILED when there is no such number. */
int64_t publish_viewers(struct str answer);
typedef void (*publish_done)(void *ctx, int64_t viewers);
/* part: as a part of multipart/x-mixed-replace with the boundary "frame", else the JPEG alone. The
 * bytes are copied. NULL, and nothing is told, when too much is under way. */
struct publishing *publisher_picture(struct publisher *p, const char *path, bool part,
    const uint8_t *jpeg, size_t n, publish_done done, void *ctx);
/* It may still arrive; nothing is told. */
void publisher_cancel(struct publishing *s);
/* Ends everyone who waits there. */
void publisher_end(struct publisher *p, const char *path);

#endif
