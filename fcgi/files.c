/* Files: what is known of them, and the trash. Contract: schema/api/files.yaml; statements:
 * files.sql. */
#include "gen/routes.h"
#include "page.h"
#include "query.h"
#include "reply.h"

static void
bind_filters(struct query *q, const void *query_in)
{
	const struct listFiles_query *in = query_in;

	bind_contains(q, in->search);
	bind_list(q, &in->status);
	bind_list(q, &in->kind);
	bind_list(q, &in->tag);
	bind_uuid_if(q, FIELD_SET(in, LISTFILES_Q_UPLOADER), in->uploader);
	bind_uuid_if(q, FIELD_SET(in, LISTFILES_Q_MODEL_ID), in->model_id);
	bind_str(q, in->usable_for);
	bind_str(q, in->deleted);
}

static const struct list file_list = {
    LIST_ORDERS(files_orders),
    .total = &SQL_files_total,
    .bind_filters = bind_filters,
};

const struct err *
listFiles(struct req *r)
{
	const struct listFiles_query *in = r->query;

	return reply_list(r, &file_list, &PAGE_IN(in, LISTFILES_Q));
}

static struct query *
select_file(struct req *r)
{
	struct query *q = query(r, &SQL_file_get);

	bind_uuid(q, r->path_params.file_id);
	return q;
}

const struct err *
getFile(struct req *r)
{
	return reply_one(r, select_file(r), 200);
}

const struct err *
updateFile(struct req *r)
{
	struct query *q = query(r, &SQL_file_update);

	bind_uuid(q, r->path_params.file_id);
	bind_body(q, r);
	bind_if_match(q, r);
	return reply_one(r, select_file(r), 200);
}

const struct err *
deleteFile(struct req *r)
{
	const struct deleteFile_query *in = r->query;
	struct query *trash = query(r, &SQL_file_trash), *purge;

	bind_uuid(trash, r->path_params.file_id);
	bind_if_match(trash, r);
	purge = query(r, &SQL_file_purge);
	bind_uuid(purge, r->path_params.file_id);
	bind_bool(purge, in->permanent);
	return reply_gone(r, trash);
}

const struct err *
restoreFile(struct req *r)
{
	struct query *q = query(r, &SQL_file_restore);

	bind_uuid(q, r->path_params.file_id);
	return reply_one(r, select_file(r), 200);
}
