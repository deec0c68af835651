/* The end of an upload: what arrived is compared with what was announced and becomes the file's
 * content. Contract: schema/api/files.yaml; statements: uploads.sql. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gen/routes.h"
#include "query.h"
#include "reply.h"
#include "state.h"
#include "store/digest.h"
#include "store/parts.h"
#include "store/store.h"
#include "uploads.h"

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
	const struct err *e = upload_check_open(r, u);

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
	const struct err *e = upload_load(r, &u), *was;

	if (e)
		return e;
	if (u.stored && !u.trashed)
		return reply_file(r);
	was = complete(r, &u, in->parts);
	if (was != &err_upload_incomplete)
		return was;
	query_again(r);
	e = upload_load(r, &u);
	return e ? e : u.stored ? reply_file(r) : was;
}
