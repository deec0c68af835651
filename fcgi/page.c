#include "page.h"

#include "db/rows_json.h"
#include "http/cursor.h"
#include "reply.h"
#include "state.h"

enum { OFFSET_MOST = 10000 };

struct page {
	int64_t limit, offset;
	bool by_offset;
	struct str scope; /* operation, order and filters: a cursor is good for this only */
	struct str after_key;
	struct uuid after_id; /* zero on the first page */
};

/* Everything in the query string but the position, and whose list it is: a cursor must not be used
 * with other filters. */
static struct str
page_scope(struct req *r)
{
	struct buf b;
	struct str rest = r->query_string, out;

	buf_init(&b, 16384);
	buf_str(&b, str_from(r->route->operation));
	if (r->route->n_path_fields)
		buf_str(&b, r->path);
	while (rest.n) {
		struct str pair = str_cut(&rest, '&');

		if (str_starts(pair, STR("cursor=")) || str_starts(pair, STR("limit=")))
			continue;
		buf_char(&b, '&');
		buf_str(&b, pair);
	}
	out = str_dup(r->arena, buf_view(&b));
	buf_fini(&b);
	return out;
}

static const struct err *
page_after_cursor(struct req *r, struct str text, struct page *out)
{
	struct cursor c = {.scope = out->scope};

	if (!cursor_decode(r->arena, r->w->cursor_key, text, &c)) {
		violation_add(&r->violations, STR("/query/cursor"), STR("invalid_cursor"),
		    STR("is not a cursor of this list in this order with these filters"));
		return &err_invalid_cursor;
	}
	out->after_key = c.key;
	out->after_id = c.id;
	return NULL;
}

static const struct err *
page_parse(struct req *r, const struct page_in *in, struct page *out)
{
	*out = (struct page){
	    .limit = in->limit,
	    .offset = in->has_offset ? in->offset
		: in->has_skip       ? in->skip
				     : 0,
	    .by_offset = in->has_offset || in->has_skip,
	    .scope = page_scope(r),
	};
	if (out->by_offset && in->cursor.p) {
		violation_add(&r->violations, STR("/query/cursor"), STR("conflict"),
		    STR("cannot be used together with offset or skip"));
		return &err_invalid_parameter;
	}
	if (out->offset > OFFSET_MOST) {
		violation_add(&r->violations,
		    in->has_offset ? STR("/query/offset") : STR("/query/skip"), STR("too_large"),
		    STR("must be at most 10000; page with the cursor beyond that"));
		return &err_offset_too_large;
	}
	return in->cursor.p ? page_after_cursor(r, in->cursor, out) : NULL;
}

/* The contract has checked that the order is one of the list's. */
static const struct sql *
page_statement(const struct list *list, struct str sort)
{
	size_t i = 0;

	while (i < list->n_orders && !str_eq(list->orders[i].sort, sort))
		i++;
	must(i < list->n_orders);
	return list->orders[i].sql;
}

static void
bind_page(struct query *q, const struct page *page)
{
	if (uuid_is_zero(page->after_id)) {
		bind_null(q);
		bind_null(q);
	} else {
		bind_str(q, page->after_key);
		bind_uuid(q, page->after_id);
	}
	bind_i64(q, page->limit + 1);
	bind_i64(q, page->offset);
}

static struct str
page_cursor(struct req *r, const struct page *page, const struct query *q, int last)
{
	struct cursor c = {
	    .scope = page->scope,
	    .key = rows_get(q, last, "_key"),
	    .id = rows_uuid(q, last, rows_column(q, "_id") < 0 ? "id" : "_id"),
	};

	return cursor_encode(r->arena, r->w->cursor_key, &c);
}

/* One row more than the limit was asked for: it says that there is more. */
static void
write_page(struct req *r, const struct query *q, const struct query *total, const struct page *page)
{
	bool more = rows_count(q) > page->limit;
	int n = more ? (int)page->limit : rows_count(q);
	struct buf *b = reply_json(r, 200);

	buf_str(b, STR("{\"data\":"));
	rows_json_array(b, q, n);
	buf_fmt(b, ",\"has_more\":%s,\"next_cursor\":", more ? "true" : "false");
	if (more && !page->by_offset)
		buf_json_str(b, page_cursor(r, page, q, n - 1));
	else
		buf_str(b, STR("null"));
	if (total) {
		struct str count = rows_get(total, 0, "total");

		buf_fmt(b, ",\"total\":%.*s", STR_ARG(count));
		reply_header(r, "X-Total-Count", count);
	}
	buf_char(b, '}');
}

static struct query *
page_query(struct req *r, const struct sql *sql, const struct list *list, const struct uuid *owner)
{
	struct query *q = query(r, sql);

	if (owner)
		bind_uuid(q, *owner);
	if (list->bind_filters)
		list->bind_filters(q, r->query);
	return q;
}

static const struct err *
run_list(struct req *r, const struct list *list, const struct uuid *owner, const struct page_in *in)
{
	struct query *rows, *known = NULL, *total = NULL;
	struct page page;
	const struct err *e = page_parse(r, in, &page);

	if (e)
		return refuse(r, e);
	if (owner) {
		known = query(r, list->owner);
		bind_uuid(known, *owner);
	}
	rows = page_query(r, page_statement(list, in->sort), list, owner);
	bind_page(rows, &page);
	if (page.by_offset)
		total = page_query(r, list->total, list, owner);
	e = query_run(r);
	if (e)
		return e;
	if (known && rows_count(known) == 0)
		return &err_resource_not_found;
	write_page(r, rows, total, &page);
	return NULL;
}

const struct err *
reply_list(struct req *r, const struct list *list, const struct page_in *in)
{
	return run_list(r, list, NULL, in);
}

const struct err *
reply_list_of(struct req *r, const struct list *list, struct uuid owner, const struct page_in *in)
{
	return run_list(r, list, &owner, in);
}
