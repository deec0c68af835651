/* Uploads: where bytes go, and whether they may. Contract: schema/api/files.yaml; statements:
 * uploads.sql. */
#include "uploads.h"

#include "base/clock.h"
#include "gen/routes.h"
#include "query.h"
#include "reply.h"
#include "signed.h"
#include "state.h"
#include "store/parts.h"
#include "store/store.h"

enum {
	URL_S = 3600,             /* an upload's time, and a second more for each … */
	BYTES_A_SECOND = 1 << 20, /* … of these */
	URL_MOST_S = 24 * 3600,
	DISK_RESERVE_BYTES = 256 << 20, /* that uploads leave free */
};

/* --- register --------------------------------------------------------------------------------- */

struct upload_url {
	struct str url;
	struct s3_presigned remote;
};

static struct upload_url
part_url(const struct req *r, struct sign_claim *c)
{
	struct upload_url u = {.url = STR_NONE};

	if (!r->w->s3.preferred) {
		u.url = signed_url(r, c);
		return u;
	}
	u.remote = s3_presign(r->arena, &r->w->s3,
	    &(struct s3_presign){
		.method = "PUT",
		.key = s3_staged_key(r->arena, &r->w->s3, c->file, (int)c->part),
		.expires_s = c->expires_s - clock_unix_s(),
		.size = c->size,
	    });
	u.url = u.remote.url;
	return u;
}

/* Those that a client would not send by itself; the same for every part. */
static void
write_headers(struct buf *b, const struct s3_presigned *p)
{
	bool first = true;

	buf_char(b, '{');
	for (size_t i = 0; i < p->n_headers; i++) {
		if (str_ieq(p->headers[i].name, STR("content-length")))
			continue;
		if (!first)
			buf_char(b, ',');
		first = false;
		buf_json_str(b, p->headers[i].name);
		buf_char(b, ':');
		buf_json_str(b, p->headers[i].value);
	}
	buf_char(b, '}');
}

/* c: the claim of every part but for its number and size. */
static void
write_parts(struct req *r, struct buf *b, struct sign_claim *c, int64_t size)
{
	struct upload_url u = {.url = STR_NONE};
	int n_parts = parts_of(size, PART_BYTES);

	buf_str(b, STR(",\"parts\":["));
	for (c->part = 1; c->part <= n_parts; c->part++) {
		c->size = part_size(size, PART_BYTES, c->part);
		u = part_url(r, c);
		buf_fmt(b, "%s{\"n\":%lld,\"url\":", c->part > 1 ? "," : "", (long long)c->part);
		buf_json_str(b, u.url);
		buf_fmt(b, ",\"size\":%lld}", (long long)c->size);
	}
	buf_str(b, STR("],\"headers\":"));
	write_headers(b, &u.remote);
	buf_str(b, STR(",\"url\":"));
	if (n_parts == 1)
		buf_json_str(b, u.url);
	else
		buf_str(b, STR("null"));
}

static void
reply_registration(struct req *r, struct uuid id, const struct query *opened, int64_t size)
{
	struct sign_claim c = {.purpose = SIGN_UPLOAD, .org = r->auth.org_id, .file = id};
	struct str text = uuid_str(r->arena, id), ends = rows_get(opened, 0, "expires_at");
	struct buf *b = reply_json(r, 201);

	c.expires_s = rows_i64(opened, 0, "expires_s");
	reply_header(r, "Location", str_fmt(r->arena, "/v1/files/%.*s", STR_ARG(text)));
	buf_fmt(b,
	    "{\"file_id\":\"%.*s\",\"upload\":{\"method\":\"PUT\",\"expires_at\":\"%.*s\","
	    "\"max_bytes\":%lld,\"part_bytes\":%d",
	    STR_ARG(text), STR_ARG(ends), (long long)size, PART_BYTES);
	write_parts(r, b, &c, size);
	buf_str(b, STR("}}"));
}

