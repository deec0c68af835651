/* Statements come from .sql files beside their users; schema/gen/sql2c.py makes the constants. */
#ifndef DB_SQL_H
#define DB_SQL_H

#include <stddef.h>

enum sql_kind { SQL_ONE, SQL_MANY, SQL_EXEC };

struct sql {
	const char *name; /* also the prepared statement's name */
	const char *text;
	enum sql_kind kind;
	int nparams;
	const unsigned *oids; /* pg_type OIDs of the parameters */
};

/* A process' statements, in no particular order. */
struct sql_set {
	const struct sql *const *items;
	size_t n;
};

#endif
