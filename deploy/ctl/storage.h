/* soloprintctl storage: what its commands share. */
#ifndef CTL_STORAGE_H
#define CTL_STORAGE_H

#include "base/uuid.h"
#include "ctl.h"
#include "store/s3.h"
#include "store/store.h"

struct storage {
	struct ctl *ctl;
	PGconn *db;
	struct store *store;
	struct s3_config config;
	struct s3 *s3; /* NULL when no service is configured */
};

/* Opens what is configured; closed with the arena. False after a message on stderr. */
bool storage_open(struct storage *s, struct ctl *c);
/* Whether the service answers; says on stderr why not. */
bool storage_service_answers(const struct storage *s);

/* One statement, alone or as a transaction that speaks for the organisation (not NULL). In the
 * arena of `c`. NULL after a message on stderr. */
PGresult *storage_ask(
    struct ctl *c, PGconn *db, const char *org, const struct sql *sql, const char *const *values);

/* Calls fn for every organisation until it says false. */
bool storage_each_org(
    struct storage *s, bool (*fn)(void *ctx, const char *org, const char *slug), void *ctx);

struct str storage_field(PGresult *r, int row, const char *column);
int64_t storage_number(PGresult *r, int row, const char *column); /* 0 for NULL */

/* A command of its own arena for a page of rows: arena_free(page.arena). */
struct ctl storage_page(const struct ctl *c);

#endif
