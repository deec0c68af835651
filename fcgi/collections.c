/* Collections of models. Contract: schema/api/collections.yaml; statements: collections.sql. */
#include "gen/routes.h"
#include "page.h"
#include "query.h"
#include "reply.h"

static void
bind_filters(struct query *q, const void *query_in)
{
	const struct listCollections_query *in = query_in;

	bind_contains(q, in->search);
}

static const struct list collection_list = {
    LIST_ORDERS(collections_orders),
    .total = &SQL_collections_total,
    .bind_filters = bind_filters,
};

const struct err *
listCollections(struct req *r)
{
	const struct listCollections_query *in = r->query;

	return reply_list(r, &collection_list, &PAGE_IN(in, LISTCOLLECTIONS_Q));
}

/* One change of what is in a collection. */
static void
models(struct req *r, const struct sql *sql, struct uuid id, const struct uuid_list *list)
{
	struct query *q = query(r, sql);

	bind_uuid(q, id);
	bind_uuid_array(q, list->v, list->n);
}

static struct query *
select_collection(struct req *r, struct uuid id)
{
	struct query *q = query(r, &SQL_collection_get);

	bind_uuid(q, id);
	return q;
}

const struct err *
createCollection(struct req *r)
{
	const struct createCollection_body *in = r->in;
	struct uuid id = uuid_v7();
	struct query *q = query(r, &SQL_collection_insert);

	bind_uuid(q, id);
	bind_body(q, r);
	if (in->model_ids.n)
		models(r, &SQL_collection_models_add, id, &in->model_ids);
	return reply_one(r, select_collection(r, id), 201);
}

const struct err *
getCollection(struct req *r)
{
	return reply_one(r, select_collection(r, r->path_params.collection_id), 200);
}

const struct err *
updateCollection(struct req *r)
{
	const struct updateCollection_body *in = r->in;
	struct uuid id = r->path_params.collection_id;
	struct query *q = query(r, &SQL_collection_update);

	bind_uuid(q, id);
	bind_body(q, r);
	bind_if_match(q, r);
	if (FIELD_SET(in, UPDATECOLLECTION_B_MODEL_IDS)) {
		models(r, &SQL_collection_models_keep, id, &in->model_ids);
		models(r, &SQL_collection_models_add, id, &in->model_ids);
	} else {
		models(r, &SQL_collection_models_remove, id, &in->remove_model_ids);
		models(r, &SQL_collection_models_add, id, &in->add_model_ids);
	}
	return reply_one(r, select_collection(r, id), 200);
}

const struct err *
deleteCollection(struct req *r)
{
	struct query *q = query(r, &SQL_collection_delete);

	bind_uuid(q, r->path_params.collection_id);
	bind_if_match(q, r);
	return reply_gone(r, q);
}
