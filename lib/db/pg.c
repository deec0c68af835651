#include "db/pg.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "gen/errors.h"

enum { RECONNECT_MS = 200 };

/* SQLSTATEs that the schema raises on purpose begin with this. */
#define OWN_SQLSTATE "SLP"

struct pg {
	struct pg_config cfg;
	PGconn *conn;
	int64_t next_try_ms;
	bool in_tx;
};

struct pg *
pg_new(const struct pg_config *cfg)
{
	struct pg *pg = calloc(1, sizeof(*pg));

	must(pg != NULL);
	pg->cfg = *cfg;
	return pg;
}

static void
disconnect(struct pg *pg)
{
	PQfinish(pg->conn);
	pg->conn = NULL;
	pg->in_tx = false;
}

void
pg_free(struct pg *pg)
{
	if (!pg)
		return;
	disconnect(pg);
	free(pg);
}

/* Waits until the socket is ready for `events`; false at the deadline. */
static bool
wait_socket(PGconn *conn, short events, int64_t deadline_ms)
{
	struct pollfd p = {.fd = PQsocket(conn), .events = events};

	for (;;) {
		int64_t left = deadline_ms - clock_mono_ms();
		int n = left > 0 ? poll(&p, 1, (int)left) : 0;

		if (n > 0)
			return true;
		if (n == 0 || errno != EINTR)
			return false;
	}
}

static bool
connect_poll(PGconn *conn, int64_t deadline_ms)
{
	PostgresPollingStatusType s = PGRES_POLLING_WRITING;

	while (s == PGRES_POLLING_READING || s == PGRES_POLLING_WRITING) {
		if (!wait_socket(conn, s == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ms))
			return false;
		s = PQconnectPoll(conn);
	}
	return s == PGRES_POLLING_OK;
}

/* Flushes what is queued, reading meanwhile so that neither side's buffer can fill up. */
static bool
flush_all(PGconn *conn, int64_t deadline_ms)
{
	int left = PQflush(conn);

	while (left == 1) {
		if (!wait_socket(conn, POLLIN | POLLOUT, deadline_ms) || !PQconsumeInput(conn))
			return false;
		left = PQflush(conn);
	}
	return left == 0;
}

/* The next result, NULL at the end of a statement. *ok is false when none came in time. */
static PGresult *
next_result(PGconn *conn, int64_t deadline_ms, bool *ok)
{
	*ok = true;
	while (PQisBusy(conn)) {
		if (wait_socket(conn, POLLIN, deadline_ms) && PQconsumeInput(conn))
			continue;
		*ok = false;
		return NULL;
	}
	return PQgetResult(conn);
}

/* Reads until the Sync's own result. The first error is kept for the caller, who clears it. */
static bool
drain_to_sync(PGconn *conn, int64_t deadline_ms, PGresult **first_error)
{
	for (;;) {
		bool ok;
		PGresult *res = next_result(conn, deadline_ms, &ok);
		ExecStatusType st = PQresultStatus(res);

		if (!ok || (!res && PQstatus(conn) != CONNECTION_OK))
			return false;
		if (res && st == PGRES_FATAL_ERROR && !*first_error) {
			*first_error = res;
			continue;
		}
		PQclear(res);
		if (res && st == PGRES_PIPELINE_SYNC)
			return true;
	}
}

/* The channel's name is the program's own: it needs no quoting beyond this. */
static bool
send_listen(struct pg *pg)
{
	char text[80];
	int n = snprintf(text, sizeof(text), "LISTEN \"%s\"", pg->cfg.listen);

	must(n > 0 && n < (int)sizeof(text));
	return PQsendQueryParams(pg->conn, text, 0, NULL, NULL, NULL, NULL, 0) == 1;
}

