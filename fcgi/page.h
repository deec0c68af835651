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

/* Fills a struct page_in from an operation's query struct; PREFIX as in its enum constants,
 * "LISTPRINTERS_Q". */
#define PAGE_IN(q, PREFIX)                                                                         \
	((struct page_in){(q)->limit, (q)->offset, (q)->skip, FIELD_SET((q), PREFIX##_OFFSET),     \
	    FIELD_SET((q), PREFIX##_SKIP), (q)->cursor, (q)->sort})

/* A list operation. Its statements take the filters' parameters first; the rows' then after_key,
 * after_id (NULLs on the first page), limit + 1 and offset, and give a hidden column _key with the
 * sort key as text. The id is the column id, or a hidden column _id. */
struct list {
	const struct sql_order *orders; /* generated from the statement's :page */
	size_t n_orders;
	const struct sql *total; /* one column "total"; for pages by offset */
	const struct sql *owner; /* of reply_list_of: finds the object that the list belongs to */
	void (*bind_filters)(struct query *q,
	    const void *in); /* in: the operation's query struct; NULL: there are none */
};

/* The table of orders, an array. */
#define LIST_ORDERS(table) .orders = (table), .n_orders = sizeof(table) / sizeof((table)[0])

/* Runs the transaction and replies with the page that was asked for. err_invalid_cursor,
 * err_offset_too_large, err_invalid_parameter (cursor together with offset). */
const struct err *reply_list(struct req *r, const struct list *list, const struct page_in *in);
/* The same of a list within an object: its id is the owner statement's one parameter, and the first
 * of the others'. err_resource_not_found when that gives no row. */
const struct err *reply_list_of(
    struct req *r, const struct list *list, struct uuid owner, const struct page_in *in);

#endif
