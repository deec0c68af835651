/* file.import: fetches a file from a URL. params {url, host, sha256, named, typed}; the resource is
 * the file. The URL may hold a secret: it is given to the fetcher and to nobody else. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "courier/courier.h"
#include "courier/job.h"
#include "courier/kinds.h"
#include "gen/courier_sql.h"
#include "gen/errors.h"
#include "store/digest.h"
#include "store/s3.h"
#include "store/store.h"

enum {
	TIMEOUT_MS = 300 * 1000,
	REDIRECTS_MOST = 3,
	SYNC_BYTES = 64 << 20, /* so that the end does not outlast the lease */
};

struct import {
	struct job *job;
	int fd; /* unnamed, in the store */
	struct digest *digest;
	int64_t room;    /* bytes that still fit into the organisation's storage */
	size_t unsynced; /* bytes that may not be on disk yet */
	bool disk_failed;
	struct fetch_result result;
};

static bool
on_bytes(void *ctx, const void *p, size_t n)
{
	struct import *im = ctx;

	digest_add(im->digest, p, n);
	im->disk_failed = !io_write_all(im->fd, p, n);
	im->unsynced += n;
	if (!im->disk_failed && im->unsynced >= SYNC_BYTES) {
		im->disk_failed = fdatasync(im->fd) != 0;
		im->unsynced = 0;
	}
	return !im->disk_failed;
}

static bool
on_progress(void *ctx, int64_t done, int64_t total)
{
	return job_beat(((struct import *)ctx)->job, done, total);
}

static bool
param_true(const struct job *j, const char *name)
{
	struct json_object *v;

	return json_object_object_get_ex(j->params, name, &v) && json_object_get_boolean(v);
}

/* --- ends ------------------------------------------------------------------------------------- */

static enum job_end
failed(struct job *j, const char *code, const char *message)
{
	job_error(j, code, "%s", message);
	return JOB_FAILED;
}

static enum job_end
not_now(struct job *j, const char *code, const char *message)
{
	job_error(j, code, "%s", message);
	return JOB_RETRY;
}

static enum job_end
storage_full(struct job *j)
{
	return failed(j, "storage_quota_exceeded", "The organization's storage is used up.");
}

static enum job_end
fetch_failed(struct import *im)
{
	struct job *j = im->job;
	struct str code = fetch_reason(j->arena, &im->result);
	struct str message = fetch_sentence(j->arena, &im->result);

	if (im->disk_failed)
		return not_now(j, "store_failed", "The file could not be written.");
	if (im->result.status == FETCH_CANCELLED)
		return JOB_CANCELLED;
	if (im->result.status == FETCH_TOO_LARGE && im->room < j->courier->cfg->import_most_bytes)
		return storage_full(j);
	job_error(j, str_z(j->arena, code), "%.*s", STR_ARG(message));
	return fetch_transient(&im->result) ? JOB_RETRY : JOB_FAILED;
}

static struct json_object *
result_json(const struct import *im, struct str sha256)
{
	const struct job *j = im->job;
	struct json_object *o = json_object_new_object();
	struct str host = job_param(j, "host");
	char id[UUID_TEXT_LEN + 1];

	uuid_text(j->resource_id, id);
	json_object_object_add(o, "file_id", json_object_new_string(id));
	json_object_object_add(o, "host", json_object_new_string_len(host.p, (int)host.n));
	json_object_object_add(o, "size_bytes", json_object_new_int64(im->result.size));
	json_object_object_add(o, "sha256", json_object_new_string_len(sha256.p, (int)sha256.n));
	return o;
}

/* --- the way ---------------------------------------------------------------------------------- */

/* JOB_DONE when the file still waits for its bytes and so many fit; sets im->room. */
static enum job_end
check_room(struct import *im, int64_t bytes)
{
	struct job *j = im->job;
	struct query *q = job_query(j, &SQL_import_begin);
	const struct err *e;

	bind_uuid(q, j->resource_id);
	e = job_run(j);
	if (e)
		return not_now(j, e->code, e->title);
	if (rows_count(q) == 0)
		return failed(j, "file_gone", "The file was deleted before its bytes came.");
	im->room = rows_i64(q, 0, "left_bytes");
	return im->room < bytes ? storage_full(j) : JOB_DONE;
}

