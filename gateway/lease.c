#include "gateway/lease.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "gen/gateway_sql.h"

enum {
	TICK_MS = 1000,
	RENEW_TICKS = 2,
	HURRY_MS = 20,
	MARGIN_MS = 500,       /* leases end this much earlier here than in the database */
	GIVE_UP_AT_ONCE = 500, /* no more than others may connect to in a second */
	CLAIM_MOST = 1000,
};

struct leases {
	struct loop *loop;
	struct pgq *q;
	struct lease_config cfg;
	struct lease_hooks hooks;
	struct uuid id;
	char id_text[UUID_TEXT_LEN + 1], interval[40];
	struct uuid_map map;
	struct timer tick, expiry;
	uint64_t round;
	int until_renew; /* ticks */
	bool busy, leaving, inherited;
	int64_t sent_ms, hurried_ms;
	int64_t gateways, share;
	int64_t asked, had; /* of the claim that is on its way */
	void (*left)(void *ctx);
	void *left_ctx;
};

static void on_tick(void *ctx);

static void
drop(struct leases *l, struct lease *lease)
{
	uuid_map_take(&l->map, lease->printer);
	l->hooks.revoke(l->hooks.ctx, lease->printer);
	free(lease);
}

static void
drop_all(struct leases *l)
{
	size_t at = 0;
	struct lease *lease;

	while ((lease = uuid_map_next(&l->map, &at)) != NULL) {
		drop(l, lease);
		at = 0;
	}
}

static void
on_expiry(void *ctx)
{
	struct leases *l = ctx;

	if (l->map.n > 0)
		log_warn("leases ran out without the database", LOG_I("printers", l->map.n));
	drop_all(l);
}

struct leases *
leases_new(struct loop *loop, struct pgq *q, const struct lease_config *cfg,
    const struct lease_hooks *hooks)
{
	struct leases *l = calloc(1, sizeof(*l));

	must(l != NULL);
	l->loop = loop;
	l->q = q;
	l->cfg = *cfg;
	l->hooks = *hooks;
	l->id = uuid_v7();
	l->gateways = 1;
	uuid_text(l->id, l->id_text);
	snprintf(l->interval, sizeof(l->interval), "%lld ms", (long long)cfg->lease_ms);
	l->tick = (struct timer){.fn = on_tick, .ctx = l};
	l->expiry = (struct timer){.fn = on_expiry, .ctx = l};
	timer_set(loop, &l->tick, TICK_MS);
	return l;
}

void
leases_free(struct leases *l)
{
	size_t at = 0;
	struct lease *lease;

	if (!l)
		return;
	timer_stop(l->loop, &l->tick);
	timer_stop(l->loop, &l->expiry);
	while ((lease = uuid_map_next(&l->map, &at)) != NULL)
		free(lease);
	uuid_map_fini(&l->map);
	free(l);
}

struct uuid
leases_gateway_id(const struct leases *l)
{
	return l->id;
}

struct lease *
leases_get(const struct leases *l, struct uuid printer)
{
	return uuid_map_get(&l->map, printer);
}

void
leases_hurry(struct leases *l)
{
	int64_t since = loop_now(l->loop) - l->hurried_ms;

	l->until_renew = 0;
	timer_set(l->loop, &l->tick, since > 10 * HURRY_MS ? HURRY_MS : 10 * HURRY_MS - since);
	l->hurried_ms = loop_now(l->loop);
}

void
leases_changed(struct leases *l, struct uuid printer)
{
	struct lease *lease = leases_get(l, printer);

	if (!lease) {
		leases_hurry(l);
		return;
	}
	lease->stale = true;
	l->hooks.load(l->hooks.ctx);
}

struct lease *
leases_next_unloaded(struct leases *l, size_t *at)
{
	struct lease *lease;

	while ((lease = uuid_map_next(&l->map, at)) != NULL) {
		if (lease->loading ||
		    (!lease->stale && lease->loaded_version == lease->config_version))
			continue;
		lease->loading = true;
		lease->stale = false;
		return lease;
	}
	return NULL;
}

void
leases_lost(struct leases *l, struct uuid printer)
{
	struct lease *lease = leases_get(l, printer);

	if (lease)
		drop(l, lease);
}

/* --- the tick: renew, count, claim --------------------------------------------------------------
 */

static struct uuid
row_uuid(const PGresult *res, int row, const char *column)
{
	struct uuid u;

	must(uuid_parse(pgq_text(res, row, column), &u));
	return u;
}

static struct lease *
grant(struct leases *l, struct uuid printer, const PGresult *res, int row)
{
	struct lease *lease = calloc(1, sizeof(*lease));

	must(lease != NULL);
	lease->printer = printer;
	lease->org = row_uuid(res, row, "org_id");
	lease->fencing = pgq_i64(res, row, "fencing");
	lease->refresh_ms = pgq_i64(res, row, "refresh_ms");
	lease->loaded_version = -1;
	uuid_map_put(&l->map, printer, lease);
	return lease;
}

static void
seen(struct leases *l, const PGresult *res, int row)
{
	struct uuid printer = row_uuid(res, row, "printer_id");
	int64_t refresh_ms = pgq_i64(res, row, "refresh_ms");
	struct lease *lease = leases_get(l, printer);

	if (lease && lease->fencing != pgq_i64(res, row, "fencing")) {
		drop(l, lease);
		lease = NULL;
	}
	if (!lease)
		lease = grant(l, printer, res, row);
	lease->config_version = pgq_i64(res, row, "config_version");
	lease->round = l->round;
	if (refresh_ms != lease->refresh_ms) {
		lease->refresh_ms = refresh_ms;
		l->hooks.refresh(l->hooks.ctx, printer);
	}
}

