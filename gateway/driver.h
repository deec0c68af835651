/* What a protocol is to the gateway: one table of functions. A new protocol is one file and one
 * line in drivers.c. */
#ifndef GATEWAY_DRIVER_H
#define GATEWAY_DRIVER_H

#include <stdint.h>

#include "gateway/status.h"

struct session;

struct driver_config {
	const char *ca_path; /* certificates that a printer's may chain to */
};

struct driver {
	const char *protocol;
	int port; /* when none is configured */
	bool needs_serial, needs_secret;
	/* Once per process; NULL when it cannot work. What it returns is given to create. */
	void *(*init)(const struct driver_config *cfg);
	void (*fini)(void *env);

	void *(*create)(void *env, struct session *s);
	void (*destroy)(void *d);
	/* Begins a connection to an address. Its course is told by session_up, session_report,
	 * session_failed, each of which may be called from within. */
	void (*connect)(void *d, const char *address, int port);
	/* Ends it in good order if there is one. Nothing is told about it. */
	void (*disconnect)(void *d);
	/* Asks for a full report. */
	void (*ask)(void *d);
	/* The printer is silent: wake it. */
	void (*nudge)(void *d);
	/* What is known of the job from before this process. */
	void (*recall)(void *d, enum printer_state state, enum job_outcome outcome,
	    int64_t started_ms, int32_t progress);
};

/* The table; NULL behind the last one. */
enum { DRIVERS_MOST = 8 };
extern const struct driver *const drivers[DRIVERS_MOST];

#endif