static bool
prepare_all(struct pg *pg, int64_t deadline_ms)
{
	PGresult *error = NULL;
	bool ok = !pg->cfg.listen || send_listen(pg);

	for (size_t s = 0; s < pg->cfg.n_sets; s++)
		for (size_t i = 0; ok && i < pg->cfg.sets[s].n; i++) {
			const struct sql *sql = pg->cfg.sets[s].items[i];

			ok = PQsendPrepare(
				 pg->conn, sql->name, sql->text, sql->nparams, sql->oids) == 1;
		}
	ok = ok && PQpipelineSync(pg->conn) == 1 && flush_all(pg->conn, deadline_ms) &&
	    drain_to_sync(pg->conn, deadline_ms, &error);
	if (error)
		log_error("a statement could not be prepared",
		    LOG_Z("message", PQresultErrorMessage(error)));
	ok = ok && !error;
	PQclear(error);
	return ok;
}

static bool
connect_now(struct pg *pg)
{
	int64_t deadline = clock_mono_ms() + pg->cfg.connect_timeout_ms;

	pg->conn = PQconnectStart(pg->cfg.conninfo);
	if (!pg->conn || PQstatus(pg->conn) == CONNECTION_BAD)
		return false;
	if (!connect_poll(pg->conn, deadline))
		return false;
	if (PQsetnonblocking(pg->conn, 1) != 0 || PQenterPipelineMode(pg->conn) != 1)
		return false;
	return pg->cfg.unnamed || prepare_all(pg, deadline);
}

/* Whether the idle connection is still there: a server that went away has left something to read.
 */
static bool
still_there(struct pg *pg)
{
	struct pollfd p = {.fd = PQsocket(pg->conn), .events = POLLIN};

	if (poll(&p, 1, 0) > 0 && !PQconsumeInput(pg->conn))
		return false;
	return PQstatus(pg->conn) == CONNECTION_OK && PQtransactionStatus(pg->conn) == PQTRANS_IDLE;
}

const struct err *
pg_ready(struct pg *pg)
{
	int64_t now = clock_mono_ms();

	if (pg->conn && still_there(pg))
		return NULL;
	disconnect(pg);
	if (now < pg->next_try_ms)
		return &err_database_unavailable;
	if (connect_now(pg))
		return NULL;
	log_warn("database connection failed",
	    LOG_Z("message", pg->conn ? PQerrorMessage(pg->conn) : "out of memory"));
	disconnect(pg);
	pg->next_try_ms = clock_mono_ms() + RECONNECT_MS;
	return &err_database_unavailable;
}

static bool
take_notifications(PGconn *conn)
{
	bool any = false;

	for (PGnotify *n; (n = PQnotifies(conn)) != NULL; any = true)
		PQfreemem(n);
	return any;
}

bool
pg_wait(struct pg *pg, int stop_fd, int64_t timeout_ms)
{
	bool listening = pg->conn && pg->cfg.listen && !pg->cfg.unnamed;
	struct pollfd p[] = {{.fd = stop_fd, .events = POLLIN},
	    {.fd = listening ? PQsocket(pg->conn) : -1, .events = POLLIN}};

	must(!pg->in_tx);
	if (listening && take_notifications(pg->conn))
		return true;
	if (poll(p, 2, (int)timeout_ms) <= 0 || !p[1].revents)
		return false;
	if (!PQconsumeInput(pg->conn)) {
		disconnect(pg);
		return false;
	}
	return take_notifications(pg->conn);
}

/* --- running -------------------------------------------------------------------------------- */

static bool
send_query(struct pg *pg, const struct query *q)
{
	const struct sql *s = q->sql;

	must(q->n == s->nparams);
	if (pg->cfg.unnamed || !s->name)
		return PQsendQueryParams(pg->conn, s->text, q->n, s->oids, q->values, q->lengths,
			   q->formats, 0) == 1;
	return PQsendQueryPrepared(pg->conn, s->name, q->n, q->values, q->lengths, q->formats, 0) ==
	    1;
}

static bool
send_word(struct pg *pg, const char *word)
{
	return PQsendQueryParams(pg->conn, word, 0, NULL, NULL, NULL, NULL, 0) == 1;
}

static bool
send_list(struct pg *pg, struct query *list, enum pg_tx tx, int64_t deadline_ms)
{
	bool ok = tx != PG_BEGIN || send_word(pg, "BEGIN");

	for (struct query *q = list; ok && q; q = q->next)
		ok = send_query(pg, q);
	ok = ok && (tx != PG_COMMIT || send_word(pg, "COMMIT"));
	return ok && PQpipelineSync(pg->conn) == 1 && flush_all(pg->conn, deadline_ms);
}

