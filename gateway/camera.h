/* Cameras of the printers at hand: one connection to each that somebody looks at, whatever the
 * number of viewers, and its pictures to nginx, which holds the viewers. */
#ifndef GATEWAY_CAMERA_H
#define GATEWAY_CAMERA_H

#include "gateway/sink.h"
#include "gateway/uuid_map.h"

struct cameras;
struct fleet;
struct http;
struct resolver;

struct cameras_config {
	struct loop *loop;
	struct resolver *resolver;
	struct http *http;
	struct sink *sink;
	struct uuid_map *sessions; /* struct session by printer; lives longer */
	const char *publish;       /* nginx' socket for publishers; "": there is none */
	const char *ca_path;       /* as driver_config's */
	const char *camera_port;   /* of sources that name one: "": that; "+200": so far above the
				      printer's configured port */
	const char *ffmpeg;        /* name or path; it need not be there */
};

/* NULL, and logged, when the CA file or the socket's path cannot be used. */
struct cameras *cameras_new(const struct cameras_config *cfg);
void cameras_free(struct cameras *cs);

/* Everything that is wanted of a printer's camera, and what has ended. */
void cameras_want(
    struct cameras *cs, struct uuid printer, const struct camera_channel *v, size_t n);
/* The printer is no longer ours; its viewers stay, for the next gateway. */
void cameras_forget(struct cameras *cs, struct uuid printer);

#endif
