/* key create, list, revoke, rotate. The key itself is printed once, alone on stdout. */
#include <stdio.h>
#include <string.h>

#include "auth/key.h"
#include "base/uuid.h"
#include "ctl.h"
#include "db/rows_json.h"
#include "gen/ctl_sql.h"

#define HEX "0123456789abcdefABCDEF"

static const char *const capability_names[] = {"operations.read", "queue.manage", "printer.manage",
    "spool.manage", "integrations.manage", "org.manage_users"};
static const char all_capabilities[] =
    "operations.read,queue.manage,printer.manage,spool.manage,integrations.manage,org.manage_users";

/* What `key create` was asked for; the texts are ready for Postgres, NULL where not given. */
struct wish {
	const char *org, *name, *capabilities, *printers, *cidrs, *expires, *kind, *limits;
};

static bool
is_capability(struct str s)
{
	for (size_t i = 0; i < sizeof(capability_names) / sizeof(capability_names[0]); i++) {
		if (str_eq(s, str_from(capability_names[i])))
			return true;
	}
	return false;
}

static bool
check_capabilities(struct ctl *c, struct wish *w)
{
	struct str rest;

	if (strcmp(w->capabilities, "all") == 0)
		w->capabilities = all_capabilities;
	rest = str_from(strcmp(w->capabilities, "none") == 0 ? "" : w->capabilities);
	while (rest.n > 0) {
		struct str one = str_cut(&rest, ',');

		if (!is_capability(one))
			return fail("there is no capability '%.*s'; there are: %s", STR_ARG(one),
				   all_capabilities),
			       false;
	}
	w->capabilities = list_array(c->arena, w->capabilities, "abcdefghijklmnopqrstuvwxyz._");
	return w->capabilities ||
	    (fail("--capabilities is a list separated by commas, or all"), false);
}

static bool
check_restrictions(struct ctl *c, struct wish *w)
{
	if (w->printers && !(w->printers = list_array(c->arena, w->printers, HEX "-")))
		return fail("--printers is a list of ids separated by commas, or none"), false;
	if (w->cidrs && !(w->cidrs = list_array(c->arena, w->cidrs, HEX ".:/")))
		return fail(
			   "--cidrs is a list of networks separated by commas, for example 198.51.100.0/24"),
		       false;
	if (w->limits && !(w->limits = limits_json(c->arena, w->limits)))
		return fail("--rate-limits looks like read=100,write=30,control=10,burst=20"),
		       false;
	return true;
}

static bool
check_wish(struct ctl *c, struct wish *w, enum key_kind *kind)
{
	if (!key_kind_parse(str_from(w->kind), kind) || *kind == KEY_SCIM)
		return fail("--kind is live or dev"), false;
	if (strcmp(w->expires, "never") == 0)
		w->expires = NULL;
	else if (!(w->expires = duration_interval(c->arena, w->expires)))
		return fail("--expires looks like 90d or 12h, or is never"), false;
	return check_capabilities(c, w) && check_restrictions(c, w);
}

static const char *
hash_text(struct arena *a, struct str key)
{
	uint8_t hash[KEY_HASH_LEN];

	key_hash(key, hash);
	return str_fmt(a, "\\x%.*s", STR_ARG(str_hex(a, hash, sizeof(hash)))).p;
}

/* The row as JSON with the key as its last member, or the key alone. */
static void
show_key(struct ctl *c, PGresult *row, struct str key)
{
	struct query q = {.arena = c->arena, .result = row};
	struct buf b;

	if (!c->json) {
		printf("%.*s\n", STR_ARG(key));
		note("key %s; it is not shown again", PQgetvalue(row, 0, 0));
		return;
	}
	buf_init(&b, 1 << 20);
	rows_json_row(&b, &q, 0);
	printf("%.*s,\"key\":\"%.*s\"}\n", (int)(b.n - 1), b.p, STR_ARG(key));
	buf_fini(&b);
}