static void
note_failure(struct arena *a, struct pg_failure *f, const PGresult *res, const struct query *q)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *constraint = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);

	if (f->sqlstate[0])
		return;
	snprintf(f->sqlstate, sizeof(f->sqlstate), "%s", state ? state : "XX000");
	snprintf(f->constraint, sizeof(f->constraint), "%s", constraint ? constraint : "");
	f->message = str_dup(a, str_from(PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY)));
	f->sql = q ? q->sql : NULL;
}

static void
clear_result(void *p)
{
	PQclear(p);
}

/* Reads the answers of the list up to Sync. `at` is the statement that is being answered. */
static bool
read_answers(struct pg *pg, struct arena *a, struct query *list, enum pg_tx tx,
    struct pg_failure *f, int64_t deadline_ms)
{
	struct query *at = tx == PG_BEGIN ? NULL : list;
	bool before_list = tx == PG_BEGIN;

	for (;;) {
		bool ok;
		PGresult *res = next_result(pg->conn, deadline_ms, &ok);
		ExecStatusType st = PQresultStatus(res);

		if (!ok || (!res && PQstatus(pg->conn) != CONNECTION_OK))
			return false;
		if (!res) { /* end of one statement's results */
			at = before_list ? list : at ? at->next : NULL;
			before_list = false;
			continue;
		}
		if (st == PGRES_FATAL_ERROR)
			note_failure(a, f, res, at);
		if ((st == PGRES_TUPLES_OK || st == PGRES_COMMAND_OK) && at && !at->result) {
			at->result = res;
			arena_defer(a, clear_result, res);
		} else {
			PQclear(res);
		}
		if (st == PGRES_PIPELINE_SYNC)
			return true;
	}
}

static const struct err *
failure_err(const struct pg_failure *f)
{
	const struct err *e = err_by_sqlstate(f->sqlstate, f->constraint[0] ? f->constraint : NULL);

	return e ? e : &err_internal_error;
}

static void
log_failure(const struct pg_failure *f)
{
	log_error("statement failed", LOG_Z("sqlstate", f->sqlstate),
	    LOG_Z("constraint", f->constraint), LOG_S("message", f->message),
	    LOG_Z("statement", f->sql && f->sql->name ? f->sql->name : ""));
}

const struct err *
pg_run(struct pg *pg, struct arena *a, struct query *list, enum pg_tx tx, struct pg_failure *f)
{
	int64_t deadline = clock_mono_ms() + pg->cfg.answer_timeout_ms;
	const struct err *e;

	*f = (struct pg_failure){.message = STR_NONE};
	must(pg->conn && pg->in_tx == (tx == PG_COMMIT));
	if (!send_list(pg, list, tx, deadline) || !read_answers(pg, a, list, tx, f, deadline)) {
		log_warn("database connection lost", LOG_Z("message", PQerrorMessage(pg->conn)));
		disconnect(pg);
		return &err_database_unavailable;
	}
	pg->in_tx = tx == PG_BEGIN;
	if (!f->sqlstate[0])
		return NULL;
	e = failure_err(f);
	if (e == &err_internal_error && strncmp(f->sqlstate, OWN_SQLSTATE, 3) != 0)
		log_failure(f);
	pg->in_tx = PQtransactionStatus(pg->conn) != PQTRANS_IDLE;
	pg_rollback(pg);
	return e;
}

void
pg_rollback(struct pg *pg)
{
	int64_t deadline = clock_mono_ms() + pg->cfg.answer_timeout_ms;
	PGresult *error = NULL;

	if (!pg->conn || !pg->in_tx)
		return;
	pg->in_tx = false;
	if (!send_word(pg, "ROLLBACK") || !PQpipelineSync(pg->conn) ||
	    !flush_all(pg->conn, deadline) || !drain_to_sync(pg->conn, deadline, &error))
		disconnect(pg);
	PQclear(error);
}

bool
pg_in_transaction(const struct pg *pg)
{
	return pg->in_tx;
}
