/* bootstrap: what only a superuser can make. The SQL is schema/db/bootstrap, compiled in. */
#include <string.h>

#include "ctl.h"
#include "gen/bootstrap_database.h"
#include "gen/bootstrap_roles.h"
#include "gen/ctl_sql.h"

/* The database that the connection names; NULL when it names none. */
static const char *
database_of(struct arena *a, const char *conninfo)
{
	PQconninfoOption *opts = PQconninfoParse(conninfo, NULL);
	const char *name = NULL;

	for (PQconninfoOption *o = opts; o && o->keyword; o++) {
		if (strcmp(o->keyword, "dbname") == 0 && o->val)
			name = str_z(a, str_from(o->val));
	}
	PQconninfoFree(opts);
	return name;
}

static bool
is_plain_name(const char *name)
{
	return *name && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name);
}

/* Several statements at once, in one transaction. */
static bool
run_script(PGconn *db, const char *script)
{
	PGresult *r = PQexec(db, script);
	bool ok = PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK;

	if (!ok)
		fail("%s", PQresultErrorMessage(r));
	PQclear(r);
	return ok;
}

static bool
require_superuser(struct ctl *c, PGconn *db)
{
	PGresult *r = run_sql(c, db, &SQL_bootstrap_is_superuser, NULL);

	if (!r)
		return false;
	if (PQntuples(r) == 1 && *PQgetvalue(r, 0, 0) == 't')
		return true;
	return fail("bootstrap needs a superuser, for example --db 'host=… user=postgres'"), false;
}

static bool
make_database(struct ctl *c, PGconn *db, const char *name)
{
	PGresult *r = run_sql(c, db, &SQL_bootstrap_create_database, (const char *const[]){name});

	if (!r)
		return false;
	return PQntuples(r) == 0 || run_script(db, PQgetvalue(r, 0, 0));
}

int
cmd_bootstrap(struct ctl *c)
{
	const char *name = NULL;
	const struct opt opts[] = {{"database", OPT_STR, &name, false}};
	PGconn *db;

	if (!opts_parse(c, opts, 1, NULL, 0))
		return 2;
	if (!name)
		name = c->conninfo ? database_of(c->arena, c->conninfo) : NULL;
	name = name ? name : "soloprint";
	if (!is_plain_name(name))
		return fail("a database's name has small letters, digits and _ only");
	db = connect_to(c, "postgres", false);
	if (!db || !require_superuser(c, db) || !run_script(db, bootstrap_roles) ||
	    !make_database(c, db, name))
		return 1;
	db = connect_to(c, name, false);
	if (!db || !run_script(db, bootstrap_database))
		return 1;
	note("roles and database %s are ready; next: soloprintctl migrate", name);
	return 0;
}