/* Leaves the statements that make the file complete to the job's last transaction. */
static void
queue_commit(struct import *im, struct uuid blob, const uint8_t sha256[DIGEST_LEN])
{
	struct job *j = im->job;
	struct query *q = job_query(j, &SQL_import_name);

	bind_uuid(q, j->resource_id);
	bind_str(q, param_true(j, "named") ? STR_NONE : im->result.filename);
	bind_bool(q, param_true(j, "typed"));
	q = job_query(j, &SQL_import_commit);
	bind_uuid(q, j->resource_id);
	bind_uuid(q, blob);
	bind_bytes(q, sha256, DIGEST_LEN);
	bind_i64(q, im->result.size);
	if (j->courier->s3_config->preferred) {
		q = job_query(j, &SQL_import_move);
		bind_uuid(q, blob);
	}
}

static enum job_end
keep(struct import *im)
{
	struct job *j = im->job;
	uint8_t *sha256 = arena_alloc(j->arena, DIGEST_LEN); /* bound: must last */
	struct str hex, wanted = job_param(j, "sha256");
	struct uuid blob = uuid_v7();
	enum job_end end;

	if (im->result.size == 0)
		return failed(j, "empty_file", "The server sent no bytes.");
	digest_end(im->digest, sha256);
	hex = str_hex(j->arena, sha256, DIGEST_LEN);
	if (wanted.p && !str_eq(wanted, hex))
		return failed(
		    j, "sha256_mismatch", "The bytes do not have the SHA-256 that was announced.");
	if (!job_beat(j, im->result.size, im->result.size))
		return JOB_CANCELLED;
	end = check_room(im, im->result.size);
	if (end != JOB_DONE)
		return end;
	if (!store_keep(j->courier->store, im->fd, blob))
		return not_now(j, "store_failed", "The file could not be written.");
	queue_commit(im, blob, sha256);
	job_result(j, result_json(im, hex));
	return JOB_DONE;
}

static enum job_end
fetch(struct import *im)
{
	struct job *j = im->job;
	const struct courier_config *cfg = j->courier->cfg;
	struct fetch *f = fetch_new(&cfg->fetch);
	struct fetch_request in = {
	    .url = job_param(j, "url"),
	    .most_bytes = im->room < cfg->import_most_bytes ? im->room : cfg->import_most_bytes,
	    .timeout_ms = TIMEOUT_MS,
	    .redirects_most = REDIRECTS_MOST,
	    .write = on_bytes,
	    .progress = on_progress,
	    .ctx = im,
	};

	if (!f)
		return not_now(j, "misconfigured", "The server is not set up for imports.");
	fetch_run(f, j->arena, &in, &im->result);
	fetch_free(f);
	return im->result.status == FETCH_OK ? keep(im) : fetch_failed(im);
}

enum job_end
import_run(struct job *j)
{
	struct import im = {.job = j, .fd = -1};
	enum job_end end = check_room(&im, 1);

	if (end != JOB_DONE)
		return end;
	if (!j->courier->store)
		return not_now(j, "misconfigured", "The server is not set up for imports.");
	im.fd = store_temp(j->courier->store);
	if (im.fd < 0)
		return not_now(j, "store_failed", "The file could not be written.");
	im.digest = digest_new();
	end = fetch(&im);
	digest_free(im.digest);
	close(im.fd);
	return end;
}

void
import_given_up(struct job *j)
{
	struct query *q = job_query(j, &SQL_import_failed);

	bind_uuid(q, j->resource_id);
	bind_str(q, j->error_code.p ? j->error_code : STR("cancelled"));
	bind_str(q, j->error_code.p ? j->error_message : STR("The import was cancelled."));
}
