#include "gateway/pgq.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/uuid.h"

enum {
	CONNECT_MS = 5000,
	ANSWER_MS = 8000,
	RETRY_LEAST_MS = 100,
	RETRY_MOST_MS = 1500,
};

/* A transaction that waits for its answer. */
struct open_tx {
	struct open_tx *next;
	pgq_rows rows;
	pgq_done done;
	void *ctx;
	size_t at; /* statement being answered */
	char sqlstate[6];
};

struct pgq {
	struct loop *loop;
	struct pgq_config cfg;
	PGconn *conn;
	struct watch watch;
	struct timer retry, patience;
	int64_t retry_ms;
	bool up, broken;
	struct open_tx *first, **last;
};

static void on_socket(void *ctx, uint32_t events);

static void
schedule_retry(struct pgq *q)
{
	uint32_t r;

	random_bytes(&r, sizeof(r));
	timer_set(q->loop, &q->retry, q->retry_ms / 2 + (int64_t)r % q->retry_ms);
	q->retry_ms = q->retry_ms * 2 > RETRY_MOST_MS ? RETRY_MOST_MS : q->retry_ms * 2;
}

static struct open_tx *
shift(struct pgq *q)
{
	struct open_tx *tx = q->first;

	q->first = tx->next;
	if (!q->first)
		q->last = &q->first;
	return tx;
}

static void
disconnect(struct pgq *q, const char *why)
{
	bool was_up = q->up;

	log_warn("database connection lost", LOG_Z("why", why),
	    LOG_S("message", str_trim(str_from(q->conn ? PQerrorMessage(q->conn) : ""))));
	watch_stop(q->loop, &q->watch);
	timer_stop(q->loop, &q->patience);
	PQfinish(q->conn);
	q->conn = NULL;
	q->up = q->broken = false;
	while (q->first) {
		struct open_tx *tx = shift(q);

		if (tx->done)
			tx->done(tx->ctx, false, NULL);
		free(tx);
	}
	schedule_retry(q);
	if (was_up && q->cfg.down)
		q->cfg.down(q->cfg.ctx);
}

/* Called from outside of the socket's callback: the loss is handled in the loop, not under the
 * caller's feet. */
static void
break_soon(struct pgq *q)
{
	q->broken = true;
	timer_set(q->loop, &q->patience, 0);
}

static void
flush(struct pgq *q)
{
	int left = PQflush(q->conn);

	if (left < 0 ||
	    !watch_set(q->loop, &q->watch, PQsocket(q->conn), EPOLLIN | (left ? EPOLLOUT : 0u)))
		break_soon(q);
}

/* --- connecting ------------------------------------------------------------------------------- */

static void
prepared(void *ctx, bool ok, const char *sqlstate)
{
	struct pgq *q = ctx;

	if (!ok) {
		log_error("a statement could not be prepared",
		    LOG_Z("sqlstate", sqlstate ? sqlstate : ""));
		break_soon(q);
		return;
	}
	q->up = true;
	q->retry_ms = RETRY_LEAST_MS;
	q->cfg.up(q->cfg.ctx);
}

static bool
send_setup(struct pgq *q)
{
	bool ok = true;
	char text[80] = "LISTEN ";

	for (size_t i = 0; ok && i < q->cfg.set->n; i++) {
		const struct sql *s = q->cfg.set->items[i];

		ok = PQsendPrepare(q->conn, s->name, s->text, s->nparams, s->oids) == 1;
	}
	for (size_t i = 0; ok && q->cfg.channels[i]; i++) {
		size_t n = strlen(q->cfg.channels[i]);

		must(n < sizeof(text) - 8);
		memcpy(text + 7, q->cfg.channels[i], n + 1);
		ok = PQsendQueryParams(q->conn, text, 0, NULL, NULL, NULL, NULL, 0) == 1;
	}
	return ok;
}

static void
connected(struct pgq *q)
{
	if (PQsetnonblocking(q->conn, 1) != 0 || PQenterPipelineMode(q->conn) != 1 ||
	    !send_setup(q)) {
		disconnect(q, "setup");
		return;
	}
	q->watch.fn = on_socket;
	pgq_commit(q, NULL, prepared, q);
}

static void
on_connecting(void *ctx, uint32_t events)
{
	struct pgq *q = ctx;
	PostgresPollingStatusType s = PQconnectPoll(q->conn);

	(void)events;
	watch_stop(
	    q->loop, &q->watch); /* libpq may have opened another socket under the same number */
	if (s == PGRES_POLLING_OK)
		connected(q);
	else if (s == PGRES_POLLING_FAILED ||
	    !watch_set(q->loop, &q->watch, PQsocket(q->conn),
		s == PGRES_POLLING_READING ? EPOLLIN : EPOLLOUT))
		disconnect(q, "connecting");
}

static void
connect_now(void *ctx)
{
	struct pgq *q = ctx;

	q->conn = PQconnectStart(q->cfg.conninfo);
	must(q->conn != NULL);
	q->watch.fn = on_connecting;
	timer_set(q->loop, &q->patience, CONNECT_MS);
	if (PQstatus(q->conn) == CONNECTION_BAD ||
	    !watch_set(q->loop, &q->watch, PQsocket(q->conn), EPOLLOUT))
		disconnect(q, "connecting");
}

