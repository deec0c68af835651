/* file.analyze {file_id}: what a stored file says of itself, its pictures, its model. What it finds
 * becomes visible in one transaction; a file that is gone, or has been analysed, is nobody's any
 * more. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "courier/courier.h"
#include "courier/kinds.h"
#include "courier/moves.h"
#include "gen/courier_sql.h"
#include "gen/errors.h"
#include "media/found.h"
#include "store/store.h"

struct analysis {
	struct job *job;
	struct uuid file, blob;
	struct str filename, location;
	int fd; /* the content */
};

static enum job_end
not_now(struct job *j, const char *code, const char *message)
{
	job_error(j, code, "%s", message);
	return JOB_RETRY;
}

static struct uuid
file_of(const struct job *j)
{
	struct uuid file = {{0}};

	(void)uuid_parse(job_param(j, "file_id"), &file);
	return file;
}

/* --- the content ------------------------------------------------------------------------------ */

struct inbound {
	int fd;
	bool full; /* the disk */
};

static bool
take(void *ctx, const void *p, size_t n)
{
	struct inbound *in = ctx;
	const char *at = p;

	while (n > 0 && !in->full) {
		ssize_t put = write(in->fd, at, n);

		in->full = put <= 0 && errno != EINTR;
		at += put > 0 ? put : 0;
		n -= put > 0 ? (size_t)put : 0;
	}
	return !in->full;
}

static enum job_end
download(struct analysis *a)
{
	struct job *j = a->job;
	struct s3 *s3 = job_s3(j);
	struct inbound in = {.full = false};
	enum s3_end end;

	if (!s3)
		return JOB_RETRY;
	a->fd = in.fd = store_temp(j->courier->store);
	if (a->fd < 0)
		return not_now(j, "storage_unavailable", "The file store cannot be written.");
	end = s3_get(s3, s3_blob_key(j->arena, j->courier->s3_config, a->blob), 0, -1, take, &in);
	if (in.full)
		return not_now(j, "storage_unavailable", "The file store is full.");
	return end == S3_DONE ? JOB_DONE : job_s3_failed(j, end);
}

static enum job_end
open_content(struct analysis *a)
{
	if (str_eq(a->location, STR("s3")))
		return download(a);
	a->fd = store_blob(a->job->courier->store, a->blob);
	if (a->fd >= 0)
		return JOB_DONE;
	log_error("a file's content cannot be opened",
	    LOG_S("blob_id", uuid_str(a->job->arena, a->blob)), LOG_Z("reason", strerror(errno)));
	return not_now(a->job, "content_missing", "The content is not in the file store.");
}

/* --- what is found ---------------------------------------------------------------------------- */

static bool
beat(void *ctx)
{
	return job_beat(ctx, 0, 0);
}

/* Commits; what there was no use for is dropped. */
static const struct err *
commit(struct analysis *a, const struct found *found)
{
	struct job *j = a->job;
	struct query *q = job_query(j, &SQL_analyze_store);
	const struct err *e;

	bind_uuid(q, a->file);
	bind_str(q, found->json);
	bind_bool(q, j->courier->s3_config->preferred);
	e = job_run(j);
	if (!e && rows_get(q, 0, "spare").p)
		found_drop_spare(j->courier->store, rows_get(q, 0, "spare"));
	else if (e != &err_database_unavailable)
		found_drop(
		    j->courier->store, found); /* the file went away, or nothing was committed */
	return e;
}

static enum job_end
keep(struct analysis *a, const struct scan_result *scan)
{
	struct found *found = ARENA_NEW(a->job->arena, struct found);
	struct scan_result *bare;
	const struct err *e;

	if (!found_keep(a->job->arena, a->job->courier->store, scan, found))
		return not_now(a->job, "storage_unavailable", "The file store cannot be written.");
	e = commit(a, found);
	if (!e)
		return JOB_DONE;
	if (e == &err_storage_quota_exceeded && scan->n_thumbnails) {
		/* The pictures do not fit; the file need not wait for them. */
		bare = ARENA_NEW(a->job->arena, struct scan_result);
		*bare = *scan;
		bare->n_thumbnails = 0;
		return keep(a, bare);
	}
	return not_now(a->job, "database_unavailable", "What was found could not be stored.");
}

static enum job_end
look(struct analysis *a)
{
	struct job *j = a->job;
	struct scan_result *scan = ARENA_NEW(j->arena, struct scan_result);

	if (!scan_file_beating(j->arena, a->fd, a->filename, beat, j, scan))
		return JOB_CANCELLED;
	if (scan->reason_code.p && str_eq(scan->reason_code, STR("unavailable")))
		return not_now(j, "scan_unavailable", "The file could not be read at this time.");
	return keep(a, scan);
}

/* --- the job ---------------------------------------------------------------------------------- */

enum job_end
analyze_run(struct job *j)
{
	struct analysis a = {.job = j, .file = file_of(j), .fd = -1};
	struct query *q = job_query(j, &SQL_analyze_begin);
	enum job_end end;

	bind_uuid(q, a.file);
	if (job_run(j))
		return not_now(j, "database_unavailable", "The database is not reachable.");
	if (rows_count(q) == 0)
		return JOB_DONE;
	a.blob = rows_uuid(q, 0, "blob_id");
	a.filename = rows_get(q, 0, "filename");
	a.location = rows_get(q, 0, "location");
	end = open_content(&a);
	if (end == JOB_DONE)
		end = look(&a);
	if (a.fd >= 0)
		close(a.fd);
	return end;
}

void
analyze_given_up(struct job *j)
{
	bind_uuid(job_query(j, &SQL_analyze_give_up), file_of(j));
}
