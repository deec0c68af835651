/* A job: one row of app.jobs, claimed by this process under a lease.
 *
 * A kind is a function and a line in the table of kinds.c. It may run more than once (a crash, a
 * lost lease), so what it does outside of the database must be safe to repeat, and what it does
 * inside belongs into its last transaction: the statements that it leaves queued with job_query are
 * committed together with the job's end, and only while the lease is held. */
#ifndef COURIER_JOB_H
#define COURIER_JOB_H

#include <json-c/json.h>

#include "base/arena.h"
#include "base/uuid.h"
#include "db/pg.h"

struct courier; /* the process: connection, store, settings (courier.h) */

enum job_end {
	JOB_DONE,     /* succeeded; the queued statements are committed with it */
	JOB_RETRY,    /* try again later (job_error says why), failed after the last attempt */
	JOB_FAILED,   /* never try again; the queued statements are committed with it */
	JOB_CANCELLED /* job_beat said stop and what was begun has been undone */
};

struct job {
	struct courier *courier;
	struct arena *arena;
	struct uuid id, org_id, resource_id, created_by;
	int64_t fencing;
	struct str kind;
	struct json_object *params;
	int attempt, max_attempts; /* attempt counts from 1 */
	int64_t retry_after_ms;    /* 0: the kind's backoff */
	/* private */
	struct query *first, *last;
	struct str error_code, error_message;
	struct json_object *result;
	int64_t beat_at_ms, held_until_ms;
	bool cancelled, lost, stopped;
};

typedef enum job_end (*job_fn)(struct job *j);

struct job_kind {
	const char *name;
	job_fn run;
	int64_t backoff_ms; /* before the second attempt; doubles, with jitter, up to an hour */
	/* Runs in the transaction that ends the job when it failed for good or was cancelled; may
	 * queue statements. NULL: nothing. */
	void (*given_up)(struct job *j);
};

extern const struct job_kind job_kinds[];
extern const size_t n_job_kinds;

/* Renews the lease and tells progress, at most once a second however often it is called: call it at
 * least every third of the lease (SOLOPRINT_COURIER_LEASE_MS, 10 s), also when nothing has moved.
 * done and total 0: progress stays as it was. total 0: unknown. False: stop; return JOB_CANCELLED
 * (cancelled, lease lost, or the process is ending; what that means for the job is told apart
 * behind the scenes). */
bool job_beat(struct job *j, int64_t done, int64_t total);

/* Adds a statement to the job's next transaction. */
struct query *job_query(struct job *j, const struct sql *sql);
/* Drops the statements that are queued. */
void job_forget(struct job *j);
/* Runs the queued statements as a transaction of the job's organisation, while the lease is held.
 * Results stay readable until the job ends. err_database_unavailable may mean that it was committed
 * and the answer lost: return JOB_RETRY. */
const struct err *job_run(struct job *j);

/* For JOB_RETRY and JOB_FAILED: a code (docs/courier.md) and a sentence for
 * people. */
__attribute__((format(printf, 3, 4))) void job_error(
    struct job *j, const char *code, const char *fmt, ...);
/* What GET /v1/operations/{id} shows as result; takes the reference. */
void job_result(struct job *j, struct json_object *result);

/* A parameter, STR_NONE or 0 when absent. */
struct str job_param(const struct job *j, const char *name);
int64_t job_param_i64(const struct job *j, const char *name);

#endif