static void
on_patience(void *ctx)
{
	struct pgq *q = ctx;

	disconnect(q, q->broken ? "broken" : "no answer in time");
}

struct pgq *
pgq_new(struct loop *loop, const struct pgq_config *cfg)
{
	struct pgq *q = calloc(1, sizeof(*q));

	must(q != NULL);
	q->loop = loop;
	q->cfg = *cfg;
	q->last = &q->first;
	q->retry_ms = RETRY_LEAST_MS;
	q->watch.ctx = q;
	q->retry = (struct timer){.fn = connect_now, .ctx = q};
	q->patience = (struct timer){.fn = on_patience, .ctx = q};
	timer_set(loop, &q->retry, 0);
	return q;
}

void
pgq_free(struct pgq *q)
{
	if (!q)
		return;
	watch_stop(q->loop, &q->watch);
	timer_stop(q->loop, &q->retry);
	timer_stop(q->loop, &q->patience);
	PQfinish(q->conn);
	while (q->first)
		free(shift(q));
	free(q);
}

bool
pgq_is_up(const struct pgq *q)
{
	return q->up && !q->broken;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void
note_error(struct open_tx *tx, const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (tx->sqlstate[0])
		return;
	snprintf(tx->sqlstate, sizeof(tx->sqlstate), "%s", state ? state : "XX000");
	log_error("statement failed", LOG_Z("sqlstate", tx->sqlstate), LOG_I("statement", tx->at),
	    LOG_Z("message", PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY)));
}

static void
finish(struct pgq *q)
{
	struct open_tx *tx = shift(q);
	bool ok = tx->sqlstate[0] == '\0';

	if (tx->done)
		tx->done(tx->ctx, ok, ok ? NULL : tx->sqlstate);
	free(tx);
	if (q->broken)
		return;
	if (q->first)
		timer_set(q->loop, &q->patience, ANSWER_MS);
	else
		timer_stop(q->loop, &q->patience);
}

static void
on_result(struct pgq *q, const PGresult *res)
{
	struct open_tx *tx = q->first;

	switch (PQresultStatus(res)) {
	case PGRES_PIPELINE_SYNC:
		finish(q);
		break;
	case PGRES_FATAL_ERROR:
		note_error(tx, res);
		break;
	case PGRES_TUPLES_OK:
	case PGRES_COMMAND_OK:
		if (tx->rows)
			tx->rows(tx->ctx, tx->at, res);
		break;
	default: /* aborted: its error came before */
		break;
	}
}

static void
read_results(struct pgq *q)
{
	while (q->first && !q->broken && !PQisBusy(q->conn)) {
		PGresult *res = PQgetResult(q->conn);

		if (res)
			on_result(q, res);
		else if (PQstatus(q->conn) != CONNECTION_OK)
			break_soon(q);
		else
			q->first->at++; /* NULL ends one statement's results */
		PQclear(res);
	}
}

static void
read_notifications(struct pgq *q)
{
	PGnotify *n;

	while (!q->broken && (n = PQnotifies(q->conn)) != NULL) {
		q->cfg.notify(q->cfg.ctx, n->relname, n->extra);
		PQfreemem(n);
	}
}

static void
on_socket(void *ctx, uint32_t events)
{
	struct pgq *q = ctx;

	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !PQconsumeInput(q->conn)) {
		disconnect(q, "reading");
		return;
	}
	read_results(q);
	read_notifications(q);
	if (!q->broken && PQstatus(q->conn) == CONNECTION_OK)
		flush(q);
	else
		break_soon(q);
}

/* --- sending ---------------------------------------------------------------------------------- */

void
pgq_add(struct pgq *q, const struct sql *sql, const char *const *values)
{
	if (q->broken)
		return;
	if (PQsendQueryPrepared(q->conn, sql->name, sql->nparams, values, NULL, NULL, 0) != 1)
		break_soon(q);
}

void
pgq_commit(struct pgq *q, pgq_rows rows, pgq_done done, void *ctx)
{
	struct open_tx *tx = calloc(1, sizeof(*tx));

	must(tx != NULL && q->conn != NULL);
	*tx = (struct open_tx){.rows = rows, .done = done, .ctx = ctx};
	if (!q->first)
		timer_set(q->loop, &q->patience, ANSWER_MS);
	*q->last = tx;
	q->last = &tx->next;
	if (q->broken || PQpipelineSync(q->conn) != 1)
		break_soon(q);
	else
		flush(q);
}

struct str
pgq_text(const PGresult *res, int row, const char *column)
{
	int col = PQfnumber(res, column);

	must(col >= 0);
	if (PQgetisnull(res, row, col))
		return STR_NONE;
	return (struct str){PQgetvalue(res, row, col), (size_t)PQgetlength(res, row, col)};
}

int64_t
pgq_i64(const PGresult *res, int row, const char *column)
{
	struct str s = pgq_text(res, row, column);
	int64_t v = 0;

	if (s.p)
		must(str_to_i64(s, &v));
	return v;
}