static void
seen_all(void *ctx, size_t statement, const PGresult *res)
{
	struct leases *l = ctx;

	(void)statement;
	if (PQnfields(res) == 2) {
		l->gateways = pgq_i64(res, 0, "gateways");
		l->share = pgq_i64(res, 0, "share");
		return;
	}
	for (int i = 0; PQnfields(res) > 2 && i < PQntuples(res); i++)
		seen(l, res, i);
}

/* How many printers this gateway should have. */
static int64_t
fair_share(const struct leases *l)
{
	if (l->gateways < 2 || l->share > l->cfg.sessions_most)
		return l->cfg.sessions_most;
	return l->share;
}

static void claim(struct leases *l);

static void
claimed(void *ctx, bool ok, const char *sqlstate)
{
	struct leases *l = ctx;

	(void)sqlstate;
	l->busy = false;
	if (!ok)
		return;
	l->hooks.load(l->hooks.ctx);
	if (l->asked > 0 && (int64_t)l->map.n - l->had >= l->asked && !l->leaving) {
		l->busy = true; /* there may be more */
		claim(l);
	}
}

static void
claim(struct leases *l)
{
	int64_t want = fair_share(l) - (int64_t)l->map.n;
	char most[24];
	const char *values[] = {l->id_text, l->interval, most};

	l->asked = !pgq_is_up(l->q) || want < 0 ? 0 : want < CLAIM_MOST ? want : CLAIM_MOST;
	l->had = (int64_t)l->map.n;
	if (l->asked == 0) {
		claimed(l, true, NULL);
		return;
	}
	snprintf(most, sizeof(most), "%lld", (long long)l->asked);
	pgq_add(l->q, &SQL_gw_claim, values);
	pgq_commit(l->q, seen_all, claimed, l);
}

/* Hands printers over when another gateway has joined. */
static void
give_up_surplus(struct leases *l)
{
	int64_t surplus = (int64_t)l->map.n - fair_share(l);
	char list[GIVE_UP_AT_ONCE * (UUID_TEXT_LEN + 1) + 3];
	size_t n = 0, at = 0;
	const char *values[] = {l->id_text, list};

	if (l->gateways < 2 || surplus <= 0)
		return;
	for (int i = 0; i < surplus && i < GIVE_UP_AT_ONCE; i++, at = 0) {
		struct lease *lease = uuid_map_next(&l->map, &at);

		list[n++] = i ? ',' : '{';
		uuid_text(lease->printer, list + n);
		n += UUID_TEXT_LEN;
		drop(l, lease);
	}
	list[n++] = '}';
	list[n] = '\0';
	pgq_add(l->q, &SQL_gw_release, values);
	pgq_commit(l->q, NULL, NULL, NULL);
}

static void
drop_unseen(struct leases *l)
{
	size_t at = 0;
	struct lease *lease;

	while ((lease = uuid_map_next(&l->map, &at)) != NULL) {
		if (lease->round == l->round)
			continue;
		drop(l, lease);
		at = 0;
	}
}

static void
renewed(void *ctx, bool ok, const char *sqlstate)
{
	struct leases *l = ctx;

	(void)sqlstate;
	if (!ok) {
		l->busy = false;
		return;
	}
	l->inherited = true;
	timer_set(
	    l->loop, &l->expiry, l->sent_ms + l->cfg.lease_ms - MARGIN_MS - loop_now(l->loop));
	drop_unseen(l);
	give_up_surplus(l);
	claim(l);
}

static void
renew(struct leases *l)
{
	char sessions[24], room[24];
	const char *beat[] = {l->id_text, l->cfg.name, sessions, room};
	const char *hold[] = {l->id_text, l->interval};
	const char *share[] = {l->interval};
	const char *inherit[] = {l->id_text, l->cfg.name};

	snprintf(sessions, sizeof(sessions), "%d", l->hooks.sessions(l->hooks.ctx));
	snprintf(room, sizeof(room), "%lld", (long long)l->cfg.sessions_most);
	l->round++;
	l->sent_ms = loop_now(l->loop);
	if (l->cfg.sole && !l->inherited)
		pgq_add(l->q, &SQL_gw_inherit, inherit);
	pgq_add(l->q, &SQL_gw_beat, beat);
	pgq_add(l->q, &SQL_gw_renew, hold);
	pgq_add(l->q, &SQL_gw_share, share);
	pgq_commit(l->q, seen_all, renewed, l);
}

static void
on_tick(void *ctx)
{
	struct leases *l = ctx;

	timer_set(l->loop, &l->tick, TICK_MS);
	if (l->busy || l->leaving || !pgq_is_up(l->q))
		return;
	l->busy = true;
	if (--l->until_renew <= 0) {
		l->until_renew = RENEW_TICKS;
		renew(l);
	} else {
		claim(l);
	}
}

/* --- leaving -----------------------------------------------------------------------------------
 */

static void
on_left(void *ctx, bool ok, const char *sqlstate)
{
	struct leases *l = ctx;

	(void)ok;
	(void)sqlstate;
	l->left(l->left_ctx);
}

void
leases_leave(struct leases *l, void (*done)(void *ctx), void *ctx)
{
	const char *values[] = {l->id_text};

	l->leaving = true;
	l->left = done;
	l->left_ctx = ctx;
	timer_stop(l->loop, &l->tick);
	drop_all(l);
	if (!pgq_is_up(l->q)) {
		done(ctx);
		return;
	}
	pgq_add(l->q, &SQL_gw_release_all, values);
	pgq_add(l->q, &SQL_gw_leave, values);
	pgq_commit(l->q, NULL, on_left, l);
}
