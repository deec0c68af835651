/* From the index and back: claims a job, has it run, ends it. */
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "courier/courier.h"
#include "courier/job.h"
#include "gen/courier_sql.h"
#include "gen/errors.h"

enum {
	ARENA_MOST = 64 << 20,
	BACKOFF_MOST_MS = 3600 * 1000,
	DATABASE_MS = 200,
	GIVE_UP_TRIES = 3, /* a given_up that kills its worker is left out after so many */
};

/* As sec.job_finish knows them. */
enum outcome { SUCCEEDED, FAILED, CANCELLED, RETRY, RELEASE };

static const char *const outcome_names[] = {
    [SUCCEEDED] = "succeeded",
    [FAILED] = "failed",
    [CANCELLED] = "cancelled",
    [RETRY] = "retry",
    [RELEASE] = "release",
};

/* --- claiming --------------------------------------------------------------------------------- */

static const struct job_kind *
find_kind(struct str name)
{
	for (size_t i = 0; i < n_job_kinds; i++)
		if (str_eq(name, str_from(job_kinds[i].name)))
			return &job_kinds[i];
	return NULL;
}

static struct query *
claim_query(struct courier *c)
{
	struct str *names = arena_array(c->scratch, n_job_kinds, sizeof(*names));
	struct query *q = pg_query(c->scratch, &SQL_job_claim);

	for (size_t i = 0; i < n_job_kinds; i++)
		names[i] = str_from(job_kinds[i].name);
	bind_uuid(q, c->id);
	bind_str(q, str_fmt(c->scratch, "%lld ms", (long long)c->cfg->lease_ms));
	bind_str_array(q, names, n_job_kinds);
	bind_uuid(q, c->served);
	return q;
}

static void
put_json(void *p)
{
	struct job *j = p;

	json_object_put(j->params);
	json_object_put(j->result);
}

static struct job *
job_from(struct courier *c, const struct query *q, int64_t claimed_at_ms)
{
	struct arena *a = arena_new(ARENA_MOST);
	struct job *j = ARENA_NEW(a, struct job);
	struct str params = rows_get(q, 0, "params");

	arena_defer(a, put_json, j);
	j->courier = c;
	j->arena = a;
	j->id = rows_uuid(q, 0, "id");
	j->org_id = rows_uuid(q, 0, "org_id");
	j->resource_id = rows_uuid(q, 0, "resource_id");
	j->created_by = rows_uuid(q, 0, "created_by");
	j->fencing = rows_i64(q, 0, "fencing");
	j->kind = str_dup(a, rows_get(q, 0, "kind"));
	j->params = json_tokener_parse(str_z(a, params));
	j->attempt = (int)rows_i64(q, 0, "attempt");
	j->max_attempts = (int)rows_i64(q, 0, "max_attempts");
	j->cancelled = str_eq(rows_get(q, 0, "cancelled"), STR("t"));
	j->beat_at_ms = claimed_at_ms;
	j->held_until_ms = claimed_at_ms + c->cfg->lease_ms;
	return j;
}

struct job *
job_claim(struct courier *c)
{
	int64_t now = clock_mono_ms();
	struct query *q;

	arena_reset(c->scratch);
	q = claim_query(c);
	if (!courier_ask(c, q) || rows_count(q) == 0)
		return NULL;
	c->served = rows_uuid(q, 0, "org_id");
	return job_from(c, q, now);
}

void
job_free(struct job *j)
{
	arena_free(j->arena);
}

/* --- ending ----------------------------------------------------------------------------------- */

int64_t
job_backoff_ms(int64_t base_ms, int attempt, uint16_t random)
{
	int64_t ms = base_ms;

	for (int i = 1; i < attempt && ms < BACKOFF_MOST_MS; i++)
		ms *= 2;
	if (ms > BACKOFF_MOST_MS)
		ms = BACKOFF_MOST_MS;
	return ms / 2 + ms * random / UINT16_MAX;
}

static int64_t
wait_ms(const struct job *j, enum outcome o)
{
	uint16_t random;

	if (o != RETRY)
		return 0;
	if (j->retry_after_ms > 0)
		return j->retry_after_ms;
	random_bytes(&random, sizeof(random));
	return job_backoff_ms(find_kind(j->kind)->backoff_ms, j->attempt, random);
}

