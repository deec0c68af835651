/* soloprintctl: what its commands share. A command is one row of the table in main.c. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <libpq-fe.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "db/sql.h"

struct ctl {
	struct arena *arena;
	const char *conninfo; /* --db, or SOLOPRINT_DB; may be NULL */
	bool json;            /* --json */
	char **argv;          /* what follows the command's name, NULL-terminated */
};

/* An exit code: 0 done, 1 failed, 2 wrong usage. */
typedef int (*command_fn)(struct ctl *c);

struct opt {
	const char *name; /* without the dashes */
	enum { OPT_STR, OPT_FLAG } kind;
	void *out; /* const char ** or bool * */
	bool required;
};

/* Fills the options and exactly n positional arguments; the common options (--db, --json) are
 * always known. False after saying on stderr what is wrong. */
bool opts_parse(
    struct ctl *c, const struct opt *opts, size_t nopts, const char **positional, size_t n);

/* "soloprintctl: …" on stderr. Returns 1, the exit code. */
__attribute__((format(printf, 1, 2))) int fail(const char *fmt, ...);
/* A line on stderr that is not an error, so that stdout holds results alone. */
__attribute__((format(printf, 1, 2))) void note(const char *fmt, ...);

/* Comma-separated text; every part must consist of `allowed` characters. As a Postgres array
 * ("{a,b}") in the arena, NULL when a part is empty or has another character. "none" and "" are the
 * empty array. */
const char *list_array(struct arena *a, const char *text, const char *allowed);
/* "90d", "12h", "30m" → "90 days" … in the arena; NULL when malformed. */
const char *duration_interval(struct arena *a, const char *text);
/* "read=60,burst=5" → {"read":60,"burst":5} in the arena; NULL when malformed. */
const char *limits_json(struct arena *a, const char *text);

/* Connects by SOLOPRINT_DB, to `database` when given; with `as_owner`, as the role that owns the
 * schema. Closed with the arena. NULL after a message on stderr. */
PGconn *connect_to(struct ctl *c, const char *database, bool as_owner);
/* connect_to(NULL, true): for everything that reads or writes organisations' rows. */
PGconn *connect_owner(struct ctl *c);
/* Cleared with the arena. NULL after a message on stderr. `values` are text, one for each
 * parameter. */
PGresult *run_sql(struct ctl *c, PGconn *db, const struct sql *sql, const char *const *values);
/* Begins a transaction that speaks for the organisation. False after a message on stderr. */
bool begin_org(struct ctl *c, PGconn *db, const char *slug);
/* Rows on stdout: as a table for people or as JSON. */
void print_rows(struct ctl *c, PGresult *rows);
/* The first row on stdout as a JSON object. */
void print_object(struct ctl *c, PGresult *row);

/* The folder of the Sqitch project: `given`, SOLOPRINT_SCHEMA, or where the program came from. NULL
 * when not found. */
const char *schema_dir(struct arena *a, const char *given);

int cmd_bootstrap(struct ctl *c);
int cmd_migrate(struct ctl *c);
int cmd_org_create(struct ctl *c);
int cmd_org_list(struct ctl *c);
int cmd_key_create(struct ctl *c);
int cmd_key_list(struct ctl *c);
int cmd_key_revoke(struct ctl *c);
int cmd_key_rotate(struct ctl *c);
int cmd_gateway_key(struct ctl *c);
int cmd_courier_key(struct ctl *c);
int cmd_storage_status(struct ctl *c);
int cmd_storage_verify(struct ctl *c);
int cmd_storage_migrate(struct ctl *c);
int cmd_doctor(struct ctl *c);

#endif
