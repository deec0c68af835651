/* migrate: runs Sqitch on the project in schema/db. */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl.h"

static bool
has_plan(struct arena *a, const char *dir)
{
	return access(str_fmt(a, "%s/sqitch.plan", dir).p, R_OK) == 0;
}

const char *
schema_dir(struct arena *a, const char *given)
{
	static const char *const beside[] = {
	    "../../schema/db", "../../../schema/db", "../share/soloprint/schema/db"};
	const char *fixed = given ? given : getenv("SOLOPRINT_SCHEMA");
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	const char *slash;

	if (fixed)
		return has_plan(a, fixed) ? fixed : NULL;
	exe[n > 0 ? n : 0] = '\0';
	slash = strrchr(exe, '/');
	for (size_t i = 0; slash && i < sizeof(beside) / sizeof(beside[0]); i++) {
		const char *dir = str_fmt(a, "%.*s/%s", (int)(slash - exe), exe, beside[i]).p;

		if (has_plan(a, dir))
			return dir;
	}
	return has_plan(a, "schema/db") ? "schema/db" : NULL;
}

/* Sqitch and psql read the connection from libpq's variables. */
static bool
export_connection(const char *conninfo)
{
	static const struct {
		const char *keyword, *variable;
	} map[] = {{"host", "PGHOST"}, {"port", "PGPORT"}, {"user", "PGUSER"},
	    {"dbname", "PGDATABASE"}, {"password", "PGPASSWORD"}, {"sslmode", "PGSSLMODE"}};
	char *why = NULL;
	PQconninfoOption *opts = PQconninfoParse(conninfo, &why);

	if (!opts) {
		fail("SOLOPRINT_DB is malformed: %s", why ? why : "");
		PQfreemem(why);
		return false;
	}
	for (PQconninfoOption *o = opts; o->keyword; o++) {
		for (size_t i = 0; o->val && i < sizeof(map) / sizeof(map[0]); i++) {
			if (strcmp(o->keyword, map[i].keyword) == 0)
				setenv(map[i].variable, o->val, 1);
		}
	}
	PQconninfoFree(opts);
	return true;
}

/* Everything Sqitch makes, its registry included, belongs to the owner role. */
static void
export_sqitch(void)
{
	setenv("PGOPTIONS", "-c role=soloprint_owner -c client_min_messages=warning", 1);
	setenv("SQITCH_FULLNAME", "SoLoPrint", 1);
	setenv("SQITCH_EMAIL", "soloprint@localhost", 1);
	setenv("SQITCH_USER_CONFIG", "/nonexistent", 1);
	setenv("LC_ALL", "C.UTF-8", 1);
}

static int
run_in(const char *dir, char *const argv[])
{
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int status, rc;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addchdir_np(&actions, dir);
	rc = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (rc != 0)
		return fail("%s did not start: %s (Debian package: sqitch)", argv[0], strerror(rc));
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return fail("%s was lost: %s", argv[0], strerror(errno));
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int
cmd_migrate(struct ctl *c)
{
	static char sqitch[] = "sqitch", deploy[] = "deploy", status[] = "status",
		    verify[] = "--verify", target[] = "db:pg:";
	const char *dir = NULL;
	bool ask = false;
	const struct opt opts[] = {
	    {"status", OPT_FLAG, &ask, false}, {"schema", OPT_STR, &dir, false}};
	int rc;

	if (!opts_parse(c, opts, 2, NULL, 0))
		return 2;
	dir = schema_dir(c->arena, dir);
	if (!dir)
		return fail(
		    "the schema's folder was not found; name it with --schema DIR or SOLOPRINT_SCHEMA");
	if (!connect_owner(c) || !export_connection(c->conninfo))
		return 1;
	export_sqitch();
	rc = run_in(dir,
	    ask ? (char *[]){sqitch, status, target, NULL}
		: (char *[]){sqitch, deploy, verify, target, NULL});
	if (rc != 0 && !ask)
		fail("the migration failed; nothing of the failed change was kept");
	return rc != 0;
}