static struct str
error_json(struct job *j)
{
	struct buf b;
	struct str out;

	if (!j->error_code.p)
		job_error(j, "failed", "The job failed.");
	buf_init(&b, 1 << 16);
	buf_str(&b, STR("{\"code\":"));
	buf_json_str(&b, j->error_code);
	buf_str(&b, STR(",\"message\":"));
	buf_json_str(&b, j->error_message);
	buf_char(&b, '}');
	out = str_dup(j->arena, buf_view(&b));
	buf_fini(&b);
	return out;
}

static void
queue_finish(struct job *j, enum outcome o)
{
	struct query *q = job_query(j, &SQL_job_finish);

	bind_uuid(q, j->courier->id);
	bind_uuid(q, j->id);
	bind_i64(q, j->fencing);
	bind_str(q, str_from(outcome_names[o]));
	bind_str(q,
	    o == SUCCEEDED && j->result
		? str_from(json_object_to_json_string_ext(j->result, JSON_C_TO_STRING_PLAIN))
		: STR_NONE);
	bind_str(q, o == FAILED || o == RETRY ? error_json(j) : STR_NONE);
	bind_str(q, str_fmt(j->arena, "%lld ms", (long long)wait_ms(j, o)));
}

/* The job's last transaction. The same again when the answer was lost: had it been committed, the
 * lease would be gone. NULL also when it is. */
static const struct err *
conclude(struct job *j, enum outcome o)
{
	const struct err *e;
	struct query *first;

	queue_finish(j, o);
	first = j->first;
	for (;;) {
		e = job_run(j);
		if (e != &err_database_unavailable || proc_stop_asked())
			break;
		pg_wait(j->courier->pg, proc_stop_fd(), DATABASE_MS);
		j->held_until_ms = INT64_MAX;
		j->first = first;
		for (struct query *q = first; q; q = q->next)
			q->result = NULL;
	}
	return j->lost ? NULL : e;
}

static bool
gives_up(const struct job *j, enum outcome o)
{
	return (o == FAILED || o == CANCELLED) && find_kind(j->kind)->given_up &&
	    j->attempt <= j->max_attempts + GIVE_UP_TRIES;
}

/* The kind's own statements stay where the end is its own; what it was about to write when it was
 * interrupted is not written. */
static const struct err *
end_as(struct job *j, enum outcome o, bool keep_statements)
{
	if (!keep_statements)
		job_forget(j);
	if (gives_up(j, o))
		find_kind(j->kind)->given_up(j);
	return conclude(j, o);
}

static enum outcome
again_or_not(const struct job *j)
{
	return j->attempt < j->max_attempts ? RETRY : FAILED;
}

static enum outcome
outcome_of(const struct job *j, enum job_end end)
{
	if (end == JOB_DONE)
		return SUCCEEDED;
	if (end == JOB_FAILED)
		return FAILED;
	if (j->cancelled)
		return CANCELLED;
	return j->stopped ? RELEASE : again_or_not(j);
}

/* Ends the job; returns how. Statements that the database refuses make the attempt a failed one. */
static enum outcome
settle(struct job *j, enum job_end end)
{
	enum outcome o = outcome_of(j, end);
	const struct err *e = end_as(j, o, end == JOB_DONE || end == JOB_FAILED);

	if (e && o == SUCCEEDED) {
		job_error(j, e->code, "%s", e->title);
		o = again_or_not(j);
		e = end_as(j, o, false);
	}
	if (e && (o == FAILED || o == CANCELLED)) {
		log_error("a job's last statements were refused", LOG_S("kind", j->kind),
		    LOG_Z("error", e->code));
		job_forget(j);
		e = conclude(j, o);
	}
	if (e)
		log_error("a job could not be ended, its lease runs out", LOG_S("kind", j->kind),
		    LOG_Z("error", e->code));
	return o;
}

static enum job_end
run(struct job *j)
{
	if (j->cancelled)
		return JOB_CANCELLED;
	if (j->attempt <= j->max_attempts)
		return find_kind(j->kind)->run(j);
	job_error(j, "crashed", "The job ended its process each time it was tried.");
	return JOB_FAILED;
}

void
job_do(struct job *j)
{
	int64_t from = clock_mono_ms();
	char id[UUID_TEXT_LEN + 1];
	enum outcome o = settle(j, run(j));

	uuid_text(j->id, id);
	log_info("job ended", LOG_Z("job", id), LOG_S("kind", j->kind),
	    LOG_Z("outcome", j->lost ? "lost" : outcome_names[o]), LOG_I("attempt", j->attempt),
	    LOG_S("error", o == SUCCEEDED ? STR_NONE : j->error_code),
	    LOG_I("ms", clock_mono_ms() - from));
}
