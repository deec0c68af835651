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
	struct str errors;  /* codes, divided by blanks */
	struct work_print { /* which it was at, as last written; id zero: none */
		struct uuid id;
		struct str name;
		int64_t started_ms;
	} print;
};

struct json_object;

/* Something that a printer, or the gateway, is asked to do. Borrowed for the call. */
struct work_task {
	struct uuid org, job, printer; /* printer zero: an errand of the gateway's own */
	struct str kind; /* printer.command, printer.send, printer.test, printer.discover */
	struct json_object *params;
	struct str secret;           /* of printer.test, opened; STR_NONE: none */
	int64_t number, patience_ms; /* begun by then, or never */
	bool resumed;  /* somebody began it before: to be watched; only an upload may be repeated */
	bool starting; /* ... and may have told the printer to start */
	bool cancelled; /* somebody wants it to end */
	struct {
		bool present, remote; /* remote: in the object store */
		struct uuid blob;
		struct str filename, kind, sha256; /* sha256: hexadecimal */
		int64_t size;
	} file; /* of printer.send */
};

/* How a task ended. code and message: of a failure. */
struct task_end {
	enum { TASK_SUCCEEDED, TASK_FAILED, TASK_CANCELLED } outcome;
	const char *code, *message;
	struct str result; /* JSON object, or STR_NONE */
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
	/* True when a session is there that takes this printer's tasks. */
	bool (*ready)(void *ctx, struct uuid printer);
	/* To be done, or a change of one that is under way. */
	void (*task)(void *ctx, const struct work_task *w);
	/* The answer to task_starting: it is written down, or the task is not ours any more. */
	void (*may_start)(void *ctx, struct uuid printer, struct uuid job, bool may);
};

struct sink_counters {
	int64_t rows, batches, failed, events, lag_most_ms;
	int64_t history, history_lost; /* rows */
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
	/* Of tasks that the client was given. The printer is about to be told to start: answered by
	 * may_start, unless the task is lost. */
	void (*task_starting)(struct sink *k, struct uuid job);
	void (*task_progress)(struct sink *k, struct uuid job, int64_t done, int64_t total);
	void (*task_end)(struct sink *k, struct uuid job, const struct task_end *end);
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
