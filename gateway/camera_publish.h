/* Pictures to nginx: POST and DELETE of nchan's publisher locations (nginx/soloprint/realtime.conf). */
#ifndef GATEWAY_CAMERA_PUBLISH_H
#define GATEWAY_CAMERA_PUBLISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http;
struct http_call;
struct publisher;

enum { CHANNEL_PATH = 96 };

/* socket_path: copied. NULL when it is too long. */
struct publisher *publisher_new(struct http *h, const char *socket_path);
void publisher_free(struct publisher *p);

/* viewers: -1 when it could not be published. */
typedef void (*publish_done)(void *ctx, int64_t viewers);
/* part: as a part of multipart/x-mixed-replace with the boundary "frame", else the JPEG alone. The
 * bytes are copied. NULL, and nothing is told, when too much is under way. May be given to
 * http_cancel. */
struct http_call *publisher_picture(struct publisher *p, const char *path, bool part,
    const uint8_t *jpeg, size_t n, publish_done done, void *ctx);
/* Ends everyone who waits there. */
void publisher_end(struct publisher *p, const char *path);

#endif
