/* The operator's connection. */
#include <stdio.h>

#include "ctl.h"
#include "db/rows_json.h"
#include "gen/ctl_sql.h"

static void
finish(void *db)
{
	PQfinish(db);
}

static void
clear(void *result)
{
	PQclear(result);
}

static void
ignore_notice(void *arg, const PGresult *r)
{
	(void)arg, (void)r;
}

/* libpq's messages end with a line feed and may have more lines; the first says enough. */
static struct str
first_line(const char *message)
{
	struct str rest = str_from(message);

	return str_cut(&rest, '\n');
}

PGconn *
connect_to(struct ctl *c, const char *database, bool as_owner)
{
	/* The first dbname may be a whole connection string or URI; the second overrides its
	 * database. */
	const char *const names[] = {"dbname", database ? "dbname" : NULL, NULL};
	const char *const values[] = {c->conninfo, database, NULL};
	PGconn *db;

	if (!c->conninfo || !*c->conninfo) {
		fail("SOLOPRINT_DB is not set; give a connection with --db, for example\n"
		     "  --db 'host=/run/soloprint/pg dbname=soloprint user=soloprint_migrator'");
		return NULL;
	}
	db = PQconnectdbParams(names, values, 1);
	arena_defer(c->arena, finish, db);
	if (PQstatus(db) != CONNECTION_OK) {
		fail("no connection to Postgres: %.*s", STR_ARG(first_line(PQerrorMessage(db))));
		return NULL;
	}
	PQsetNoticeReceiver(db, ignore_notice, NULL);
	return as_owner && !run_sql(c, db, &SQL_ctl_role, NULL) ? NULL : db;
}

PGconn *
connect_owner(struct ctl *c)
{
	return connect_to(c, NULL, true);
}

/* Faults that people meet, in words. */
static const struct {
	const char *sqlstate;   /* its beginning */
	const char *constraint; /* or NULL */
	const char *words;
} known[] = {
    {"3F", NULL, "the schema is not there yet: run `soloprintctl migrate`"},
    {"42P01", NULL, "the schema is not there yet: run `soloprintctl migrate`"},
    {"42501", NULL, "connect as soloprint_migrator (or as superuser)"},
    {"23505", "organizations_slug_key",
	"there is an organisation with this slug; choose another with --slug"},
};

static void
explain(const PGresult *r)
{
	struct str state = str_from(PQresultErrorField(r, PG_DIAG_SQLSTATE));
	struct str constraint = str_from(PQresultErrorField(r, PG_DIAG_CONSTRAINT_NAME));

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (str_starts(state, str_from(known[i].sqlstate)) &&
		    (!known[i].constraint || str_eq(constraint, str_from(known[i].constraint)))) {
			note("%s", known[i].words);
			return;
		}
	}
}

PGresult *
run_sql(struct ctl *c, PGconn *db, const struct sql *sql, const char *const *values)
{
	PGresult *r = PQexecParams(db, sql->text, sql->nparams, sql->oids, values, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(r);
	const char *why;

	arena_defer(c->arena, clear, r);
	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return r;
	why = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
	fail("%.*s", STR_ARG(first_line(why ? why : PQerrorMessage(db))));
	explain(r);
	return NULL;
}

bool
begin_org(struct ctl *c, PGconn *db, const char *slug)
{
	PGresult *r;

	if (!run_sql(c, db, &SQL_ctl_begin, NULL))
		return false;
	r = run_sql(c, db, &SQL_ctl_enter_org, (const char *const[]){slug});
	if (!r)
		return false;
	if (PQgetisnull(r, 0, 0))
		return fail("there is no organisation '%s'; `soloprintctl org list` shows them",
			   slug),
		       false;
	return true;
}

static void
print_table(PGresult *rows)
{
	static char bar[] = "|";
	const PQprintOpt look = {.header = 1, .align = 1, .fieldSep = bar};

	PQprint(stdout, rows, &look);
}

void
print_rows(struct ctl *c, PGresult *rows)
{
	struct query q = {.arena = c->arena, .result = rows};
	struct buf b;

	if (!c->json) {
		print_table(rows);
		return;
	}
	buf_init(&b, 64 << 20);
	rows_json_array(&b, &q, PQntuples(rows));
	printf("%.*s\n", STR_ARG(buf_view(&b)));
	buf_fini(&b);
}

void
print_object(struct ctl *c, PGresult *row)
{
	struct query q = {.arena = c->arena, .result = row};
	struct buf b;

	buf_init(&b, 1 << 20);
	rows_json_row(&b, &q, 0);
	printf("%.*s\n", STR_ARG(buf_view(&b)));
	buf_fini(&b);
}
