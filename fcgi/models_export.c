/* The library as one file. Contract: schema/api/models.yaml#exportModels; statements: models.sql.
 */
#include "db/rows_csv.h"
#include "db/rows_json.h"
#include "gen/routes.h"
#include "http/cursor.h"
#include "query.h"
#include "reply.h"
#include "state.h"

enum {
	PAGE_MODELS = 250, /* read at once */
	ENOUGH = 16 << 20, /* bytes after which no page is begun */
	SMALLEST_PAGE = 1
};

struct export
{
	struct req *r;
	struct buf *body;
	bool csv;
	bool begun; /* there is something in it */
	bool more;
	struct uuid after; /* the last model in it */
};

static const struct err *
fetch(struct export *x, int64_t models, struct query **rows)
{
	query_again(x->r);
	*rows = query(x->r, x->csv ? &SQL_models_export_lines : &SQL_models_export);
	if (uuid_is_zero(x->after))
		bind_null(*rows);
	else
		bind_uuid(*rows, x->after);
	bind_i64(*rows, models);
	return query_run(x->r);
}

/* Rows of the page itself; what follows belongs to the next. */
static int
rows_of_page(const struct query *rows, int64_t models)
{
	int n = rows_count(rows);

	while (n && rows_i64(rows, n - 1, "_n") > models)
		n--;
	return n;
}

static void
write_rows(struct export *x, const struct query *rows, int n)
{
	if (x->csv) {
		if (!x->begun)
			rows_csv_header(x->body, rows);
		rows_csv(x->body, rows, n);
		return;
	}
	for (int i = 0; i < n; i++) {
		if (x->begun || i)
			buf_char(x->body, ',');
		rows_json_row(x->body, rows, i);
	}
}

/* Adds at most *models models; fewer, halving *models, when they do not fit into a reply. */
static const struct err *
add_page(struct export *x, int64_t *models)
{
	size_t before = x->body->n;
	struct query *rows;
	const struct err *e = fetch(x, *models, &rows);
	int n;

	if (e)
		return e;
	n = rows_of_page(rows, *models);
	write_rows(x, rows, n);
	if (x->body->overflow && *models > SMALLEST_PAGE) {
		x->body->n = before;
		x->body->overflow = false;
		*models /= 2;
		return NULL;
	}
	x->more = n < rows_count(rows);
	x->begun = true;
	if (n)
		x->after = rows_uuid(rows, n - 1, "_id");
	return x->body->overflow ? &err_internal_error : NULL;
}

static const struct err *
add_pages(struct export *x, int64_t limit)
{
	const struct err *e = NULL;
	int64_t page = PAGE_MODELS;

	x->more = true;
	while (!e && x->more && limit > 0 && x->body->n < ENOUGH) {
		struct uuid from = x->after;

		if (page > limit)
			page = limit;
		e = add_page(x, &page);
		if (!uuid_eq(from, x->after))
			limit -= page;
	}
	return e;
}

static struct str
next_cursor(const struct export *x)
{
	struct cursor c = {.scope = STR("exportModels"), .key = STR(""), .id = x->after};

	return x->more ? cursor_encode(x->r->arena, x->r->w->cursor_key, &c) : STR_NONE;
}

static void
finish(struct export *x)
{
	struct str cursor = next_cursor(x);

	if (x->csv) {
		x->r->reply.content_type = "text/csv; charset=utf-8; header=present";
		reply_header(
		    x->r, "Content-Disposition", STR("attachment; filename=\"models.csv\""));
		if (cursor.p)
			reply_header(x->r, "X-Next-Cursor", cursor);
		return;
	}
	reply_header(x->r, "Content-Disposition", STR("attachment; filename=\"models.json\""));
	buf_fmt(x->body, "],\"has_more\":%s,\"next_cursor\":", x->more ? "true" : "false");
	if (cursor.p)
		buf_json_str(x->body, cursor);
	else
		buf_str(x->body, STR("null"));
	buf_char(x->body, '}');
}

const struct err *
exportModels(struct req *r)
{
	const struct exportModels_query *in = r->query;
	struct cursor from = {.scope = STR("exportModels")};
	struct export x = {.r = r, .csv = str_eq(in->format, STR("csv"))};
	const struct err *e;

	if (in->cursor.p && !cursor_decode(r->arena, r->w->cursor_key, in->cursor, &from)) {
		violation_add(&r->violations, STR("/query/cursor"), STR("invalid_cursor"),
		    STR("is not a cursor of this export"));
		return refuse(r, &err_invalid_cursor);
	}
	x.after = from.id;
	x.body = reply_json(r, 200);
	if (!x.csv)
		buf_str(x.body, STR("{\"data\":["));
	e = add_pages(&x, in->limit);
	if (!e)
		finish(&x);
	return e;
}
