/* Statements come from .sql files beside their users; schema/gen/sql2c.py makes the constants. */
#ifndef DB_SQL_H
#define DB_SQL_H

#include "base/str.h"

enum sql_kind { SQL_ONE, SQL_MANY, SQL_EXEC };

struct sql {
	const char *name; /* also the prepared statement's name; NULL: sent as text each time */
	const char *text;
	enum sql_kind kind;
	int nparams;
	const unsigned *oids; /* pg_type OIDs of the parameters */
};

/* One order of a list: what clients call it ("name", "-name"), and its statement. */
struct sql_order {
	struct str sort;
	const struct sql *sql;
};

/* A process' statements, in no particular order. */
struct sql_set {
	const struct sql *const *items;
	size_t n;
};

#endif
