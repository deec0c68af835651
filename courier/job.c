/* What a kind of job sees: its statements, its lease, its words. */
#include "courier/job.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "courier/courier.h"
#include "gen/courier_sql.h"
#include "gen/errors.h"

enum {
	BEAT_MS = 1000,
	DATABASE_MS = 200, /* between tries while it is away */
	MESSAGE_MOST = 500,
};

/* --- statements ------------------------------------------------------------------------------- */

struct query *
job_query(struct job *j, const struct sql *sql)
{
	struct query *q = pg_query(j->arena, sql);

	if (j->last)
		j->last->next = q;
	else
		j->first = q;
	j->last = q;
	return q;
}

void
job_forget(struct job *j)
{
	j->first = j->last = NULL;
}

/* The queued statements behind the one that checks the lease. */
static struct query *
entered(struct job *j)
{
	struct query *q = pg_query(j->arena, &SQL_job_enter);

	bind_uuid(q, j->courier->id);
	bind_uuid(q, j->org_id);
	bind_uuid(q, j->id);
	bind_i64(q, j->fencing);
	q->next = j->first;
	return q;
}

/* True when there is a connection; waits for one as long as the lease surely lasts. */
static bool
connected(struct job *j)
{
	while (pg_ready(j->courier->pg)) {
		if (proc_stop_asked() || clock_mono_ms() > j->held_until_ms)
			return false;
		pg_wait(j->courier->pg, proc_stop_fd(), DATABASE_MS);
	}
	return true;
}

const struct err *
job_run(struct job *j)
{
	struct query *list = entered(j);
	struct pg_failure f;
	const struct err *e;

	job_forget(j);
	if (!connected(j))
		return &err_database_unavailable;
	e = pg_run(j->courier->pg, j->arena, list, PG_IMPLICIT, &f);
	j->lost |= e && strcmp(f.sqlstate, "SLP42") == 0;
	return e;
}

/* --- the lease -------------------------------------------------------------------------------- */

static struct str
progress_json(struct arena *a, int64_t done, int64_t total)
{
	if (total > 0)
		return str_fmt(
		    a, "{\"done\":%lld,\"total\":%lld}", (long long)done, (long long)total);
	return str_fmt(a, "{\"done\":%lld,\"total\":null}", (long long)done);
}

/* Without an answer the lease counts as held until it must have run out. */
static void
renew(struct job *j, int64_t done, int64_t total)
{
	struct courier *c = j->courier;
	int64_t now = clock_mono_ms();
	struct query *q;

	arena_reset(c->scratch);
	q = pg_query(c->scratch, &SQL_job_beat);
	bind_uuid(q, c->id);
	bind_uuid(q, j->org_id);
	bind_uuid(q, j->id);
	bind_i64(q, j->fencing);
	bind_str(q, str_fmt(c->scratch, "%lld ms", (long long)c->cfg->lease_ms));
	bind_str(q, done || total ? progress_json(c->scratch, done, total) : STR_NONE);
	if (!courier_ask(c, q)) {
		j->lost = now > j->held_until_ms;
		return;
	}
	j->held_until_ms = now + c->cfg->lease_ms;
	j->lost = !str_eq(rows_get(q, 0, "held"), STR("t"));
	j->cancelled |= str_eq(rows_get(q, 0, "cancelled"), STR("t"));
}

static int64_t
beat_interval_ms(const struct courier_config *cfg)
{
	return cfg->lease_ms / 3 < BEAT_MS ? cfg->lease_ms / 3 : BEAT_MS;
}

bool
job_beat(struct job *j, int64_t done, int64_t total)
{
	int64_t now = clock_mono_ms();

	j->stopped = proc_stop_asked();
	if (j->lost || j->cancelled || j->stopped)
		return false;
	if (now - j->beat_at_ms < beat_interval_ms(j->courier->cfg))
		return true;
	j->beat_at_ms = now;
	courier_beat(j->courier);
	renew(j, done, total);
	return !j->lost && !j->cancelled;
}

/* --- words ------------------------------------------------------------------------------------ */

void
job_error(struct job *j, const char *code, const char *fmt, ...)
{
	char text[MESSAGE_MOST];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	j->error_code = str_dup(j->arena, str_from(code));
	j->error_message = str_dup(j->arena, str_from(text));
}

void
job_result(struct job *j, struct json_object *result)
{
	json_object_put(j->result);
	j->result = result;
}

static struct json_object *
member(const struct job *j, const char *name, enum json_type type)
{
	struct json_object *v;

	if (!json_object_object_get_ex(j->params, name, &v) || !json_object_is_type(v, type))
		return NULL;
	return v;
}

struct str
job_param(const struct job *j, const char *name)
{
	struct json_object *v = member(j, name, json_type_string);

	if (!v)
		return STR_NONE;
	return (struct str){json_object_get_string(v), (size_t)json_object_get_string_len(v)};
}

int64_t
job_param_i64(const struct job *j, const char *name)
{
	struct json_object *v = member(j, name, json_type_int);

	return v ? json_object_get_int64(v) : 0;
}
