/* Downloads: signed URLs, and what is behind them. Contract: schema/api/files.yaml; statements:
 * downloads.sql. */
#include "base/clock.h"
#include "gen/routes.h"
#include "http/disposition.h"
#include "query.h"
#include "reply.h"
#include "signed.h"
#include "state.h"

enum { URL_S = 300, REMOTE_URL_S = 300 };

/* What a browser may be told that a file is: nothing that it runs. inline: it may be shown. */
static const struct {
	struct str type;
	bool inline_too;
} harmless[] = {
    {STR_INIT("text/x.gcode"), false},
    {STR_INIT("text/plain"), true},
    {STR_INIT("model/stl"), false},
    {STR_INIT("model/3mf"), false},
    {STR_INIT("model/step"), false},
    {STR_INIT("model/obj"), false},
    {STR_INIT("application/x-bgcode"), false},
    {STR_INIT("image/png"), true},
    {STR_INIT("image/jpeg"), true},
    {STR_INIT("image/x-qoi"), true},
};

/* A file to be sent. */
struct content {
	struct uuid blob;
	bool remote;
	const char *type;
	struct str disposition; /* the header's value; STR_NONE: none */
};

/* "application/octet-stream" unless it is known to be harmless; *shown: may be shown. */
static const char *
safe_type(struct str type, bool *shown)
{
	*shown = false;
	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
		if (!str_ieq(type, harmless[i].type))
			continue;
		*shown = harmless[i].inline_too;
		return harmless[i].type.p;
	}
	return "application/octet-stream";
}

/* nginx sends what is here, the object store what is there. */
static void
reply_content(struct req *r, const struct content *c)
{
	struct s3_presign there = {
	    .method = "GET",
	    .expires_s = REMOTE_URL_S,
	    .size = -1,
	    .content_type = str_from(c->type),
	    .content_disposition = c->disposition,
	};

	if (c->remote) {
		there.key = s3_blob_key(r->arena, &r->w->s3, c->blob);
		reply_found(r, s3_presign(r->arena, &r->w->s3, &there).url);
		return;
	}
	reply_blob(r, c->blob, c->type);
	if (c->disposition.p)
		reply_header(r, "Content-Disposition", c->disposition);
}

/* Runs the transaction; the row is a file with content that is not in the trash. */
static const struct err *
load_content(struct req *r, struct query **out)
{
	struct query *q = query(r, &SQL_download_get);
	const struct err *e;

	bind_uuid(q, r->path_params.file_id);
	*out = q;
	e = query_run(r);
	if (e)
		return e;
	if (rows_count(q) == 0)
		return &err_resource_not_found;
	if (rows_bool(q, 0, "trashed"))
		req_detail(r, "the file is in the trash");
	else if (!rows_get(q, 0, "blob_id").p)
		req_detail(
		    r, "the file is %.*s and has no content", STR_ARG(rows_get(q, 0, "status")));
	else
		return NULL;
	return &err_file_status_conflict;
}

const struct err *
downloadFile(struct req *r)
{
	const struct downloadFile_query *in = r->query;
	struct query *q;
	const struct err *e = load_content(r, &q);
	struct sign_claim c = {.purpose = SIGN_DOWNLOAD,
	    .org = r->auth.org_id,
	    .file = r->path_params.file_id,
	    .disposition = in->disposition,
	    .expires_s = clock_unix_s() + URL_S};
	struct buf *b;

	if (e)
		return e;
	b = reply_json(r, 200);
	buf_str(b, STR("{\"url\":"));
	buf_json_str(b, signed_url(r, &c));
	buf_str(b, STR(",\"expires_at\":"));
	buf_json_str(b, clock_rfc3339(r->arena, c.expires_s * 1000));
	buf_str(b, STR(",\"filename\":"));
	buf_json_str(b, rows_get(q, 0, "filename"));
	buf_fmt(
	    b, ",\"size_bytes\":%lld,\"content_type\":", (long long)rows_i64(q, 0, "size_bytes"));
	buf_json_str(b, rows_get(q, 0, "content_type"));
	buf_str(b, STR(",\"sha256\":"));
	buf_json_str(b, rows_get(q, 0, "sha256"));
	buf_char(b, '}');
	return NULL;
}

const struct err *
getStoredFile(struct req *r)
{
	const struct getStoredFile_query *in = r->query;
	const struct signed_query sent = {
	    .org = in->org, .exp = in->exp, .extra = in->disposition, .sig = in->sig};
	struct sign_claim claim;
	struct content c;
	struct query *q;
	const struct err *e = signed_enter(r, SIGN_DOWNLOAD, &sent, &claim);
	bool shown;

	if (!e)
		e = load_content(r, &q);
	if (e)
		return e;
	c.blob = rows_uuid(q, 0, "blob_id");
	c.remote = rows_bool(q, 0, "remote");
	c.type = safe_type(rows_get(q, 0, "content_type"), &shown);
	shown = shown && str_eq(claim.disposition, STR("inline"));
	c.disposition = disposition(
	    r->arena, shown ? STR("inline") : STR("attachment"), rows_get(q, 0, "filename"));
	reply_content(r, &c);
	return NULL;
}

const struct err *
getFileThumbnail(struct req *r)
{
	struct query *q = query(r, &SQL_thumbnail_get);
	struct content c = {.disposition = STR_NONE};
	const struct err *e;
	bool shown;

	bind_uuid(q, r->path_params.file_id);
	bind_i64(q, r->path_params.n);
	e = query_run(r);
	if (!e && rows_count(q) == 0)
		e = &err_resource_not_found;
	if (e)
		return e;
	c.blob = rows_uuid(q, 0, "blob_id");
	c.remote = rows_bool(q, 0, "remote");
	c.type = safe_type(rows_get(q, 0, "content_type"), &shown);
	reply_content(r, &c);
	return NULL;
}
