/* Parameters and result access of db/pg.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "db/pg.h"

struct query *
pg_query(struct arena *a, const struct sql *sql)
{
	struct query *q = ARENA_NEW(a, struct query);
	size_t n = (size_t)sql->nparams;

	q->sql = sql;
	q->arena = a;
	q->values = arena_array(a, n, sizeof(*q->values));
	q->lengths = arena_array(a, n, sizeof(*q->lengths));
	q->formats = arena_array(a, n, sizeof(*q->formats));
	return q;
}

static void
bind(struct query *q, const char *value, size_t n, int format)
{
	must(q->n < q->sql->nparams && n <= INT32_MAX);
	q->values[q->n] = value;
	q->lengths[q->n] = (int)n;
	q->formats[q->n] = format;
	q->n++;
}

void
bind_null(struct query *q)
{
	bind(q, NULL, 0, 0);
}

void
bind_str(struct query *q, struct str s)
{
	bind(q, s.p ? str_z(q->arena, s) : NULL, s.n, 0);
}

void
bind_i64(struct query *q, int64_t v)
{
	bind_str(q, str_fmt(q->arena, "%lld", (long long)v));
}

void
bind_bool(struct query *q, bool v)
{
	bind(q, v ? "t" : "f", 1, 0);
}

void
bind_bytes(struct query *q, const void *p, size_t n)
{
	bind(q, p, n, 1);
}

void
bind_uuid(struct query *q, struct uuid u)
{
	struct uuid *copy = arena_alloc(q->arena, sizeof(*copy));

	*copy = u;
	bind_bytes(q, copy->b, sizeof(copy->b));
}

/* One array element: quoted, with backslash before quote and backslash (PostgreSQL manual 8.15.6).
 */
static void
array_item(struct buf *b, struct str s)
{
	buf_char(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_char(b, '\\');
		buf_char(b, s.p[i]);
	}
	buf_char(b, '"');
}

void
bind_str_array(struct query *q, const struct str *items, size_t n)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	buf_char(&b, '{');
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_char(&b, ',');
		array_item(&b, items[i]);
	}
	buf_char(&b, '}');
	must(!b.overflow);
	bind_str(q, buf_view(&b));
	buf_fini(&b);
}

void
bind_uuid_array(struct query *q, const struct uuid *items, size_t n)
{
	struct str *texts = arena_array(q->arena, n, sizeof(*texts));

	for (size_t i = 0; i < n; i++)
		texts[i] = uuid_str(q->arena, items[i]);
	bind_str_array(q, texts, n);
}

int
rows_count(const struct query *q)
{
	return PQntuples(q->result);
}

int
rows_column(const struct query *q, const char *name)
{
	return PQfnumber(q->result, name);
}

struct str
rows_str(const struct query *q, int row, int column)
{
	if (PQgetisnull(q->result, row, column))
		return STR_NONE;
	return (struct str){
	    PQgetvalue(q->result, row, column), (size_t)PQgetlength(q->result, row, column)};
}

struct str
rows_get(const struct query *q, int row, const char *column)
{
	int c = rows_column(q, column);

	must(c >= 0);
	return rows_str(q, row, c);
}

int64_t
rows_i64(const struct query *q, int row, const char *column)
{
	int64_t v = 0;
	struct str s = rows_get(q, row, column);

	must(!s.p || str_to_i64(s, &v));
	return v;
}

bool
rows_bool(const struct query *q, int row, const char *column)
{
	return str_eq(rows_get(q, row, column), STR("t"));
}

struct uuid
rows_uuid(const struct query *q, int row, const char *column)
{
	struct uuid u = {{0}};
	struct str s = rows_get(q, row, column);

	must(!s.p || uuid_parse(s, &u));
	return u;
}
