/* A worker: opens its connections, serves one request after the other, ends when asked to. */
#include <stdlib.h>
#include <string.h>

#include "accept.h"
#include "app.h"
#include "auth/seal.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/uuid.h"
#include "net/publish.h"
#include "proc/worker.h"
#include "query.h"
#include "reply.h"
#include "serve.h"
#include "state.h"
#include "store/store.h"
#include "usage.h"

enum { ARENA_MOST = 64 << 20, CONNECT_MS = 2000, ANSWER_MS = 7000, PEM_MOST = 4096 };

static bool
read_key(struct arena *a, const char *path, const char *complaint, uint8_t *out, size_t n)
{
	struct str key = config_file(a, path, PEM_MOST);

	if (key.n != n) {
		log_error(complaint, LOG_Z("path", path));
		return false;
	}
	memcpy(out, key.p, n);
	return true;
}

static struct seal_public *
read_public(struct arena *a, const char *path, const char *complaint)
{
	struct seal_public *key = seal_public_new(config_file(a, path, PEM_MOST));

	if (!key)
		log_error(complaint, LOG_Z("path", path));
	return key;
}

static bool
read_keys(struct worker *w, struct arena *a)
{
	if (!read_key(a, w->cfg->cursor_key_path, "the cursor key file must hold 32 bytes",
		w->cursor_key, CURSOR_KEY_LEN) ||
	    !read_key(a, w->cfg->url_key_path, "the URL key file must hold 32 bytes", w->url_key,
		URL_KEY_LEN))
		return false;
	w->gateway_key = read_public(
	    a, w->cfg->gateway_pubkey_path, "the gateway's public key cannot be read");
	w->courier_key = read_public(
	    a, w->cfg->courier_pubkey_path, "the courier's public key cannot be read");
	return w->gateway_key && w->courier_key;
}

static void
log_request(const struct req *r, int64_t started_us)
{
	log_debug("request", LOG_S("request_id", r->id),
	    LOG_Z("operation", r->route ? r->route->operation : ""),
	    LOG_I("status", r->reply.status), LOG_I("us", clock_mono_us() - started_us));
}

/* What is written after the client has its answer. */
static void
after_reply(struct req *r)
{
	if (r->auth.done && r->limited)
		limiter_learn(r->w->limiter, &r->auth.limits);
	else if (r->limited && r->reply.status == 401)
		limiter_charge_unknown(r->w->limiter);
	usage_count(r);
}

static void
serve_one(struct accept *acc, struct req *r)
{
	int64_t started_us = clock_mono_us();

	serve(r);
	accept_finish(acc, r);
	after_reply(r);
	log_request(r, started_us);
}

static void
serve_until_stopped(struct worker *w, struct accept *acc, int ready_fd)
{
	struct arena *a = arena_new(ARENA_MOST);
	enum accept_result got = ACCEPT_IDLE;

	while (got != ACCEPT_STOP) {
		struct req *r = ARENA_NEW(a, struct req);

		r->w = w;
		r->arena = a;
		got = accept_next(acc, r);
		if (got == ACCEPT_REQUEST)
			serve_one(acc, r);
		else if (got == ACCEPT_IDLE)
			usage_tick(w, a);
		arena_reset(a);
		if (got == ACCEPT_REQUEST && ++w->served == w->retire_at)
			proc_worker_retire(ready_fd);
	}
	usage_flush(w, a);
	arena_free(a);
}

/* Spread by ±10 %, so that workers started together are not replaced together; 0 stays 0: never. */
static int64_t
retire_at(int64_t max_requests)
{
	int64_t spread = max_requests / 5;
	uint32_t r;

	random_bytes(&r, sizeof(r));
	return max_requests - spread / 2 + r % (spread + 1);
}

static struct pg *
open_pg(const struct app_config *cfg, const struct sql_set *sets)
{
	return pg_new(&(struct pg_config){
	    .conninfo = cfg->db,
	    .sets = sets,
	    .n_sets = 1,
	    .unnamed = !cfg->prepared,
	    .connect_timeout_ms = CONNECT_MS,
	    .answer_timeout_ms = ANSWER_MS,
	});
}

int
worker_main(const struct app_config *cfg, int listen_fd, int ready_fd)
{
	struct arena *settings = arena_new(1 << 16);
	struct accept *acc = accept_new(listen_fd);
	struct worker w = {.cfg = cfg, .retire_at = retire_at(cfg->max_requests)};
	int status = 1;

	w.pg = open_pg(cfg, &fcgi_sql);
	w.limiter = limiter_new(cfg->redis, (int)cfg->workers);
	w.usage = usage_new();
	w.store = store_open(cfg->storage);
	w.snapshots = cfg->snapshot_publish[0] ? publish_new(cfg->snapshot_publish) : NULL;
	if (acc && w.store && s3_config_load(settings, &w.s3) && read_keys(&w, settings)) {
		(void)pg_ready(w.pg); /* connected before the first request; while it is down
					 requests get 503 */
		proc_worker_ready(ready_fd);
		serve_until_stopped(&w, acc, ready_fd);
		status = 0;
	}
	publish_free(w.snapshots);
	seal_public_free(w.courier_key);
	seal_public_free(w.gateway_key);
	usage_free(w.usage);
	limiter_free(w.limiter);
	pg_free(w.pg);
	store_close(w.store);
	accept_free(acc);
	arena_free(settings);
	return status;
}
