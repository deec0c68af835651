/* The parts of the Postgres sink, shared between its files only. */
#ifndef GATEWAY_SINK_PG_H
#define GATEWAY_SINK_PG_H

#include "auth/seal.h"
#include "gateway/history.h"
#include "gateway/lease.h"
#include "gateway/sink.h"

struct batch;

struct sink_pg {
	struct sink base; /* first */
	struct loop *loop;
	struct sink_pg_config cfg;
	struct sink_client client;
	struct pgq *q;
	struct leases *leases;
	struct history *history;
	struct seal_private *key;
	/* Writing: statuses that wait, oldest first. */
	struct status *first, **last;
	struct timer flush;
	struct batch *batches; /* on their way */
	int in_flight;
	int64_t flushed_ms;
	struct sink_counters counters;
	/* Tasks that the client has, by operation. */
	struct uuid_map tasks;
	struct timer look;
	bool looking, look_again;
	/* Stopping. */
	bool stopping, left;
	void (*stopped)(void *ctx);
	void *stopped_ctx;
};

/* Loads the configuration of every lease that wants it and hands it to the client. */
void sink_pg_load(struct sink_pg *k);

/* Writing; the functions of struct sink_ops. */
void sink_pg_touch(struct sink *base, struct status *s);
void sink_pg_forget(struct sink *base, struct status *s);
void sink_pg_flush(void *ctx);
/* After the connection was freed: batches whose answer will not come. */
void sink_pg_drop_batches(struct sink_pg *k);

/* Asks what is wanted of the cameras of those of these printers that are ours, and hands it to the
 * client. */
void sink_pg_cameras(struct sink_pg *k, const struct uuid *printers, size_t n);
/* Of struct sink_ops. */
void sink_pg_camera(struct sink *base, const struct camera_news *news, size_t n,
    void (*told)(void *ctx, struct uuid printer), void *ctx);
/* Tasks; the last three are functions of struct sink_ops. */
void sink_pg_tasks_look(void *ctx);
/* Something was asked of a printer. */
void sink_pg_tasks_hurry(struct sink_pg *k);
/* The printer is not ours any more. */
void sink_pg_tasks_revoke(struct sink_pg *k, struct uuid printer);
/* After the connection was freed. */
void sink_pg_tasks_fini(struct sink_pg *k);
void sink_pg_task_starting(struct sink *base, struct uuid job);
void sink_pg_task_progress(struct sink *base, struct uuid job, int64_t done, int64_t total);
void sink_pg_task_end(struct sink *base, struct uuid job, const struct task_end *end);

/* Called when the last write was answered. */
void sink_pg_idle(struct sink_pg *k);

#endif
