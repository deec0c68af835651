/* Models. Contract: schema/api/models.yaml; statements: models.sql. */
#include "gen/routes.h"
#include "page.h"
#include "query.h"
#include "reply.h"

static void
bind_filters(struct query *q, const void *query_in)
{
	const struct listModels_query *in = query_in;

	bind_str(q, in->search);
	bind_list(q, &in->tag);
	bind_ids(q, &in->collection);
	if (FIELD_SET(in, LISTMODELS_Q_FAVORITE))
		bind_bool(q, in->favorite);
	else
		bind_null(q);
	bind_list(q, &in->kind);
	bind_str(q, in->created_after);
	bind_str(q, in->created_before);
}

static const struct list model_list = {
    LIST_ORDERS(models_orders),
    .total = &SQL_models_total,
    .bind_filters = bind_filters,
};

const struct err *
listModels(struct req *r)
{
	const struct listModels_query *in = r->query;
	struct page_in page = PAGE_IN(in, LISTMODELS_Q);

	if (!page.sort.p)
		page.sort = in->search.p ? STR("relevance") : STR("-updated_at");
	if (!in->search.p && str_eq(page.sort, STR("relevance"))) {
		violation_add(&r->violations, STR("/query/sort"), STR("conflict"),
		    STR("needs search to order by relevance"));
		return refuse(r, &err_invalid_parameter);
	}
	return reply_list(r, &model_list, &page);
}

static void
set_collections(struct req *r, struct uuid model_id, const struct uuid_list *collections)
{
	struct query *q = query(r, &SQL_model_collections_clear);

	bind_uuid(q, model_id);
	bind_uuid_array(q, collections->v, collections->n);
	q = query(r, &SQL_model_collections_join);
	bind_uuid(q, model_id);
	bind_uuid_array(q, collections->v, collections->n);
}

static struct query *
select_model(struct req *r, struct uuid id)
{
	struct query *q = query(r, &SQL_model_get);

	bind_uuid(q, id);
	return q;
}

const struct err *
createModel(struct req *r)
{
	const struct createModel_body *in = r->in;
	struct uuid id = uuid_v7();
	struct query *q = query(r, &SQL_model_insert);

	bind_uuid(q, id);
	bind_body(q, r);
	if (in->collection_ids.n)
		set_collections(r, id, &in->collection_ids);
	return reply_one(r, select_model(r, id), 201);
}

const struct err *
getModel(struct req *r)
{
	return reply_one(r, select_model(r, r->path_params.model_id), 200);
}

const struct err *
updateModel(struct req *r)
{
	const struct updateModel_body *in = r->in;
	struct uuid id = r->path_params.model_id;
	struct query *q = query(r, &SQL_model_update);

	bind_uuid(q, id);
	bind_body(q, r);
	bind_if_match(q, r);
	if (FIELD_SET(in, UPDATEMODEL_B_COLLECTION_IDS))
		set_collections(r, id, &in->collection_ids);
	return reply_one(r, select_model(r, id), 200);
}

const struct err *
deleteModel(struct req *r)
{
	const struct deleteModel_query *in = r->query;
	struct uuid id = r->path_params.model_id;
	struct query *q = query(r, &SQL_model_lock);

	bind_uuid(q, id);
	bind_if_match(q, r);
	q = query(r, &SQL_model_files_leave);
	bind_uuid(q, id);
	bind_str(q, in->files);
	q = query(r, &SQL_model_delete);
	bind_uuid(q, id);
	return reply_gone(r, q);
}

const struct err *
getModelStats(struct req *r)
{
	return reply_one(r, query(r, &SQL_models_stats), 200);
}
