/* What goes when its time is over: uploads that nobody finished, files that nobody restored. */
#include <string.h>

#include "courier/courier.h"
#include "courier/job.h"
#include "courier/kinds.h"
#include "courier/moves.h"
#include "gen/courier_sql.h"
#include "store/store.h"

enum { PARTS_MOST = 10000 };

/* Keys of the parts that are there. */
struct parts {
	struct arena *arena;
	struct str keys[PARTS_MOST];
	size_t n;
};

static bool
note(void *ctx, const struct s3_entry *e)
{
	struct parts *p = ctx;

	p->keys[p->n++] = str_dup(p->arena, e->key);
	return p->n < PARTS_MOST;
}

static enum s3_end
drop_there(struct job *j, struct s3 *s3, struct uuid file)
{
	struct parts *p = ARENA_NEW(j->arena, struct parts);
	struct str first = s3_staged_key(j->arena, j->courier->s3_config, file, 1);
	enum s3_end end;

	p->arena = j->arena;
	/* "…staging/<file>/", without the part's number */
	end = s3_list(s3, (struct str){first.p, first.n - 1}, STR_NONE, note, p);
	for (size_t i = 0; end == S3_DONE && i < p->n; i++)
		end = s3_delete(s3, p->keys[i]);
	return end;
}

enum job_end
staged_drop(struct job *j, struct uuid file, bool remote)
{
	struct s3 *s3;
	enum s3_end end;

	if (!remote) {
		if (j->courier->store)
			store_drop_staged(j->courier->store, file);
		return JOB_DONE;
	}
	s3 = job_s3(j);
	if (!s3)
		return JOB_RETRY;
	end = drop_there(j, s3, file);
	return end == S3_DONE ? JOB_DONE : job_s3_failed(j, end);
}

static enum job_end
unreadable(struct job *j)
{
	job_error(j, "internal_error", "The job's parameters cannot be read.");
	return JOB_FAILED;
}

/* Runs again find nothing more to do. */
enum job_end
expire_run(struct job *j)
{
	struct query *q;
	struct uuid file;

	if (!uuid_parse(job_param(j, "file_id"), &file))
		return unreadable(j);
	q = job_query(j, &SQL_upload_expire);
	bind_uuid(q, file);
	if (job_run(j))
		return JOB_RETRY;
	if (str_eq(rows_get(q, 0, "kept"), STR("t")))
		return JOB_DONE;
	return staged_drop(j, file, str_eq(job_param(j, "location"), STR("s3")));
}

enum job_end
purge_run(struct job *j)
{
	struct query *q;
	struct uuid file;

	if (!uuid_parse(job_param(j, "file_id"), &file))
		return unreadable(j);
	q = job_query(j, &SQL_file_purge_due);
	bind_uuid(q, file);
	return JOB_DONE;
}
