/* Where pictures come from: one table of functions per way. A feed runs in the loop; it keeps no
 * more than one picture. */
#ifndef GATEWAY_CAMERA_FEED_H
#define GATEWAY_CAMERA_FEED_H

#include "gateway/camera_cut.h"
#include "gateway/driver.h"

struct feed;
struct feeds; /* what feeds share, one per process */
struct resolver;

/* Why a feed ended. */
enum feed_end {
	FEED_UNREACHABLE,
	FEED_REFUSED,    /* the access code or password */
	FEED_UNTRUSTED,  /* the certificate is not this printer's */
	FEED_BROKEN,     /* it ended, or what came is no picture */
	FEED_NO_PICTURE, /* connected, but silent */
	FEED_NO_DECODER, /* a kind that needs a program which is not installed */
	FEED_TOO_MANY,   /* of a kind that costs much */
	FEED_NOT_CONNECTED,
	FEED_ENDS
};
const char *feed_end_name(enum feed_end e);
/* For people. */
const char *feed_end_words(enum feed_end e);

/* Borrowed for the call of `open`. */
struct feed_target {
	const struct camera_source *source;
	const char *host; /* of a CAMERA_BAMBU_JPEG: name or address */
	const char *serial, *secret;
};

struct feed_client {
	void *ctx;
	/* A whole JPEG; borrowed. The feed is not closed from within. */
	void (*picture)(void *ctx, const uint8_t *jpeg, size_t n);
	/* It is over; the last thing a feed does. It is closed from within or later. */
	void (*ended)(void *ctx, enum feed_end why);
};

struct feed_ops {
	/* Never calls the client before it has returned. interval_ms: pictures are wanted no more
	 * often. */
	struct feed *(*open)(
	    struct feeds *f, const struct feed_target *t, const struct feed_client *client);
	void (*close)(struct feed *feed);
	/* Pictures are wanted no more often than that; may be NULL. */
	void (*pace)(struct feed *feed, int64_t interval_ms);
};
extern const struct feed_ops feed_bambu, feed_http, feed_mjpeg, feed_rtsp;

/* False when RTSP cannot be shown here. */
bool feed_rtsp_works(const struct feeds *f);

struct feeds_config {
	struct loop *loop;
	struct resolver *resolver;
	struct http *http;
	const char *ca_path; /* as driver_config's */
	const char *ffmpeg;  /* name or path */
};
/* NULL when the CA file cannot be used. */
struct feeds *feeds_new(const struct feeds_config *cfg);
void feeds_free(struct feeds *f);

#endif
