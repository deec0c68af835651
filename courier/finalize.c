/* file.finalize {file_id}: puts the parts of an upload together, checks them and gives them to the
 * file. What does not fit stays an open upload, to be sent again. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "courier/courier.h"
#include "courier/job.h"
#include "courier/kinds.h"
#include "courier/moves.h"
#include "gen/courier_sql.h"
#include "gen/errors.h"
#include "store/digest.h"
#include "store/parts.h"
#include "store/store.h"

struct finalize {
	struct job *job;
	struct uuid file, blob; /* blob: the one that is being made */
	bool waits, stored, remote;
	int64_t size, part_bytes;
	int n_parts;
	struct str declared;        /* SHA-256 in hexadecimal; STR_NONE: not declared */
	int64_t done;               /* bytes of the parts before the current one */
	uint8_t sha256[DIGEST_LEN]; /* of what arrived */
};

/* --- ends ------------------------------------------------------------------------------------- */

static enum job_end
refused(struct job *j, const struct err *e)
{
	job_error(j, e->code, "%s", e->title);
	return JOB_FAILED;
}

static enum job_end
disk_failed(struct job *j)
{
	job_error(j, "storage_unavailable", "The file store: %s.", strerror(errno));
	return JOB_RETRY;
}

/* A progress_fn. */
static bool
beat(void *ctx, int64_t done)
{
	struct finalize *f = ctx;

	return job_beat(f->job, f->done + done, f->size);
}

/* --- the directory ---------------------------------------------------------------------------- */

static enum job_end
append_part(struct finalize *f, int part, int n, int to, struct digest *d)
{
	int64_t size = 0;
	struct stat st;

	if (fstat(part, &st) != 0)
		return disk_failed(f->job);
	if (st.st_size != part_size(f->size, f->part_bytes, n))
		return refused(f->job, &err_upload_size_mismatch);
	if (!digest_copy(part, to, d, &size, beat, f) || size != st.st_size)
		return job_beat(f->job, 0, 0) ? disk_failed(f->job) : JOB_CANCELLED;
	f->done += size;
	/* Bit by bit, so that the end does not outlast the lease. */
	return fdatasync(to) == 0 ? JOB_DONE : disk_failed(f->job);
}

static enum job_end
append_parts(struct finalize *f, int to, struct digest *d)
{
	enum job_end end = JOB_DONE;

	for (int n = 1; end == JOB_DONE && n <= f->n_parts; n++) {
		int part = store_staged(f->job->courier->store, f->file, n);

		if (part < 0)
			return errno == ENOENT ? refused(f->job, &err_upload_incomplete)
					       : disk_failed(f->job);
		end = append_part(f, part, n, to, d);
		close(part);
	}
	return end;
}

static enum job_end
check_declared(struct finalize *f)
{
	uint8_t declared[DIGEST_LEN];

	if (!f->declared.p)
		return JOB_DONE;
	if (str_unhex(f->declared, declared, DIGEST_LEN) &&
	    memcmp(declared, f->sha256, DIGEST_LEN) == 0)
		return JOB_DONE;
	return refused(f->job, &err_upload_digest_mismatch);
}

static enum job_end
assemble_here(struct finalize *f)
{
	struct store *store = f->job->courier->store;
	struct digest *d = digest_new();
	int to = store_temp(store);
	enum job_end end = to < 0 ? disk_failed(f->job) : append_parts(f, to, d);

	digest_end(d, f->sha256);
	digest_free(d);
	if (end == JOB_DONE)
		end = check_declared(f);
	if (end == JOB_DONE && !store_keep(store, to, f->blob))
		end = disk_failed(f->job);
	if (to >= 0)
		close(to);
	return end;
}

/* --- the S3 service --------------------------------------------------------------------------- */

/* The parts can be sent again while they are copied: what counts is what was made of them. */
static enum job_end
check_there(struct finalize *f, struct s3 *s3, struct str key)
{
	int64_t size;
	enum s3_end got = s3_digest(s3, key, f->sha256, &size, beat, f);
	enum job_end end;

	if (got != S3_DONE)
		return job_s3_failed(f->job, got);
	end = size == f->size ? check_declared(f) : refused(f->job, &err_upload_size_mismatch);
	if (end != JOB_DONE)
		(void)s3_delete(s3, key);
	return end;
}

