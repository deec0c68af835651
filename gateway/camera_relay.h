/* A port of the loopback that leads, once, through TLS to a printer: for programs that cannot check
 * a printer's certificate themselves. Nothing secret goes through until the printer has shown the
 * right one. */
#ifndef GATEWAY_CAMERA_RELAY_H
#define GATEWAY_CAMERA_RELAY_H

#include "gateway/camera_feeds.h"

struct relay;

struct relay_client {
	void *ctx;
	/* The printer has shown its certificate: who connects to this port is connected to it. */
	void (*ready)(void *ctx, int port);
	/* It is over; the relay may be freed from within. */
	void (*ended)(void *ctx, enum feed_end why);
};

/* NULL when there is no way to begin. serial: copied. */
struct relay *relay_new(struct feeds *f, const char *address, int port, const char *serial,
    const struct relay_client *client);
void relay_free(struct relay *r);

#endif
