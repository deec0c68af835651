/* The Postgres sink: one connection for leases, work and results. */
#include "gateway/sink_pg.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/config.h"
#include "base/log.h"
#include "gen/gateway_sql.h"

enum { KEY_MOST = 4096 };

static void
on_up(void *ctx)
{
	struct sink_pg *k = ctx;

	log_info("database connected", LOG_I("waiting", k->first != NULL));
	leases_hurry(k->leases);
	timer_set(k->loop, &k->flush, 0);
	sink_pg_tasks_hurry(k);
}

static void
on_notify(void *ctx, const char *channel, const char *payload)
{
	struct sink_pg *k = ctx;
	struct uuid printer;

	if (!uuid_parse(str_from(payload), &printer)) {
		if (strcmp(channel, "printer_task") == 0) /* an errand, for any gateway */
			sink_pg_tasks_hurry(k);
		return;
	}
	if (strcmp(channel, "printer_changed") == 0)
		leases_changed(k->leases, printer);
	else if (strcmp(channel, "printer_camera") == 0)
		sink_pg_cameras(k, &printer, 1);
	else if (strcmp(channel, "printer_task") == 0 && leases_get(k->leases, printer))
		sink_pg_tasks_hurry(k);
	else if (strcmp(channel, "printer_refresh") == 0 && leases_get(k->leases, printer))
		k->client.refresh(k->client.ctx, printer);
}

static void
load(void *ctx)
{
	sink_pg_load(ctx);
}

static void
revoke(void *ctx, struct uuid printer)
{
	struct sink_pg *k = ctx;

	k->client.revoke(k->client.ctx, printer);
	sink_pg_tasks_revoke(k, printer);
}

static void
refresh(void *ctx, struct uuid printer)
{
	struct sink_pg *k = ctx;

	k->client.refresh(k->client.ctx, printer);
}

static int
sessions(void *ctx)
{
	struct sink_pg *k = ctx;

	return k->client.sessions(k->client.ctx);
}

/* --- stopping --------------------------------------------------------------------------------- */

static void
on_left(void *ctx)
{
	struct sink_pg *k = ctx;

	history_stop(k->history, k->stopped, k->stopped_ctx);
}

void
sink_pg_idle(struct sink_pg *k)
{
	if (!k->stopping || k->left || (k->first && pgq_is_up(k->q)))
		return;
	k->left = true;
	leases_leave(k->leases, on_left, k);
}

static void
stop(struct sink *base, void (*done)(void *ctx), void *ctx)
{
	struct sink_pg *k = (struct sink_pg *)base;

	k->stopping = true;
	k->stopped = done;
	k->stopped_ctx = ctx;
	k->cfg.batch_ms = 0;
	if (k->in_flight > 0)
		return;
	sink_pg_flush(k);
	if (k->in_flight == 0)
		sink_pg_idle(k);
}

static void
counters(struct sink *base, struct sink_counters *out)
{
	struct sink_pg *k = (struct sink_pg *)base;

	struct history_counters h = history_count(k->history);

	*out = k->counters;
	out->history = h.rows;
	out->history_lost = h.lost;
	memset(&k->counters, 0, sizeof(k->counters));
}

static void
free_sink(struct sink *base)
{
	struct sink_pg *k = (struct sink_pg *)base;

	timer_stop(k->loop, &k->flush);
	leases_free(k->leases);
	pgq_free(k->q);
	history_free(k->history);
	sink_pg_drop_batches(k);
	sink_pg_tasks_fini(k);
	seal_private_free(k->key);
	free(k);
}

static bool
read_key(struct sink_pg *k)
{
	struct arena *a = arena_new(4 * KEY_MOST);
	struct str pem = config_file(a, k->cfg.key_path, KEY_MOST);

	k->key = pem.p ? seal_private_new(pem) : NULL;
	arena_free(a);
	if (!k->key)
		log_error(
		    "the gateway's private key cannot be used", LOG_Z("path", k->cfg.key_path));
	return k->key != NULL;
}

static const struct sink_ops ops = {
    .touch = sink_pg_touch,
    .forget = sink_pg_forget,
    .camera = sink_pg_camera,
    .stop = stop,
    .task_starting = sink_pg_task_starting,
    .task_progress = sink_pg_task_progress,
    .task_end = sink_pg_task_end,
    .counters = counters,
    .free = free_sink,
};

struct sink *
sink_pg_new(struct loop *loop, const struct sink_pg_config *cfg, const struct sink_client *client)
{
	static const char *const channels[] = {
	    "printer_changed", "printer_refresh", "printer_task", "printer_camera", NULL};
	struct sink_pg *k = calloc(1, sizeof(*k));
	struct pgq_config qc = {cfg->conninfo, &gateway_sql, channels, on_up, NULL, on_notify, k};
	struct lease_config lc = {cfg->name, cfg->sole, cfg->lease_ms, cfg->sessions_most};
	struct lease_hooks hooks = {k, load, revoke, refresh, sessions};

	must(k != NULL);
	k->base.ops = &ops;
	k->loop = loop;
	k->cfg = *cfg;
	k->client = *client;
	k->last = &k->first;
	k->flush = (struct timer){.fn = sink_pg_flush, .ctx = k};
	k->look = (struct timer){.fn = sink_pg_tasks_look, .ctx = k};
	if (!read_key(k)) {
		free(k);
		return NULL;
	}
	k->q = pgq_new(loop, &qc);
	k->history = history_new(loop, cfg->conninfo);
	k->leases = leases_new(loop, k->q, &lc, &hooks);
	return &k->base;
}
