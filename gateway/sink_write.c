/* The Postgres sink: writing what changed, in batches, one organisation per transaction. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/print.h"
#include "gateway/sink_pg.h"
#include "gen/gateway_sql.h"

enum { BATCH_MOST = 200, BATCH_BYTES = 1024 * 1024, ROW_BYTES = 64 * 1024, SETTLE_MS = 10 };

/* A transaction on its way. Forgotten statuses become NULL. */
struct batch {
	struct sink_pg *k;
	struct batch *next;
	size_t n;
	struct status *items[BATCH_MOST];
	bool written[BATCH_MOST];
};

static void
arm(struct sink_pg *k)
{
	int64_t wait = k->flushed_ms + k->cfg.batch_ms - loop_now(k->loop);

	if (k->in_flight == 0 && k->first && !timer_is_set(&k->flush))
		timer_set(k->loop, &k->flush, wait > SETTLE_MS ? wait : SETTLE_MS);
}

static void
enqueue(struct sink_pg *k, struct status *s)
{
	if (s->queued)
		return;
	s->queued = true;
	s->next = NULL;
	*k->last = s;
	k->last = &s->next;
}

void
sink_pg_touch(struct sink *base, struct status *s)
{
	struct sink_pg *k = (struct sink_pg *)base;

	if (s->touched_us == 0)
		s->touched_us = clock_mono_us();
	if (s->sending || s->n_sending)
		return; /* taken up again when the answer is there */
	enqueue(k, s);
	arm(k);
}

