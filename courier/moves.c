#include "courier/moves.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "courier/courier.h"
#include "gen/courier_sql.h"
#include "store/store.h"

enum { BUSY_MS = 60 * 1000 };

struct move {
	struct job *job;
	struct uuid blob;
	struct str from, to, seen_at;
	uint8_t sha256[DIGEST_LEN];
	int64_t size;
};

/* --- S3 in jobs
 * ----------------------------------------------------------------------------------- */

static bool
beat(void *ctx)
{
	return job_beat(ctx, 0, 0);
}

struct s3 *
job_s3(struct job *j)
{
	if (j->courier->s3)
		s3_watch(j->courier->s3, beat, j);
	else
		job_error(j, "storage_unavailable", "No S3 service is configured.");
	return j->courier->s3;
}

enum job_end
job_s3_failed(struct job *j, enum s3_end end)
{
	if (end == S3_STOPPED)
		return JOB_CANCELLED;
	log_warn("the S3 service refused or failed", LOG_S("kind", j->kind),
	    LOG_Z("reason", s3_reason(j->courier->s3)));
	if (end == S3_MISSING)
		job_error(j, "content_missing", "The content is not in the object store.");
	else if (end == S3_CORRUPT)
		job_error(j, "content_corrupt", "The content is not what was stored.");
	else
		job_error(
		    j, "storage_unavailable", "The object store cannot be used at the moment.");
	return JOB_RETRY;
}

/* --- moving
 * --------------------------------------------------------------------------------------- */

/* A failure of the local store, by errno. */
static enum job_end
local_failed(struct job *j)
{
	if (errno == ENOENT) {
		job_error(j, "content_missing", "The content is not in the file store.");
		return JOB_FAILED;
	}
	job_error(j, "storage_unavailable", "The file store: %s.", strerror(errno));
	return JOB_RETRY;
}

/* What is not there does not come by waiting. */
static enum job_end
service_failed(struct job *j, enum s3_end end)
{
	enum job_end how = job_s3_failed(j, end);

	return end == S3_MISSING ? JOB_FAILED : how;
}

static enum job_end
copy_out(struct move *m)
{
	struct job *j = m->job;
	struct s3 *s3 = job_s3(j);
	struct str key;
	enum s3_end end;
	int fd;

	if (!s3)
		return JOB_RETRY;
	fd = store_blob(j->courier->store, m->blob);
	if (fd < 0)
		return local_failed(j);
	key = s3_blob_key(j->arena, j->courier->s3_config, m->blob);
	end = s3_put(s3, key, fd, m->size, m->sha256, NULL, NULL);
	close(fd);
	return end == S3_DONE ? JOB_DONE : service_failed(j, end);
}

struct inbound {
	int fd;
	struct digest *digest;
	int64_t size;
	bool full; /* the disk */
};

static bool
take(void *ctx, const void *p, size_t n)
{
	struct inbound *in = ctx;
	const char *at = p;

	digest_add(in->digest, p, n);
	in->size += (int64_t)n;
	while (n > 0 && !in->full) {
		ssize_t put = write(in->fd, at, n);

		in->full = put <= 0;
		at += in->full ? 0 : put;
		n -= in->full ? 0 : (size_t)put;
	}
	return !in->full;
}

static enum job_end
fetch(struct move *m, struct s3 *s3, int fd)
{
	struct job *j = m->job;
	struct inbound in = {.fd = fd, .digest = digest_new()};
	struct str key = s3_blob_key(j->arena, j->courier->s3_config, m->blob);
	enum s3_end end = s3_get(s3, key, 0, -1, take, &in);
	uint8_t sha256[DIGEST_LEN];

	digest_end(in.digest, sha256);
	digest_free(in.digest);
	if (in.full)
		return local_failed(j);
	if (end != S3_DONE)
		return service_failed(j, end);
	if (in.size != m->size || memcmp(sha256, m->sha256, DIGEST_LEN) != 0) {
		job_error(j, "content_corrupt", "The content is not what was stored.");
		return JOB_RETRY;
	}
	return store_keep(j->courier->store, fd, m->blob) ? JOB_DONE : local_failed(j);
}

