#include "gateway/history.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gen/gateway_sql.h"

enum {
	CONNECT_MS = 5000,
	ANSWER_MS = 8000,
	RETRY_LEAST_MS = 200,
	RETRY_MOST_MS = 10000,
	GATHER_MS = 500, /* a batch is gathered for so long */
	STOP_MS = 1500,
	BATCH_BYTES = 128 * 1024, /* some 500 rows */
	LINE_MOST = 1024,
	BATCHES_MOST = 32,
};

/* Rows that are written, and if need be written again, together. */
struct batch {
	struct batch *next;
	struct buf lines;
	int64_t rows;
	bool tried; /* it was on its way before, and nobody knows what became of it */
};

enum phase { PHASE_DOWN, PHASE_CONNECTING, PHASE_IDLE, PHASE_ASKED, PHASE_SENT };

struct history {
	struct loop *loop;
	const char *conninfo;
	PGconn *conn;
	enum phase phase;
	struct watch watch;
	struct timer act;      /* DOWN: connect; IDLE: write */
	struct timer patience; /* other phases: too late */
	struct timer leaving;
	int64_t retry_ms;
	struct batch *first, *last; /* the first one is on its way in ASKED and SENT */
	int n_batches;
	char sqlstate[6];
	struct history_counters counters;
	void (*stopped)(void *ctx);
	void *stopped_ctx;
};

static void on_socket(void *ctx, uint32_t events);

/* --- the queue -------------------------------------------------------------------------------- */

static bool
on_its_way(const struct history *h)
{
	return h->phase == PHASE_ASKED || h->phase == PHASE_SENT;
}

static void
batch_free(struct batch *b)
{
	buf_fini(&b->lines);
	free(b);
}

/* Takes the one behind `before` out of the queue; before NULL: the first. */
static struct batch *
take(struct history *h, struct batch *before)
{
	struct batch *b = before ? before->next : h->first;

	must(b != NULL);
	if (before)
		before->next = b->next;
	else
		h->first = b->next;
	if (h->last == b)
		h->last = before;
	h->n_batches--;
	return b;
}

static void
give_up(struct history *h, struct batch *b)
{
	h->counters.lost += b->rows;
	batch_free(b);
}

/* A batch with room for one more line. */
static struct batch *
open_batch(struct history *h)
{
	struct batch *b = h->last;

	if (b && b->lines.n + LINE_MOST <= BATCH_BYTES && !b->tried &&
	    !(b == h->first && on_its_way(h)))
		return b;
	if (h->n_batches == BATCHES_MOST)
		give_up(h, take(h, on_its_way(h) || h->first->tried ? h->first : NULL));
	b = calloc(1, sizeof(*b));
	must(b != NULL);
	buf_init(&b->lines, BATCH_BYTES);
	if (h->last)
		h->last->next = b;
	else
		h->first = b;
	h->last = b;
	h->n_batches++;
	return b;
}

void
history_add(struct history *h, struct uuid org, struct uuid printer, struct notes *n)
{
	for (int i = 0; i < n->sending; i++) {
		struct batch *b = open_batch(h);

		note_line(&b->lines, org, printer, &n->list[i]);
		must(!b->lines.overflow);
		b->rows++;
	}
	h->counters.lost += n->lost;
	n->lost = 0;
	if (n->sending == 0)
		return;
	notes_sent(n);
	if (h->phase == PHASE_IDLE && !timer_is_set(&h->act))
		timer_set(h->loop, &h->act, GATHER_MS);
}

struct history_counters
history_count(struct history *h)
{
	struct history_counters c = h->counters;

	memset(&h->counters, 0, sizeof(h->counters));
	return c;
}

/* --- the connection --------------------------------------------------------------------------- */

static void
disconnect(struct history *h, const char *why)
{
	log_warn("history: database connection lost", LOG_Z("why", why),
	    LOG_S("message", str_trim(str_from(h->conn ? PQerrorMessage(h->conn) : ""))));
	if (on_its_way(h))
		h->first->tried = true;
	watch_stop(h->loop, &h->watch);
	timer_stop(h->loop, &h->patience);
	PQfinish(h->conn);
	h->conn = NULL;
	h->phase = PHASE_DOWN;
	timer_set(h->loop, &h->act, h->retry_ms);
	h->retry_ms = h->retry_ms * 2 > RETRY_MOST_MS ? RETRY_MOST_MS : h->retry_ms * 2;
}

static bool
flush(struct history *h)
{
	int left = PQflush(h->conn);

	return left >= 0 &&
	    watch_set(h->loop, &h->watch, PQsocket(h->conn), EPOLLIN | (left ? EPOLLOUT : 0u));
}

static void
write_now(struct history *h)
{
	if (!h->first)
		return;
	h->phase = PHASE_ASKED;
	h->sqlstate[0] = '\0';
	timer_set(h->loop, &h->patience, ANSWER_MS);
	if (PQsendQuery(h->conn, SQL_gw_history.text) != 1 || !flush(h))
		disconnect(h, "sending");
}

static void
connected(struct history *h)
{
	if (PQsetnonblocking(h->conn, 1) != 0 || !flush(h)) {
		disconnect(h, "setup");
		return;
	}
	timer_stop(h->loop, &h->patience);
	h->watch.fn = on_socket;
	h->phase = PHASE_IDLE;
	write_now(h);
}

