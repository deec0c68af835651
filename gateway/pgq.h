/* One Postgres connection inside the epoll loop: transactions are queued in pipeline mode and
 * answered by callbacks. Nothing here waits. The conninfo must name a socket directory or hostaddr:
 * libpq resolves names while blocking. */
#ifndef GATEWAY_PGQ_H
#define GATEWAY_PGQ_H

#include <libpq-fe.h>

#include "base/str.h"
#include "db/sql.h"
#include "gateway/loop.h"

struct pgq;

struct pgq_config {
	const char *conninfo;        /* borrowed, like all of this */
	const struct sql_set *set;   /* prepared at connect */
	const char *const *channels; /* LISTEN, NULL-terminated */
	void (*up)(void *ctx);
	/* The connection is gone; every open transaction was answered with ok = false before. */
	void (*down)(void *ctx);
	void (*notify)(void *ctx, const char *channel, const char *payload);
	void *ctx;
};

/* rows: one statement's result, in the order of pgq_add. done: the transaction is committed (ok),
 * or failed with an SQLSTATE, or its fate is unknown because the connection was lost (sqlstate
 * NULL). */
typedef void (*pgq_rows)(void *ctx, size_t statement, const PGresult *res);
typedef void (*pgq_done)(void *ctx, bool ok, const char *sqlstate);

/* Connects by itself and again whenever the connection is lost. */
struct pgq *pgq_new(struct loop *loop, const struct pgq_config *cfg);
/* Open transactions are not answered. */
void pgq_free(struct pgq *q);
bool pgq_is_up(const struct pgq *q);

/* One statement of the transaction being written; text parameters. Only while the connection is up.
 */
void pgq_add(struct pgq *q, const struct sql *sql, const char *const *values);
/* Ends it and sends it. */
void pgq_commit(struct pgq *q, pgq_rows rows, pgq_done done, void *ctx);

/* Result access by column name; NULL gives STR_NONE. */
struct str pgq_text(const PGresult *res, int row, const char *column);
int64_t pgq_i64(const PGresult *res, int row, const char *column);

#endif
