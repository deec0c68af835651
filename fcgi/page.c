#include "page.h"

#include "http/cursor.h"
#include "state.h"

enum { OFFSET_MOST = 10000 };

/* Everything in the query string but the position: a cursor must not be used with other filters. */
static struct str
page_scope(struct req *r)
{
	struct buf b;
	struct str rest = r->query_string, out;

	buf_init(&b, 16384);
	buf_str(&b, str_from(r->route->operation));
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

const struct err *
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

const struct sql *
page_statement(const struct page_order *orders, size_t n, struct str sort)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(orders[i].sort, sort))
			return orders[i].sql;
	must(!"the contract allows an order that has no statement");
	return NULL;
}

void
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

struct str
page_cursor(struct req *r, const struct page *page, struct str key, struct uuid id)
{
	struct cursor c = {.scope = page->scope, .key = key, .id = id};

	return cursor_encode(r->arena, r->w->cursor_key, &c);
}
