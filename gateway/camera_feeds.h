/* What the kinds of feeds share among themselves. */
#ifndef GATEWAY_CAMERA_FEEDS_H
#define GATEWAY_CAMERA_FEEDS_H

#include "gateway/bambu_tls.h"
#include "gateway/camera_feed.h"

struct feeds {
	struct feeds_config cfg;
	struct bambu_tls tls;
	char *ffmpeg; /* where it is; NULL: not installed */
	int n_rtsp;   /* that run */
};

/* Begins a connection to an address without waiting; -1: it cannot. */
int feed_dial(const char *address, int port);
/* A program of this name in PATH, on the heap; NULL: none. */
char *find_program(const char *name);

#endif
