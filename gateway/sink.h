/* Where the gateway gets its work and leaves its results. Postgres is one such place (sink_pg.c).
 */
#ifndef GATEWAY_SINK_H
#define GATEWAY_SINK_H

#include "base/str.h"
#include "base/uuid.h"
#include "gateway/loop.h"
#include "gateway/status.h"

/* A printer to look after, as configured, and its status as last written. Borrowed for the call. */
struct work {
	struct uuid org, printer;
	int64_t fencing; /* goes up with every change of hands */
	int64_t config_version;
	struct str name, protocol, model, host, serial, secret; /* STR_NONE: not set */
	int64_t port;                                           /* 0: the protocol's own */
	bool enabled;
	enum printer_state state, told; /* told: where the last event of its state ended */
	enum job_outcome outcome;
	int64_t started_ms, progress;
	enum conn_state conn;
	enum conn_reason reason;
	int64_t since_ms;
};

/* A channel of pictures that viewers wait at. */
struct camera_channel {
	int64_t id;
	int32_t fps;     /* 0: single pictures */
	int64_t left_ms; /* until its end; <= 0: end its viewers */
};

/* What a printer's camera is and does. Borrowed for the call. */
struct camera_news {
	struct uuid printer;
	const char *source;          /* none, jpeg, http, mjpeg, rtsp; NULL: as it was */
	const char *trouble, *words; /* why there is no picture; NULL: none */
};

/* What the sink tells the gateway. */
struct sink_client {
	void *ctx;
	/* This printer is ours from now on, or its configuration changed. */
	void (*assign)(void *ctx, const struct work *w);
	/* It is no longer ours: nothing may be done for it from now on. */
	void (*revoke)(void *ctx, struct uuid printer);
	/* Someone asked for a full report. */
	void (*refresh)(void *ctx, struct uuid printer);
	/* What is wanted of its camera: all of it, each time something changed. */
	void (*camera)(void *ctx, struct uuid printer, const struct camera_channel *v, size_t n);
	/* For the health page. */
	int (*sessions)(void *ctx);
};

struct sink_counters {
	int64_t rows, batches, failed, events, lag_most_ms;
};

struct sink_ops {
	/* s->changed or s->events grew: it will be written soon. */
	void (*touch)(struct sink *k, struct status *s);
	/* s goes away; what was not written is lost. */
	void (*forget)(struct sink *k, struct status *s);
	/* Writes what is new of cameras. told, unless NULL, is called for each when that is done,
	 * also when it cannot be. */
	void (*camera)(struct sink *k, const struct camera_news *news, size_t n,
	    void (*told)(void *ctx, struct uuid printer), void *ctx);
	/* Writes what is left, gives up every printer, then calls done once. */
	void (*stop)(struct sink *k, void (*done)(void *ctx), void *ctx);
	void (*counters)(struct sink *k, struct sink_counters *out); /* since the last call */
	void (*free)(struct sink *k);
};

struct sink {
	const struct sink_ops *ops;
};

struct sink_pg_config {
	const char *conninfo;
	const char *name;     /* of this gateway */
	bool sole;            /* no other living gateway has this name */
	const char *key_path; /* private key that opens secrets */
	int64_t sessions_most;
	int64_t lease_ms;
	int64_t batch_ms; /* least time between two writes */
};

/* NULL when the key cannot be used. */
struct sink *sink_pg_new(
    struct loop *loop, const struct sink_pg_config *cfg, const struct sink_client *client);

#endif
