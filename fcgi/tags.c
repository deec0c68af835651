/* Tags of the whole organisation. Contract: schema/api/tags.yaml; statements: tags.sql. */
#include "gen/routes.h"
#include "page.h"
#include "query.h"
#include "reply.h"

static void
bind_filters(struct query *q, const void *query_in)
{
	const struct listTags_query *in = query_in;

	bind_contains(q, in->search);
}

static const struct list tag_list = {
    LIST_ORDERS(tags_orders),
    .total = &SQL_tags_total,
    .bind_filters = bind_filters,
};

const struct err *
listTags(struct req *r)
{
	const struct listTags_query *in = r->query;

	return reply_list(r, &tag_list, &PAGE_IN(in, LISTTAGS_Q));
}

const struct err *
renameTag(struct req *r)
{
	const struct renameTag_body *in = r->in;
	struct query *q = query(r, &SQL_tag_rename);

	bind_str(q, in->tag);
	bind_str(q, in->name);
	return reply_one(r, q, 200);
}

const struct err *
deleteTag(struct req *r)
{
	const struct deleteTag_body *in = r->in;
	struct query *q = query(r, &SQL_tag_delete);

	bind_str(q, in->tag);
	return reply_one(r, q, 200);
}