static void
on_connecting(void *ctx, uint32_t events)
{
	struct history *h = ctx;
	PostgresPollingStatusType s = PQconnectPoll(h->conn);

	(void)events;
	watch_stop(h->loop, &h->watch); /* it may be another socket under the same number */
	if (s == PGRES_POLLING_OK)
		connected(h);
	else if (s == PGRES_POLLING_FAILED ||
	    !watch_set(h->loop, &h->watch, PQsocket(h->conn),
		s == PGRES_POLLING_READING ? EPOLLIN : EPOLLOUT))
		disconnect(h, "connecting");
}

static void
connect_now(struct history *h)
{
	h->conn = PQconnectStart(h->conninfo);
	must(h->conn != NULL);
	h->phase = PHASE_CONNECTING;
	h->watch.fn = on_connecting;
	timer_set(h->loop, &h->patience, CONNECT_MS);
	if (PQstatus(h->conn) == CONNECTION_BAD ||
	    !watch_set(h->loop, &h->watch, PQsocket(h->conn), EPOLLOUT))
		disconnect(h, "connecting");
}

static void
on_act(void *ctx)
{
	struct history *h = ctx;

	if (h->phase == PHASE_DOWN)
		connect_now(h);
	else if (h->phase == PHASE_IDLE)
		write_now(h);
}

static void
on_patience(void *ctx)
{
	disconnect(ctx, "no answer in time");
}

/* --- answers ---------------------------------------------------------------------------------- */

static void
leave_if_done(struct history *h)
{
	void (*done)(void *ctx) = h->stopped;

	if (!done || (h->first && h->phase != PHASE_DOWN && timer_is_set(&h->leaving)))
		return;
	h->stopped = NULL;
	timer_stop(h->loop, &h->leaving);
	done(h->stopped_ctx);
}

/* What the database refuses for what it is will not get better. A batch that meets its own ids was
 * written before. */
static void
settle(struct history *h)
{
	struct batch *b = h->first;
	bool ok = !h->sqlstate[0] || (b->tried && strcmp(h->sqlstate, "23505") == 0);

	timer_stop(h->loop, &h->patience);
	h->phase = PHASE_IDLE;
	if (ok) {
		h->retry_ms = RETRY_LEAST_MS;
		h->counters.rows += b->rows;
		batch_free(take(h, NULL));
	} else if (strncmp(h->sqlstate, "22", 2) == 0 || strncmp(h->sqlstate, "23", 2) == 0) {
		log_error("rows of history were refused", LOG_I("rows", b->rows));
		give_up(h, take(h, NULL));
	} else {
		timer_set(h->loop, &h->act, h->retry_ms);
		h->retry_ms = h->retry_ms * 2 > RETRY_MOST_MS ? RETRY_MOST_MS : h->retry_ms * 2;
		return;
	}
	if (h->first)
		timer_set(h->loop, &h->act, h->first->next || h->stopped ? 0 : GATHER_MS);
	leave_if_done(h);
}

static bool
send_lines(struct history *h)
{
	const struct buf *lines = &h->first->lines;

	h->phase = PHASE_SENT;
	return PQputCopyData(h->conn, lines->p, (int)lines->n) == 1 &&
	    PQputCopyEnd(h->conn, NULL) == 1;
}

static void
note_failure(struct history *h, const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	snprintf(h->sqlstate, sizeof(h->sqlstate), "%s", state ? state : "XX000");
	log_warn("history cannot be written", LOG_Z("sqlstate", h->sqlstate),
	    LOG_Z("message", PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY)));
}

/* False: the connection is of no use any more. */
static bool
read_results(struct history *h)
{
	while (on_its_way(h) && !PQisBusy(h->conn)) {
		PGresult *res = PQgetResult(h->conn);
		ExecStatusType s = PQresultStatus(res);

		if (res && s == PGRES_FATAL_ERROR)
			note_failure(h, res);
		PQclear(res);
		if (PQstatus(h->conn) != CONNECTION_OK)
			return false;
		if (!res)
			settle(h);
		else if (s == PGRES_COPY_IN && (h->phase != PHASE_ASKED || !send_lines(h)))
			return false;
	}
	return true;
}

static void
on_socket(void *ctx, uint32_t events)
{
	struct history *h = ctx;

	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !PQconsumeInput(h->conn))
		disconnect(h, "reading");
	else if (!read_results(h) || !flush(h))
		disconnect(h, "broken");
}

/* --- life ------------------------------------------------------------------------------------- */

static void
on_leaving(void *ctx)
{
	leave_if_done(ctx);
}

struct history *
history_new(struct loop *loop, const char *conninfo)
{
	struct history *h = calloc(1, sizeof(*h));

	must(h != NULL);
	h->loop = loop;
	h->conninfo = conninfo;
	h->retry_ms = RETRY_LEAST_MS;
	h->watch.ctx = h;
	h->act = (struct timer){.fn = on_act, .ctx = h};
	h->patience = (struct timer){.fn = on_patience, .ctx = h};
	h->leaving = (struct timer){.fn = on_leaving, .ctx = h};
	timer_set(loop, &h->act, 0);
	return h;
}

void
history_free(struct history *h)
{
	if (!h)
		return;
	watch_stop(h->loop, &h->watch);
	timer_stop(h->loop, &h->act);
	timer_stop(h->loop, &h->patience);
	timer_stop(h->loop, &h->leaving);
	PQfinish(h->conn);
	while (h->first)
		batch_free(take(h, NULL));
	free(h);
}

void
history_stop(struct history *h, void (*done)(void *ctx), void *ctx)
{
	h->stopped = done;
	h->stopped_ctx = ctx;
	timer_set(h->loop, &h->leaving, STOP_MS);
	if (h->phase == PHASE_IDLE)
		timer_set(h->loop, &h->act, 0);
	leave_if_done(h);
}