int
cmd_key_create(struct ctl *c)
{
	struct wish w = {.expires = "90d", .kind = "live"};
	const struct opt opts[] = {{"org", OPT_STR, &w.org, true}, {"name", OPT_STR, &w.name, true},
	    {"capabilities", OPT_STR, &w.capabilities, true},
	    {"printers", OPT_STR, &w.printers, false}, {"cidrs", OPT_STR, &w.cidrs, false},
	    {"expires", OPT_STR, &w.expires, false}, {"kind", OPT_STR, &w.kind, false},
	    {"rate-limits", OPT_STR, &w.limits, false}};
	enum key_kind kind;
	struct str key;
	PGconn *db;
	PGresult *r;

	if (!opts_parse(c, opts, sizeof(opts) / sizeof(opts[0]), NULL, 0) ||
	    !check_wish(c, &w, &kind))
		return 2;
	db = connect_owner(c);
	if (!db || !begin_org(c, db, w.org))
		return 1;
	key = key_generate(c->arena, kind);
	r = run_sql(c, db, &SQL_key_insert,
	    (const char *const[]){w.kind, w.name, str_z(c->arena, key_prefix(key)),
		hash_text(c->arena, key), w.capabilities, w.printers, w.cidrs, w.limits,
		w.expires});
	if (!r || !run_sql(c, db, &SQL_ctl_commit, NULL))
		return 1;
	show_key(c, r, key);
	return 0;
}

int
cmd_key_list(struct ctl *c)
{
	const char *org = NULL;
	const struct opt opts[] = {{"org", OPT_STR, &org, true}};
	PGconn *db;
	PGresult *r;

	if (!opts_parse(c, opts, 1, NULL, 0))
		return 2;
	db = connect_owner(c);
	if (!db || !begin_org(c, db, org))
		return 1;
	r = run_sql(c, db, &SQL_key_list, NULL);
	if (!r)
		return 1;
	print_rows(c, r);
	return 0;
}

static bool
is_uuid(const char *text)
{
	struct uuid u;

	return uuid_parse(str_from(text), &u) ||
	    (fail("'%s' is not a key's id; `key list` shows them", text), false);
}

int
cmd_key_revoke(struct ctl *c)
{
	const char *org = NULL, *id;
	const struct opt opts[] = {{"org", OPT_STR, &org, true}};
	PGconn *db;
	PGresult *r;

	if (!opts_parse(c, opts, 1, &id, 1) || !is_uuid(id))
		return 2;
	db = connect_owner(c);
	if (!db || !begin_org(c, db, org))
		return 1;
	r = run_sql(c, db, &SQL_key_revoke, (const char *const[]){id});
	if (!r)
		return 1;
	if (PQntuples(r) == 0)
		return fail("%s has no live key %s", org, id);
	if (!run_sql(c, db, &SQL_ctl_commit, NULL))
		return 1;
	note("key %s is revoked", id);
	return 0;
}

/* The successor's row; NULL after a message. */
static PGresult *
replace_key(struct ctl *c, PGconn *db, const char *id, const char *grace, struct str *key)
{
	PGresult *old = run_sql(c, db, &SQL_key_for_rotation, (const char *const[]){id}), *r;
	enum key_kind kind;

	if (!old)
		return NULL;
	if (PQntuples(old) == 0 || !key_kind_parse(str_from(PQgetvalue(old, 0, 0)), &kind))
		return fail("there is no live key %s", id), NULL;
	*key = key_generate(c->arena, kind);
	r = run_sql(c, db, &SQL_key_insert_successor,
	    (const char *const[]){
		id, str_z(c->arena, key_prefix(*key)), hash_text(c->arena, *key)});
	if (!r ||
	    !run_sql(c, db, &SQL_key_retire, (const char *const[]){id, PQgetvalue(r, 0, 0), grace}))
		return NULL;
	return r;
}

int
cmd_key_rotate(struct ctl *c)
{
	const char *org = NULL, *grace = "24h", *id;
	const struct opt opts[] = {{"org", OPT_STR, &org, true}, {"grace", OPT_STR, &grace, false}};
	struct str key;
	PGconn *db;
	PGresult *r;

	if (!opts_parse(c, opts, 2, &id, 1) || !is_uuid(id))
		return 2;
	if (!(grace = duration_interval(c->arena, grace)))
		return fail("--grace looks like 24h or 7d"), 2;
	db = connect_owner(c);
	if (!db || !begin_org(c, db, org))
		return 1;
	r = replace_key(c, db, id, grace, &key);
	if (!r || !run_sql(c, db, &SQL_ctl_commit, NULL))
		return 1;
	show_key(c, r, key);
	return 0;
}