static void
unqueue(struct sink_pg *k, struct status *s)
{
	struct status **at = &k->first;

	if (!s->queued)
		return;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	if (k->last == &s->next)
		k->last = at;
	s->queued = false;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void
on_rows(void *ctx, size_t statement, const PGresult *res)
{
	struct batch *b = ctx;

	for (int row = 0; statement == 1 && row < PQntuples(res); row++) {
		struct uuid id;

		must(uuid_parse(pgq_text(res, row, "printer_id"), &id));
		for (size_t i = 0; i < b->n; i++)
			if (b->items[i] && uuid_eq(b->items[i]->printer, id))
				b->written[i] = true;
	}
}

static void
drop_events(struct status *s, int n)
{
	memmove(s->events, s->events + n, (size_t)(s->n_events - n) * sizeof(s->events[0]));
	s->n_events -= n;
}

static void
settle_written(struct sink_pg *k, struct status *s)
{
	int64_t lag_ms = (clock_mono_us() - s->touched_us) / 1000;

	k->counters.rows++;
	k->counters.events += s->n_sending;
	if (lag_ms > k->counters.lag_most_ms)
		k->counters.lag_most_ms = lag_ms;
	drop_events(s, s->n_sending);
	history_add(k->history, s->org, s->printer, &s->notes);
	print_written(s, s->n_prints_sending);
	s->alone = false;
	s->touched_us = s->changed ? clock_mono_us() : 0;
}

static void
settle_failed(struct sink_pg *k, struct status *s, const char *sqlstate)
{
	char id[UUID_TEXT_LEN + 1];

	k->counters.failed++;
	if (!sqlstate || !s->alone) {
		s->changed |= s->sending;
		s->alone = sqlstate != NULL; /* one bad row must not hold up the others */
		return;
	}
	uuid_text(s->printer, id);
	log_error(
	    "a status cannot be written", LOG_Z("printer_id", id), LOG_Z("sqlstate", sqlstate));
	drop_events(s, s->n_sending);
	print_written(s, s->n_prints_sending);
	s->alone = false;
}

static void
settle(struct batch *b, size_t i, bool ok, const char *sqlstate)
{
	struct status *s = b->items[i];
	struct sink_pg *k = b->k;

	if (!s)
		return;
	if (ok && !b->written[i]) { /* another gateway holds the lease now */
		s->sending = 0;
		s->n_sending = s->n_prints_sending = 0;
		leases_lost(k->leases, s->printer);
		return;
	}
	if (ok)
		settle_written(k, s);
	else
		settle_failed(k, s, sqlstate);
	s->sending = 0;
	s->n_sending = s->n_prints_sending = 0;
	s->notes.sending = 0;
	if (s->changed || s->n_events)
		enqueue(k, s);
}

static void
on_done(void *ctx, bool ok, const char *sqlstate)
{
	struct batch *b = ctx;
	struct sink_pg *k = b->k;
	struct batch **at = &k->batches;

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	k->in_flight--;
	for (size_t i = 0; i < b->n; i++)
		settle(b, i, ok, sqlstate);
	free(b);
	if (k->in_flight > 0)
		return;
	if (pgq_is_up(k->q))
		arm(k);
	sink_pg_idle(k);
}

void
sink_pg_forget(struct sink *base, struct status *s)
{
	struct sink_pg *k = (struct sink_pg *)base;

	unqueue(k, s);
	for (struct batch *b = k->batches; b; b = b->next)
		for (size_t i = 0; i < b->n; i++)
			if (b->items[i] == s)
				b->items[i] = NULL;
}

void
sink_pg_drop_batches(struct sink_pg *k)
{
	while (k->batches) {
		struct batch *b = k->batches;

		k->batches = b->next;
		free(b);
	}
}

/* --- sending ---------------------------------------------------------------------------------- */

static void
add_row(struct batch *b, struct buf *json, struct status *s)
{
	uint32_t mask = s->changed;
	int64_t now = clock_unix_ms();

	buf_char(json, b->n ? ',' : '[');
	status_row_json(json, s, mask, s->n_events);
	b->items[b->n++] = s;
	s->sending = mask | REC_SEEN;
	s->n_sending = s->n_events;
	s->notes.sending = s->notes.n;
	s->n_prints_sending = mask & REC_PRINT ? s->n_prints : 0;
	s->changed = 0;
	s->seen_written_ms = now;
	if (mask & REC_WIFI)
		s->wifi_written_ms = now;
}

static void
send_batch(struct batch *b, struct buf *json)
{
	struct sink_pg *k = b->k;
	char org[UUID_TEXT_LEN + 1], gateway[UUID_TEXT_LEN + 1];
	bool events = false;
	const char *for_org[] = {org, NULL};
	const char *values[] = {org, gateway, NULL};

	for (size_t i = 0; i < b->n; i++)
		events = events || b->items[i]->n_sending > 0 || b->items[i]->n_prints_sending > 0;
	uuid_text(b->items[0]->org, org);
	uuid_text(leases_gateway_id(k->leases), gateway);
	for_org[1] = events ? "on" : "off"; /* telemetry may be lost with the server, events not */
	buf_add(json, "]", 2);              /* with its NUL */
	must(!json->overflow);
	values[2] = json->p;
	b->next = k->batches;
	k->batches = b;
	k->in_flight++;
	k->counters.batches++;
	pgq_add(k->q, &SQL_gw_org, for_org);
	pgq_add(k->q, &SQL_gw_write, values);
	pgq_commit(k->q, on_rows, on_done, b);
}

static int
by_org(const void *a, const void *b)
{
	struct status *const *x = a, *const *y = b;

	return memcmp(&(*x)->org, &(*y)->org, sizeof((*x)->org));
}

/* Empties the queue into a list ordered by organisation. */
static struct status **
take_queue(struct sink_pg *k, size_t *n)
{
	struct status **list;
	size_t count = 0;

	for (struct status *s = k->first; s; s = s->next)
		count++;
	list = calloc(count + 1, sizeof(struct status *));
	must(list != NULL);
	*n = count;
	for (size_t i = 0; i < count; i++) {
		list[i] = k->first;
		k->first = list[i]->next;
		list[i]->queued = false;
	}
	k->last = &k->first;
	qsort(list, count, sizeof(struct status *), by_org);
	return list;
}

static bool
fits(const struct batch *b, const struct buf *json, const struct status *s)
{
	return b->n < BATCH_MOST && json->n < BATCH_BYTES - 2 * ROW_BYTES && !s->alone &&
	    !b->items[0]->alone && uuid_eq(b->items[0]->org, s->org);
}

void
sink_pg_flush(void *ctx)
{
	struct sink_pg *k = ctx;
	struct status **list;
	struct batch *b = NULL;
	struct buf json;
	size_t n;

	if (!pgq_is_up(k->q) || k->in_flight > 0)
		return;
	list = take_queue(k, &n);
	buf_init(&json, BATCH_BYTES);
	for (size_t i = 0; i < n; i++) {
		if (b && !fits(b, &json, list[i])) {
			send_batch(b, &json);
			buf_clear(&json);
			b = NULL;
		}
		if (!b) {
			b = calloc(1, sizeof(*b));
			must(b != NULL);
			b->k = k;
		}
		add_row(b, &json, list[i]);
	}
	if (b)
		send_batch(b, &json);
	buf_fini(&json);
	free(list);
	k->flushed_ms = loop_now(k->loop);
}
