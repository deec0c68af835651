/* What the kinds of feeds share among themselves. */
#ifndef GATEWAY_CAMERA_FEEDS_H
#define GATEWAY_CAMERA_FEEDS_H

#include "gateway/bambu_tls.h"
#include "gateway/camera_feed.h"

struct feeds {
	struct feeds_config cfg;
	struct bambu_tls tls;
	char *ffmpeg; /* where it is; NULL: not installed */
};

/* A program of this name in PATH, on the heap; NULL: none. */
char *find_program(const char *name);

#endif
