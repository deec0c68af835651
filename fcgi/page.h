/* Paging of lists: by cursor (keyset) or by offset. */
#ifndef FCGI_PAGE_H
#define FCGI_PAGE_H

#include "query.h"
#include "req.h"

/* What the client asked for. */
struct page_in {
	int64_t limit, offset, skip;
	bool has_offset, has_skip;
	struct str cursor, sort;
};

struct page {
	int64_t limit, offset;
	bool by_offset;
	struct str scope; /* operation, order and filters: a cursor is good for this only */
	struct str after_key;
	struct uuid after_id; /* zero on the first page */
};

/* Fills a struct page_in from an operation's query struct; PREFIX as in its enum constants,
 * "LISTPRINTERS_Q". */
#define PAGE_IN(q, PREFIX)                                                                         \
	((struct page_in){(q)->limit, (q)->offset, (q)->skip, FIELD_SET((q), PREFIX##_OFFSET),     \
	    FIELD_SET((q), PREFIX##_SKIP), (q)->cursor, (q)->sort})

/* err_invalid_cursor, err_offset_too_large, err_invalid_parameter (cursor together with offset). */
const struct err *page_parse(struct req *r, const struct page_in *in, struct page *out);

/* One statement per order: the allow-list of a list operation. */
struct page_order {
	struct str sort; /* as in the contract: "name", "-name" */
	const struct sql *sql;
};

/* The statement for in->sort; the contract has checked that there is one. */
const struct sql *page_statement(const struct page_order *orders, size_t n, struct str sort);
/* Binds after_key, after_id (NULLs on the first page), limit + 1 and offset. */
void bind_page(struct query *q, const struct page *page);
struct str page_cursor(struct req *r, const struct page *page, struct str key, struct uuid id);

#endif