const struct err *
registerFile(struct req *r)
{
	const struct registerFile_body *in = r->in;
	int64_t lasts_s = URL_S + in->size_bytes / BYTES_A_SECOND;
	struct uuid id = uuid_v7();
	struct query *q = query(r, &SQL_upload_register), *opened;
	const struct err *e;

	bind_uuid(q, id);
	bind_body(q, r);
	opened = query(r, &SQL_upload_open);
	bind_uuid(opened, id);
	bind_body(opened, r);
	bind_i64(opened, PART_BYTES);
	bind_str(opened, r->w->s3.preferred ? STR("s3") : STR("local"));
	bind_i64(opened, lasts_s < URL_MOST_S ? lasts_s : URL_MOST_S);
	q = query(r, &SQL_upload_expiry);
	bind_uuid(q, id);
	e = query_run(r);
	if (!e && !r->replayed)
		reply_registration(r, id, opened, in->size_bytes);
	return e;
}

/* --- what is known of an upload --------------------------------------------------------------- */

const struct err *
upload_load(struct req *r, struct upload *u)
{
	struct query *q = query(r, &SQL_upload_get);
	const struct err *e;

	bind_uuid(q, r->path_params.file_id);
	e = query_run(r);
	if (!e && rows_count(q) == 0)
		e = &err_resource_not_found;
	if (e)
		return e;
	*u = (struct upload){
	    .file = r->path_params.file_id,
	    .status = rows_get(q, 0, "status"),
	    .stored = rows_bool(q, 0, "stored"),
	    .trashed = rows_bool(q, 0, "trashed"),
	    .open = rows_bool(q, 0, "open"),
	    .completing = rows_bool(q, 0, "completing"),
	    .remote = rows_bool(q, 0, "remote"),
	    .expired = rows_bool(q, 0, "expired"),
	    .size = rows_i64(q, 0, "size_bytes"),
	    .part_bytes = rows_i64(q, 0, "part_bytes"),
	    .sha256 = rows_get(q, 0, "sha256"),
	};
	if (u->open)
		u->n_parts = parts_of(u->size, u->part_bytes);
	return NULL;
}

const struct err *
upload_check_open(struct req *r, const struct upload *u)
{
	if (!u->open)
		req_detail(r, "the file is %.*s and takes no bytes", STR_ARG(u->status));
	else if (u->trashed)
		req_detail(r, "the file is in the trash");
	else if (u->expired && !u->completing)
		req_detail(r, "the upload has expired; register the file again");
	else
		return NULL;
	return &err_file_status_conflict;
}

/* --- the probe of a part ---------------------------------------------------------------------- */

static const struct err *
check_length(struct req *r, int64_t size)
{
	if (r->body_length == size)
		return NULL;
	req_detail(
	    r, "this part has %lld bytes, not %lld", (long long)size, (long long)r->body_length);
	return &err_upload_size_mismatch;
}

static const struct err *
check_room(struct req *r, int64_t size)
{
	if (store_free_bytes(r->w->store) >= size + DISK_RESERVE_BYTES)
		return NULL;
	req_detail(r, "the server's disk is full");
	return &err_service_unavailable;
}

/* nginx takes the bytes; what is asked here is whether it may. */
const struct err *
uploadFilePart(struct req *r)
{
	const struct uploadFilePart_query *in = r->query;
	const struct signed_query sent = {
	    .org = in->org, .exp = in->exp, .extra = in->size, .sig = in->sig};
	struct sign_claim c;
	struct upload u = {.open = false};
	const struct err *e = signed_enter(r, SIGN_UPLOAD, &sent, &c);

	if (!e)
		e = check_length(r, c.size);
	if (!e)
		e = upload_load(r, &u);
	if (!e)
		e = upload_check_open(r, &u);
	if (!e && u.completing) {
		req_detail(r, "the file is being put together");
		e = &err_file_status_conflict;
	}
	if (!e && (u.remote || c.part > u.n_parts))
		e = &err_invalid_signature;
	if (!e)
		e = check_room(r, c.size);
	if (!e)
		reply_empty(r, 204);
	return e;
}
