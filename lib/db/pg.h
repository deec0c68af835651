/* One Postgres connection in pipeline mode, and the statements of one transaction.
 *
 * A transaction is a list of struct query: made in the request's arena, bound parameter by
 * parameter, run together in one round trip. Everything up to Sync is one implicit transaction
 * (PostgreSQL manual, 34.5 "Pipeline Mode"); with PG_EXPLICIT the caller keeps it open over several
 * round trips. */
#ifndef DB_PG_H
#define DB_PG_H

#include <libpq-fe.h>

#include "base/err.h"
#include "base/str.h"
#include "base/uuid.h"
#include "db/sql.h"

struct arena;
struct pg;

struct pg_config {
	const char *conninfo;       /* borrowed for the connection's life */
	const struct sql_set *sets; /* statements to prepare at connect; borrowed */
	size_t n_sets;
	bool unnamed; /* send each statement's text: for poolers in transaction mode */
	int64_t connect_timeout_ms;
	int64_t answer_timeout_ms; /* longest wait for one round trip */
	const char *listen;        /* a channel to LISTEN on, or NULL; not with unnamed */
};

/* Does not connect yet. Never NULL. */
struct pg *pg_new(const struct pg_config *cfg);
void pg_free(struct pg *pg);

/* Makes sure that there is an idle connection with all statements prepared.
 * err_database_unavailable when not; while the server is away, tries at most every 200 ms. */
const struct err *pg_ready(struct pg *pg);

/* Waits until something was notified on the channel since the last call (true), stop_fd (-1: none)
 * can be read, the connection is lost or timeout_ms have passed. Without a channel or a connection
 * it only waits. No transaction may be open. */
bool pg_wait(struct pg *pg, int stop_fd, int64_t timeout_ms);

struct query {
	const struct sql *sql;
	struct arena *arena;
	int n; /* parameters bound so far */
	const char **values;
	int *lengths;
	int *formats;
	PGresult *result; /* after the run; cleared with the arena */
	struct query *next;
};

/* A statement with no parameter bound yet, in the arena. */
struct query *pg_query(struct arena *a, const struct sql *sql);

/* Parameters are bound in order; the bytes are copied where libpq needs a terminator, else borrowed
 * until the run. */
void bind_null(struct query *q);
void bind_str(struct query *q, struct str s); /* STR_NONE binds NULL */
void bind_i64(struct query *q, int64_t v);
void bind_bool(struct query *q, bool v);
void bind_uuid(struct query *q, struct uuid u);
void bind_bytes(struct query *q, const void *p, size_t n);
/* A text[] or uuid[] parameter; n strings in Postgres' array syntax. */
void bind_str_array(struct query *q, const struct str *items, size_t n);
void bind_uuid_array(struct query *q, const struct uuid *items, size_t n);

enum pg_tx {
	PG_IMPLICIT, /* the list is a transaction */
	PG_BEGIN,    /* opens one and leaves it open */
	PG_COMMIT    /* runs the list in the open one and commits */
};

/* What went wrong in the database. */
struct pg_failure {
	char sqlstate[6]; /* "" when the connection was lost */
	char constraint[64];
	struct str message; /* for the log, never for a client; arena */
	const struct sql *sql;
};

/* Runs the list in one round trip; the results are in each query's `result`. On failure *f is
 * filled and the error returned: the catalogue's entry for the SQLSTATE or constraint,
 * err_database_unavailable when the connection or the server's answer was lost, err_internal_error
 * else. After a failure of PG_BEGIN or PG_COMMIT no transaction is open. */
const struct err *pg_run(
    struct pg *pg, struct arena *a, struct query *list, enum pg_tx tx, struct pg_failure *f);
/* Gives up the transaction that PG_BEGIN left open, if any. */
void pg_rollback(struct pg *pg);
bool pg_in_transaction(const struct pg *pg);

/* Result access; the row and column must exist. NULL gives STR_NONE. */
int rows_count(const struct query *q);
int rows_column(const struct query *q, const char *name); /* -1 when there is none */
struct str rows_str(const struct query *q, int row, int column);
struct str rows_get(const struct query *q, int row, const char *column);
int64_t rows_i64(const struct query *q, int row, const char *column); /* 0 for NULL */
bool rows_bool(const struct query *q, int row, const char *column);   /* false for NULL */
struct uuid rows_uuid(const struct query *q, int row, const char *column);

#endif