static enum job_end
assemble_there(struct finalize *f)
{
	struct job *j = f->job;
	struct s3 *s3 = job_s3(j);
	struct str *parts = arena_array(j->arena, (size_t)f->n_parts, sizeof(*parts));
	struct str key;
	enum s3_end got;

	if (!s3)
		return JOB_RETRY;
	for (int n = 1; n <= f->n_parts; n++)
		parts[n - 1] = s3_staged_key(j->arena, j->courier->s3_config, f->file, n);
	key = s3_blob_key(j->arena, j->courier->s3_config, f->blob);
	got = s3_compose(s3, key, parts, (size_t)f->n_parts, NULL, NULL);
	if (got == S3_MISSING)
		return refused(j, &err_upload_incomplete);
	return got == S3_DONE ? check_there(f, s3, key) : job_s3_failed(j, got);
}

/* --- all together ----------------------------------------------------------------------------- */

static const struct err *
load(struct finalize *f)
{
	struct query *q = job_query(f->job, &SQL_finalize_get);
	const struct err *e;

	bind_uuid(q, f->file);
	e = job_run(f->job);
	if (e || rows_count(q) == 0)
		return e;
	f->waits = rows_bool(q, 0, "waits");
	f->stored = rows_bool(q, 0, "stored");
	f->remote = rows_bool(q, 0, "remote");
	f->declared = rows_get(q, 0, "sha256");
	f->size = rows_i64(q, 0, "size_bytes");
	f->part_bytes = rows_i64(q, 0, "part_bytes");
	if (f->waits)
		f->n_parts = parts_of(f->size, f->part_bytes);
	return NULL;
}

static void
tell_result(struct finalize *f)
{
	struct json_object *o = json_object_new_object();
	char id[UUID_TEXT_LEN + 1];

	uuid_text(f->file, id);
	json_object_object_add(o, "file_id", json_object_new_string(id));
	job_result(f->job, o);
}

static void
drop_blob(struct finalize *f)
{
	struct courier *c = f->job->courier;

	if (f->remote)
		(void)s3_delete(c->s3, s3_blob_key(f->job->arena, c->s3_config, f->blob));
	else
		(void)store_drop(c->store, f->blob);
}

/* In a transaction of its own: what it made needless is removed after it. */
static enum job_end
commit(struct finalize *f)
{
	struct job *j = f->job;
	struct query *q = job_query(j, &SQL_finalize_commit);
	const struct err *e;

	bind_uuid(q, f->file);
	bind_uuid(q, f->blob);
	bind_bytes(q, f->sha256, DIGEST_LEN);
	bind_i64(q, f->size);
	bind_str(q, f->remote ? STR("s3") : STR("local"));
	bind_bool(q, j->courier->s3_config->preferred);
	e = job_run(j);
	if (e) {
		job_error(j, e->code, "%s", e->title);
		return JOB_RETRY; /* an object that nobody refers to is swept away */
	}
	if (!rows_get(q, 0, "kept").p) {
		drop_blob(f);
		return refused(j, &err_file_status_conflict);
	}
	if (!uuid_eq(rows_uuid(q, 0, "kept"), f->blob))
		drop_blob(f);
	return JOB_DONE;
}

enum job_end
finalize_run(struct job *j)
{
	struct finalize f = {.job = j, .blob = uuid_v7()};
	enum job_end end;

	if (!j->courier->store || !uuid_parse(job_param(j, "file_id"), &f.file))
		return refused(j, &err_internal_error);
	if (load(&f))
		return JOB_RETRY;
	if (!f.waits && !f.stored)
		return refused(j, &err_file_status_conflict);
	end = f.stored ? JOB_DONE : f.remote ? assemble_there(&f) : assemble_here(&f);
	if (end == JOB_DONE && !f.stored)
		end = commit(&f);
	if (end != JOB_DONE)
		return end;
	staged_drop(j, f.file, f.remote);
	tell_result(&f);
	return JOB_DONE;
}

/* The client may send again what did not fit. */
void
finalize_given_up(struct job *j)
{
	struct query *q = job_query(j, &SQL_finalize_reopen);

	bind_uuid(q, j->resource_id);
}
