/* The courier with kinds of jobs for the tests. A job's params say what it does; what it has done
 * outside of the database is a line in the file `journal`: job, what, attempt, process. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "courier/courier.h"
#include "courier/job.h"

/* The effect inside of the database: a row that no courier takes up. */
static const unsigned effect_types[] = {25};
static const struct sql effect = {NULL,
    "INSERT INTO app.jobs (kind, params) VALUES ('test.effect', jsonb_build_object('of', $1))",
    SQL_EXEC, 1, effect_types};
static const struct sql refused = {NULL, "SELECT app.raise('SLP40', 'no room')", SQL_ONE, 0, NULL};

static void
journal(struct job *j, const char *what)
{
	struct str path = job_param(j, "journal"), line;
	char id[UUID_TEXT_LEN + 1];
	int fd;

	if (!path.p)
		return;
	uuid_text(j->id, id);
	line = str_fmt(j->arena, "%s %s %d %d\n", id, what, j->attempt, (int)getpid());
	fd = open(str_z(j->arena, path), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	must(fd >= 0 && write(fd, line.p, line.n) == (ssize_t)line.n);
	close(fd);
}

static void
queue_effect(struct job *j)
{
	struct query *q = job_query(j, &effect);

	bind_str(q, uuid_str(j->arena, j->id));
}

/* Until the file `until` is there; false when told to stop. */
static bool
wait_for_file(struct job *j)
{
	struct str until = job_param(j, "until");
	int64_t n = 0, total = job_param_i64(j, "total");

	while (until.p && access(str_z(j->arena, until), F_OK) != 0) {
		if (!job_beat(j, ++n, total))
			return false;
		poll(NULL, 0, 10);
	}
	return true;
}

static enum job_end
run_work(struct job *j)
{
	struct json_object *result = json_object_new_object();

	journal(j, "begin");
	queue_effect(j);
	json_object_object_add(result, "attempt", json_object_new_int(j->attempt));
	job_result(j, result);
	if (!wait_for_file(j)) {
		journal(j, "stop");
		return JOB_CANCELLED;
	}
	journal(j, "end");
	return JOB_DONE;
}

static enum job_end
run_crash(struct job *j)
{
	journal(j, "crash");
	raise(SIGKILL);
	return JOB_DONE;
}

static enum job_end
run_retry(struct job *j)
{
	journal(j, "retry");
	queue_effect(j);
	job_error(j, "busy", "The other side is busy (%d).", j->attempt);
	return JOB_RETRY;
}

static enum job_end
run_fail(struct job *j)
{
	journal(j, "fail");
	queue_effect(j);
	job_error(j, "hopeless", "It will never be.");
	return JOB_FAILED;
}

static enum job_end
run_refused(struct job *j)
{
	journal(j, "refused");
	queue_effect(j);
	job_query(j, &refused);
	return JOB_DONE;
}

static void
given_up(struct job *j)
{
	journal(j, "given_up");
	if (job_param(j, "crash_again").p)
		raise(SIGKILL);
}

const struct job_kind job_kinds[] = {
    {"test.work", run_work, 100, given_up},
    {"test.crash", run_crash, 100, given_up},
    {"test.retry", run_retry, 100, given_up},
    {"test.fail", run_fail, 100, given_up},
    {"test.refused", run_refused, 100, given_up},
};
const size_t n_job_kinds = sizeof(job_kinds) / sizeof(job_kinds[0]);

const struct timer timers[] = {
    {"jobs_prune", timer_jobs_prune, false},
};
const size_t n_timers = sizeof(timers) / sizeof(timers[0]);
