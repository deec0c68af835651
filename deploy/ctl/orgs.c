/* org create, org list. */
#include <ctype.h>
#include <stdio.h>

#include "ctl.h"
#include "gen/ctl_sql.h"

enum { SLUG_MOST = 63 };

/* "North High, 2nd" → "north-high-2nd". NULL when nothing is left. */
static const char *
slug_from(struct arena *a, const char *name)
{
	char *slug = arena_zalloc(a, SLUG_MOST + 1);
	size_t n = 0;

	for (; *name && n < SLUG_MOST; name++) {
		unsigned char ch = (unsigned char)*name;

		if (ch < 128 && isalnum(ch))
			slug[n++] = (char)tolower(ch);
		else if (n > 0 && slug[n - 1] != '-')
			slug[n++] = '-';
	}
	while (n > 0 && slug[n - 1] == '-')
		slug[--n] = '\0';
	return n > 0 ? slug : NULL;
}

int
cmd_org_create(struct ctl *c)
{
	const char *name, *slug = NULL;
	const struct opt opts[] = {{"slug", OPT_STR, &slug, false}};
	PGconn *db;
	PGresult *r;

	if (!opts_parse(c, opts, 1, &name, 1))
		return 2;
	slug = slug ? slug : slug_from(c->arena, name);
	if (!slug)
		return fail("no slug can be made of this name; give one with --slug");
	db = connect_owner(c);
	r = db ? run_sql(c, db, &SQL_org_create, (const char *const[]){name, slug}) : NULL;
	if (!r)
		return 1;
	if (c->json)
		print_object(c, r);
	else
		printf("%s\n", PQgetvalue(r, 0, 0));
	note(
	    "organisation '%s' is ready; next: soloprintctl key create --org %s --name … --capabilities all",
	    name, slug);
	return 0;
}

int
cmd_org_list(struct ctl *c)
{
	PGconn *db;
	PGresult *r;

	if (!opts_parse(c, NULL, 0, NULL, 0))
		return 2;
	db = connect_owner(c);
	r = db ? run_sql(c, db, &SQL_org_list, NULL) : NULL;
	if (!r)
		return 1;
	print_rows(c, r);
	return 0;
}
