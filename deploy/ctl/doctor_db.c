/* What the doctor asks Postgres. */
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "doctor.h"
#include "gen/ctl_sql.h"

enum { PG_LEAST = 150000, PG_MOST = 160000, REPORT_AGE_MOST_S = 15, PLAN_MOST = 1 << 20 };

/* The rows, or NULL after a fault was said. */
static PGresult *
ask(struct doctor *d, const struct sql *sql)
{
	PGresult *r;

	if (!d->db) {
		skip(d, "Postgres is not reachable");
		return NULL;
	}
	r = run_sql(d->ctl, d->db, sql, NULL);
	if (!r)
		fault(d,
		    "see the messages above; `soloprintctl migrate` brings the schema up to date",
		    "the question failed");
	return r;
}

static struct str
field(PGresult *r, int row, const char *column)
{
	int i = PQfnumber(r, column);

	return PQgetisnull(r, row, i) ? STR_NONE : str_from(PQgetvalue(r, row, i));
}

static int64_t
number(PGresult *r, const char *column)
{
	int64_t v = 0;

	str_to_i64(field(r, 0, column), &v);
	return v;
}

void
check_postgres(struct doctor *d)
{
	PGresult *r;
	int64_t version;

	d->db = connect_owner(d->ctl);
	if (!d->db) {
		fault(d,
		    "start Postgres (`make up` does), check SOLOPRINT_DB and pg_ident.conf, run `soloprintctl bootstrap`",
		    "cannot be used as soloprint_migrator");
		return;
	}
	r = ask(d, &SQL_doctor_server);
	if (!r)
		return;
	version = number(r, "version");
	if (version < PG_LEAST || version >= PG_MOST)
		fault(d, "install PostgreSQL 15", "the server is version %lld",
		    (long long)(version / 10000));
	if (str_eq(field(r, 0, "in_recovery"), STR("t")))
		fault(d, "connect to the primary, or promote this server",
		    "the server is a standby: nothing can be written");
	fine(d, "PostgreSQL %lld.%lld answers", (long long)(version / 10000),
	    (long long)(version % 10000));
}

void
check_durability(struct doctor *d)
{
	static const char *const settings[] = {"fsync", "full_page_writes", "synchronous_commit"};
	PGresult *r = ask(d, &SQL_doctor_server);

	for (size_t i = 0; r && i < sizeof(settings) / sizeof(settings[0]); i++) {
		struct str v = field(r, 0, settings[i]);

		if (!str_eq(v, STR("on")))
			fault(d,
			    "set it to on in postgresql.conf and reload: an acknowledged write can be lost",
			    "%s is %.*s", settings[i], STR_ARG(v));
	}
	fine(d, "acknowledged writes are on disk");
}

void
check_connections(struct doctor *d)
{
	PGresult *r = ask(d, &SQL_doctor_connections);
	int64_t now, most;

	if (!r)
		return;
	now = number(r, "now");
	most = number(r, "most");
	if (now * 10 > most * 9)
		fault(d, "raise max_connections, or use fewer workers (SOLOPRINT_WORKERS)",
		    "%lld of %lld are in use", (long long)now, (long long)most);
	fine(d, "%lld of %lld in use", (long long)now, (long long)most);
}

void
check_roles(struct doctor *d)
{
	PGresult *r = ask(d, &SQL_doctor_roles);

	for (int i = 0; r && i < PQntuples(r); i++) {
		struct str name = field(r, i, "name"), what = field(r, i, "fault");

		if (what.n > 0)
			fault(d, "run `soloprintctl bootstrap` as superuser", "%.*s %.*s",
			    STR_ARG(name), STR_ARG(what));
	}
	fine(d, "all there, none over-privileged");
}

static bool
is_deployed(PGresult *changes, struct str name)
{
	for (int i = 0; i < PQntuples(changes); i++) {
		if (str_eq(str_from(PQgetvalue(changes, i, 0)), name))
			return true;
	}
	return false;
}

/* Each line of sqitch.plan that is neither blank nor a pragma (%) nor a comment begins with a
 * change's name. */
static int
compare_plan(struct doctor *d, struct str plan, PGresult *changes)
{
	int n = 0;

	while (plan.n > 0) {
		struct str line = str_cut(&plan, '\n'), name = str_cut(&line, ' ');

		if (name.n == 0 || name.p[0] == '%' || name.p[0] == '#' || name.p[0] == '@')
			continue;
		n++;
		if (!is_deployed(changes, name))
			fault(d, "run `soloprintctl migrate`", "the change '%.*s' is not deployed",
			    STR_ARG(name));
	}
	return n;
}

void
check_migrations(struct doctor *d)
{
	const char *dir = schema_dir(d->ctl->arena, d->schema);
	PGresult *r;
	struct str plan;
	int n;

	if (!dir) {
		skip(d, "the schema's folder was not found; name it with --schema");
		return;
	}
	r = ask(d, &SQL_doctor_changes);
	if (!r)
		return;
	plan = config_file(
	    d->ctl->arena, str_fmt(d->ctl->arena, "%s/sqitch.plan", dir).p, PLAN_MOST);
	n = compare_plan(d, plan, r);
	if (PQntuples(r) > n)
		fault(d, "install the release that the database was migrated by",
		    "the database has %d change(s) that this release does not know",
		    PQntuples(r) - n);
	fine(d, "all %d changes are deployed", n);
}

void
check_policies(struct doctor *d)
{
	PGresult *r = ask(d, &SQL_doctor_policies);

	for (int i = 0; r && i < PQntuples(r); i++)
		fault(d,
		    "run `soloprintctl migrate`; if it stays, restore the schema from its release",
		    "row level security is off for app.%.*s", STR_ARG(field(r, i, "name")));
	fine(d, "row level security is forced on every table");
}

/* A service that reports to the database: a fault when it is silent. */
static void
check_age(struct doctor *d, PGresult *r, const char *mend, const char *never)
{
	if (field(r, 0, "age_s").n == 0)
		fault(d, mend, "%s", never);
	else if (number(r, "age_s") > REPORT_AGE_MOST_S)
		fault(d, mend, "the last report is %lld s old", (long long)number(r, "age_s"));
}

/* Three descriptors a printer and some besides are what a gateway asks of its host. */
static void
check_room(struct doctor *d)
{
	PGresult *r = ask(d, &SQL_doctor_room);

	if (r && number(r, "room") < number(r, "printers"))
		fault(d,
		    "raise SOLOPRINT_GATEWAY_SESSIONS and, to three times that and 256 more, LimitNOFILE; or start another gateway",
		    "%lld printers, but the gateways that live have room for %lld",
		    (long long)number(r, "printers"), (long long)number(r, "room"));
}

void
check_gateway(struct doctor *d)
{
	PGresult *r = ask(d, &SQL_doctor_gateways);

	if (!r)
		return;
	check_age(d, r,
	    "start soloprint-gateway and read its log; printers keep their last known state until then",
	    "no gateway has ever reported");
	if (number(r, "alive") > 0)
		check_room(d);
	fine(d, "%lld alive with %lld printer session(s)", (long long)number(r, "alive"),
	    (long long)number(r, "sessions"));
}

void
check_courier(struct doctor *d)
{
	PGresult *r = ask(d, &SQL_doctor_couriers);

	if (!r)
		return;
	check_age(d, r,
	    "start soloprint-courier and read its log; what it has to do waits until then",
	    "no courier has ever reported");
	fine(d, "%lld worker(s) alive, %lld job(s) under way, %lld waiting",
	    (long long)number(r, "alive"), (long long)number(r, "running"),
	    (long long)number(r, "waiting"));
}
