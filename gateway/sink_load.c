/* The Postgres sink: loading the configuration of leased printers, one organisation per
 * transaction. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "gateway/sink_pg.h"
#include "gen/gateway_sql.h"

enum { LOAD_MOST = 200, LOAD_ARENA = 64 * 1024 };

struct load {
	struct sink_pg *k;
	struct uuid org;
	size_t n;
	struct uuid printers[LOAD_MOST];
	bool found[LOAD_MOST];
};

/* Opens the stored secret; STR_NONE when there is none or it is not for this gateway. */
static struct str
open_secret(
    struct arena *a, const struct sink_pg *k, struct uuid org, struct uuid printer, struct str hex)
{
	struct seal_place place = SEAL_PRINTER_SECRET(org, printer);
	struct str sealed = {NULL, hex.n / 2}, plain;
	uint8_t *bytes;
	char id[UUID_TEXT_LEN + 1];

	if (hex.n < 2 || !k->key)
		return STR_NONE;
	bytes = arena_alloc(a, sealed.n);
	sealed.p = (const char *)bytes;
	if (str_unhex(hex, bytes, sealed.n) && seal_open(a, k->key, &place, sealed, &plain))
		return plain;
	uuid_text(printer, id);
	log_warn("a secret cannot be opened", LOG_Z("printer_id", id));
	return STR_NONE;
}

static enum conn_state
parse_conn(struct str s)
{
	for (int i = CONN_CONNECTED; i <= CONN_DISABLED; i++)
		if (str_eq(s, str_from(conn_state_name((enum conn_state)i))))
			return (enum conn_state)i;
	return CONN_DISCONNECTED;
}

static enum conn_reason
parse_reason(struct str s)
{
	for (int i = REASON_NONE + 1; i <= REASON_PROTOCOL_NOT_SUPPORTED; i++)
		if (str_eq(s, str_from(conn_reason_name((enum conn_reason)i))))
			return (enum conn_reason)i;
	return REASON_NONE;
}

static void
assign(struct load *load, struct lease *lease, const PGresult *res, int row)
{
	struct sink_pg *k = load->k;
	struct arena *a = arena_new(LOAD_ARENA);
	struct work w = {
	    .org = lease->org,
	    .printer = lease->printer,
	    .fencing = lease->fencing,
	    .config_version = pgq_i64(res, row, "version"),
	    .name = pgq_text(res, row, "name"),
	    .protocol = pgq_text(res, row, "protocol"),
	    .model = pgq_text(res, row, "model"),
	    .host = pgq_text(res, row, "host"),
	    .serial = pgq_text(res, row, "serial"),
	    .secret = open_secret(a, k, lease->org, lease->printer, pgq_text(res, row, "secret")),
	    .port = pgq_i64(res, row, "port"),
	    .enabled = pgq_i64(res, row, "enabled") != 0,
	    .state = printer_state_parse(pgq_text(res, row, "state")),
	    .told = printer_state_parse(pgq_text(res, row, "told_state")),
	    .outcome = job_outcome_parse(pgq_text(res, row, "outcome")),
	    .started_ms = pgq_i64(res, row, "started_ms"),
	    .progress = pgq_i64(res, row, "progress"),
	    .conn = parse_conn(pgq_text(res, row, "connection")),
	    .reason = parse_reason(pgq_text(res, row, "reason")),
	    .since_ms = pgq_i64(res, row, "since_ms"),
	    .errors = pgq_text(res, row, "errors"),
	    .print = {.name = pgq_text(res, row, "print_name"),
		.started_ms = pgq_i64(res, row, "print_started_ms")},
	};
	struct str print_id = pgq_text(res, row, "print_id");

	if (print_id.p)
		must(uuid_parse(print_id, &w.print.id));

	lease->loaded_version = w.config_version;
	if (lease->config_version < w.config_version)
		lease->config_version = w.config_version;
	k->client.assign(k->client.ctx, &w);
	arena_free(a);
}

static void
on_rows(void *ctx, size_t statement, const PGresult *res)
{
	struct load *load = ctx;

	for (int row = 0; statement == 1 && row < PQntuples(res); row++) {
		struct uuid id;
		struct lease *lease;

		must(uuid_parse(pgq_text(res, row, "id"), &id));
		for (size_t i = 0; i < load->n; i++)
			if (uuid_eq(load->printers[i], id))
				load->found[i] = true;
		lease = leases_get(load->k->leases, id);
		if (lease)
			assign(load, lease, res, row);
	}
}

static void
on_done(void *ctx, bool ok, const char *sqlstate)
{
	struct load *load = ctx;

	(void)sqlstate;
	for (size_t i = 0; i < load->n; i++) {
		struct lease *lease = leases_get(load->k->leases, load->printers[i]);

		if (!lease)
			continue;
		lease->loading = false;
		if (ok && !load->found[i]) /* deleted meanwhile */
			leases_lost(load->k->leases, load->printers[i]);
		else if (!ok)
			lease->stale = true; /* tried again at the next tick */
	}
	if (ok)
		sink_pg_cameras(load->k, load->printers, load->n);
	free(load);
}

static void
send_load(struct load *load)
{
	char org[UUID_TEXT_LEN + 1], id[UUID_TEXT_LEN + 1];
	const char *for_org[] = {org, "on"};
	const char *values[] = {org, NULL};
	struct buf ids;

	uuid_text(load->org, org);
	buf_init(&ids, LOAD_MOST * (UUID_TEXT_LEN + 1) + 3);
	for (size_t i = 0; i < load->n; i++) {
		buf_char(&ids, i ? ',' : '{');
		uuid_text(load->printers[i], id);
		buf_add(&ids, id, UUID_TEXT_LEN);
	}
	buf_add(&ids, "}", 2); /* with its NUL */
	values[1] = ids.p;
	pgq_add(load->k->q, &SQL_gw_org, for_org);
	pgq_add(load->k->q, &SQL_gw_load, values);
	pgq_commit(load->k->q, on_rows, on_done, load);
	buf_fini(&ids);
}

static int
by_org(const void *a, const void *b)
{
	struct lease *const *x = a, *const *y = b;

	return memcmp(&(*x)->org, &(*y)->org, sizeof((*x)->org));
}

void
sink_pg_load(struct sink_pg *k)
{
	struct lease *lease, **list = NULL;
	struct load *load = NULL;
	size_t n = 0, room = 0, at = 0;

	if (!pgq_is_up(k->q) || k->stopping)
		return;
	while ((lease = leases_next_unloaded(k->leases, &at)) != NULL) {
		if (n == room) {
			room = room ? room * 2 : 64;
			list = realloc(list, room * sizeof(struct lease *));
			must(list != NULL);
		}
		list[n++] = lease;
	}
	if (n > 1)
		qsort(list, n, sizeof(struct lease *), by_org);
	for (size_t i = 0; i < n; i++) {
		if (load && (load->n == LOAD_MOST || !uuid_eq(load->org, list[i]->org))) {
			send_load(load);
			load = NULL;
		}
		if (!load) {
			load = calloc(1, sizeof(*load));
			must(load != NULL);
			load->k = k;
			load->org = list[i]->org;
		}
		load->printers[load->n++] = list[i]->printer;
	}
	if (load)
		send_load(load);
	free(list);
}