static enum job_end
copy_in(struct move *m)
{
	struct s3 *s3 = job_s3(m->job);
	enum job_end end;
	int fd;

	if (!s3)
		return JOB_RETRY;
	fd = store_temp(m->job->courier->store);
	if (fd < 0)
		return local_failed(m->job);
	end = fetch(m, s3, fd);
	close(fd);
	return end;
}

/* False: nothing is to be done, *end says how that ends. */
static bool
look(struct move *m, enum job_end *end)
{
	struct job *j = m->job;
	struct query *q = job_query(j, &SQL_blob_get);

	*end = JOB_RETRY;
	bind_uuid(q, m->blob);
	if (job_run(j))
		return false;
	*end = JOB_DONE;
	if (rows_count(q) == 0)
		return false;
	m->from = rows_get(q, 0, "location");
	m->seen_at = rows_get(q, 0, "seen_at");
	m->size = rows_i64(q, 0, "size_bytes");
	must(str_unhex(rows_get(q, 0, "sha256"), m->sha256, DIGEST_LEN));
	return !str_eq(m->from, m->to);
}

/* By itself, not in the last transaction: an answer can be that it has to be tried again. */
static enum job_end
flip(struct move *m)
{
	struct job *j = m->job;
	struct query *q = job_query(j, &SQL_blob_moved);

	bind_uuid(q, m->blob);
	bind_str(q, m->to);
	bind_str(q, m->seen_at);
	if (job_run(j))
		return JOB_RETRY;
	if (!str_eq(rows_get(q, 0, "how"), STR("busy")))
		return JOB_DONE;
	job_error(j, "content_busy", "An old object of this content is being removed.");
	j->retry_after_ms = BUSY_MS;
	return JOB_RETRY;
}

static bool
read_params(struct job *j, struct uuid *blob, struct str *location, const char *name)
{
	*location = job_param(j, name);
	if (j->courier->store && uuid_parse(job_param(j, "blob_id"), blob) &&
	    (str_eq(*location, STR("s3")) || str_eq(*location, STR("local"))))
		return true;
	job_error(j, "storage_unavailable", "There is no such place to store content.");
	return false;
}

enum job_end
job_blob_move(struct job *j)
{
	struct move m = {.job = j};
	enum job_end end;

	if (!read_params(j, &m.blob, &m.to, "to"))
		return JOB_RETRY;
	if (!look(&m, &end))
		return end;
	end = str_eq(m.to, STR("s3")) ? copy_out(&m) : copy_in(&m);
	return end == JOB_DONE ? flip(&m) : end;
}

/* --- removing
 * ------------------------------------------------------------------------------------- */

static enum job_end
drop(struct job *j, struct uuid blob, bool local)
{
	struct s3 *s3;
	enum s3_end end;

	if (local)
		return store_drop(j->courier->store, blob) ? JOB_DONE : local_failed(j);
	s3 = job_s3(j);
	if (!s3)
		return JOB_RETRY;
	end = s3_delete(s3, s3_blob_key(j->arena, j->courier->s3_config, blob));
	return end == S3_DONE ? JOB_DONE : job_s3_failed(j, end);
}

enum job_end
job_blob_delete(struct job *j)
{
	struct query *q = job_query(j, &SQL_blob_get);
	struct uuid blob;
	struct str location;

	if (!read_params(j, &blob, &location, "location"))
		return JOB_RETRY;
	bind_uuid(q, blob);
	if (job_run(j))
		return JOB_RETRY;
	if (rows_count(q) > 0 && str_eq(rows_get(q, 0, "location"), location))
		return JOB_DONE;
	return drop(j, blob, str_eq(location, STR("local")));
}
