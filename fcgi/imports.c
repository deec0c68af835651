/* Imports from URLs. Contract: schema/api/imports.yaml; statements: imports.sql; the fetching is
 * courier/imports.c. */
#include "faults.h"
#include "gen/routes.h"
#include "media/kind.h"
#include "query.h"
#include "reply.h"
#include "state.h"

enum { IMPORTS_OPEN_MOST = 100, ATTEMPTS_MOST = 4 };

/* A path's end may be a secret; one that is named like a print file is taken for a name. */
static struct str
name_of(struct str asked, const struct fetch_url *url)
{
	if (asked.p)
		return asked;
	if (url->filename.p && !str_eq(str_from(kind_by_name(url->filename)), STR("other")))
		return url->filename;
	return STR("download");
}

static void
add_file(struct req *r, struct uuid id, const struct fetch_url *url)
{
	const struct uploadFileFromUrl_body *in = r->in;
	struct query *q = query(r, &SQL_imports_must_be_few);

	bind_i64(q, IMPORTS_OPEN_MOST);
	query(r, &SQL_import_needs_room);
	q = query(r, &SQL_import_file);
	bind_uuid(q, id);
	bind_str(q, name_of(in->filename, url));
	bind_str(q, in->content_type);
	bind_list(q, &in->tags);
	bind_str(q, in->notes);
	if (FIELD_SET(in, UPLOADFILEFROMURL_B_MODEL_ID) &&
	    !FIELD_NULL(in, UPLOADFILEFROMURL_B_MODEL_ID))
		bind_uuid(q, in->model_id);
	else
		bind_null(q);
}

static struct query *
add_job(struct req *r, struct uuid id, struct uuid file_id, const struct fetch_url *url)
{
	const struct uploadFileFromUrl_body *in = r->in;
	struct query *q = query(r, &SQL_import_job);

	bind_uuid(q, id);
	bind_uuid(q, file_id);
	bind_str(q, url->text);
	bind_str(q, url->host);
	bind_str(q, in->sha256);
	bind_bool(q, in->filename.p != NULL);
	bind_bool(q, in->content_type.p != NULL);
	bind_i64(q, ATTEMPTS_MOST);
	return q;
}

const struct err *
uploadFileFromUrl(struct req *r)
{
	const struct uploadFileFromUrl_body *in = r->in;
	struct uuid id = uuid_v7(), file_id = uuid_v7();
	struct fetch_url url;

	if (!url_allowed(r, STR("/url"), in->url, &url))
		return refuse(r, &err_validation_failed);
	add_file(r, file_id, &url);
	return reply_one(r, add_job(r, id, file_id, &url), 202);
}
