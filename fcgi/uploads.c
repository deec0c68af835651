/* Uploads: where bytes go, whether they may, and what becomes of them. Contract:
 * schema/api/files.yaml; statements: uploads.sql. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "gen/routes.h"
#include "query.h"
#include "reply.h"
#include "signed.h"
#include "state.h"
#include "store/digest.h"
#include "store/parts.h"
#include "store/store.h"

enum {
	URL_S = 3600,             /* an upload's time, and a second more for each … */
	BYTES_A_SECOND = 1 << 20, /* … of these */
	URL_MOST_S = 24 * 3600,
	DISK_RESERVE_BYTES = 256 << 20, /* that uploads leave free */
};

/* An upload as its row says. */
struct upload {
	struct uuid file;
	struct str status;
	bool stored, trashed, open, completing, remote, expired;
	int64_t size, part_bytes;
	int n_parts;
	struct str sha256; /* hexadecimal; STR_NONE: not declared */
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

/* Runs the transaction. err_resource_not_found */
static const struct err *
load_upload(struct req *r, struct upload *u)
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

/* Whether bytes can still come. */
static const struct err *
check_open(struct req *r, const struct upload *u)
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
	const struct signed_query sent = {in->org, in->exp, in->size, in->sig};
	struct sign_claim c;
	struct upload u = {.open = false};
	const struct err *e = signed_enter(r, SIGN_UPLOAD, &sent, &c);

	if (!e)
		e = check_length(r, c.size);
	if (!e)
		e = load_upload(r, &u);
	if (!e)
		e = check_open(r, &u);
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

/* --- complete --------------------------------------------------------------------------------- */

static const struct err *
wrong_size(struct req *r, int64_t n, int64_t want, int64_t got)
{
	req_detail(
	    r, "part %lld has %lld bytes, not %lld", (long long)n, (long long)want, (long long)got);
	return &err_upload_size_mismatch;
}

static const struct err *
missing(struct req *r, int64_t n)
{
	req_detail(r, "part %lld has not arrived", (long long)n);
	return &err_upload_incomplete;
}

static int64_t
member_i64(struct json_object *o, const char *name, int64_t absent)
{
	struct json_object *v;

	return json_object_object_get_ex(o, name, &v) ? json_object_get_int64(v) : absent;
}

/* The list that the client believes to have sent. */
static const struct err *
check_list(struct req *r, const struct upload *u, struct json_object *parts)
{
	size_t n = json_object_array_length(parts);
	bool *seen = arena_array(r->arena, (size_t)u->n_parts + 1, sizeof(bool));

	for (size_t i = 0; i < n; i++) {
		struct json_object *one = json_object_array_get_idx(parts, i);
		int64_t part = member_i64(one, "n", 0);
		int64_t want = part_size(u->size, u->part_bytes, part);
		int64_t got = member_i64(one, "size", want);

		if (!want || got != want)
			return wrong_size(r, part, want, got);
		seen[part] = true;
	}
	for (int part = 1; part <= u->n_parts; part++)
		if (!seen[part])
			return missing(r, part);
	return NULL;
}

/* What nginx wrote. */
static const struct err *
check_staged(struct req *r, const struct upload *u)
{
	for (int part = 1; part <= u->n_parts; part++) {
		int64_t want = part_size(u->size, u->part_bytes, part);
		int fd = store_staged(r->w->store, u->file, part);
		struct stat st = {.st_size = -1};

		if (fd >= 0) {
			(void)fstat(fd, &st);
			close(fd);
		}
		if (st.st_size < 0)
			return missing(r, part);
		if (st.st_size != want)
			return wrong_size(r, part, want, st.st_size);
	}
	return NULL;
}

static const struct err *
reply_file(struct req *r)
{
	struct query *q;

	query_again(r);
	q = query(r, &SQL_file_get);
	bind_uuid(q, r->path_params.file_id);
	return reply_one(r, q, 200);
}

static const struct err *
reply_operation(struct req *r, const struct upload *u)
{
	struct query *q;

	query_again(r);
	if (!u->completing) {
		q = query(r, &SQL_finalize_start);
		bind_uuid(q, u->file);
		bind_uuid(q, uuid_v7());
	}
	q = query(r, &SQL_finalize_find);
	bind_uuid(q, u->file);
	return reply_one(r, q, 202);
}

/* Size and digest of what the descriptor gives. */
static const struct err *
check_content(struct req *r, const struct upload *u, int fd, uint8_t digest[DIGEST_LEN])
{
	uint8_t declared[DIGEST_LEN];
	int64_t size;

	if (!digest_file(fd, digest, &size, NULL, NULL))
		return &err_service_unavailable;
	if (size != u->size)
		return wrong_size(r, 1, u->size, size);
	if (!u->sha256.p ||
	    (str_unhex(u->sha256, declared, DIGEST_LEN) &&
		memcmp(declared, digest, DIGEST_LEN) == 0))
		return NULL;
	req_detail(r, "the bytes' SHA-256 is %.*s", STR_ARG(str_hex(r->arena, digest, DIGEST_LEN)));
	return &err_upload_digest_mismatch;
}

/* The object is on disk; now the file has it, or somebody was faster. */
static const struct err *
commit(struct req *r, const struct upload *u, struct uuid blob, const uint8_t digest[DIGEST_LEN])
{
	struct query *q, *file;
	const struct err *e;

	query_again(r);
	q = query(r, &SQL_upload_commit);
	bind_uuid(q, u->file);
	bind_uuid(q, blob);
	bind_bytes(q, digest, DIGEST_LEN);
	bind_i64(q, u->size);
	bind_bool(q, r->w->s3.preferred);
	file = query(r, &SQL_file_get);
	bind_uuid(file, u->file);
	e = reply_one(r, file, 200);
	if (e)
		return e; /* an object that nobody refers to is swept away */
	if (!rows_get(q, 0, "kept").p || !uuid_eq(rows_uuid(q, 0, "kept"), blob))
		store_drop(r->w->store, blob);
	store_drop_staged(r->w->store, u->file);
	return NULL;
}

/* The part's file stays in staging until the commit, so that nothing is lost if this process is. A
 * part that is sent again meanwhile is another file. */
static const struct err *
finish_here(struct req *r, const struct upload *u)
{
	int fd = store_staged(r->w->store, u->file, 1);
	struct uuid blob = uuid_v7();
	uint8_t digest[DIGEST_LEN];
	const struct err *e;

	if (fd < 0)
		return missing(r, 1);
	e = check_content(r, u, fd, digest);
	if (!e && !store_keep(r->w->store, fd, blob))
		e = &err_service_unavailable;
	close(fd);
	return e ? e : commit(r, u, blob, digest);
}

static const struct err *
complete(struct req *r, const struct upload *u, struct json_object *parts)
{
	const struct err *e = check_open(r, u);

	if (!e && parts)
		e = check_list(r, u, parts);
	if (!e && !u->remote && !u->completing)
		e = check_staged(r, u);
	if (e)
		return e;
	return u->remote || u->completing || u->n_parts > 1 ? reply_operation(r, u)
							    : finish_here(r, u);
}

/* A part that is not there may be gone because another request has finished the file. */
const struct err *
completeFileUpload(struct req *r)
{
	const struct completeFileUpload_body *in = r->in;
	struct upload u;
	const struct err *e = load_upload(r, &u), *was;

	if (e)
		return e;
	if (u.stored && !u.trashed)
		return reply_file(r);
	was = complete(r, &u, in->parts);
	if (was != &err_upload_incomplete)
		return was;
	query_again(r);
	e = load_upload(r, &u);
	return e ? e : u.stored ? reply_file(r) : was;
}
