/* The Postgres sink: tasks. What is begun, marked or ended here is committed before anybody acts on
 * it; what was not answered is asked again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "gateway/sink_pg.h"
#include "gen/gateway_sql.h"

enum {
	LOOK_MS = 3000, /* without being told */
	HURRY_MS = 2,
	ERRANDS_MOST = 16,
	PARAMS_DEPTH = 12,
	SECRET_ARENA = 16 * 1024,
	END_BYTES = 8192,
};

/* One that the client was given and whose end is not committed. */
struct open_task {
	struct sink_pg *k;
	struct uuid job, printer;
	int64_t fencing;
	bool starting, ended, may;
	bool asked; /* an answer of the database is awaited */
	bool lost;  /* the printer went to another gateway meanwhile */
	const char *outcome;
	char *result, *error; /* JSON, or NULL */
};

/* What one transaction hands over. */
struct taken {
	struct sink_pg *k;
	PGresult *rows;
};

static void send_end(struct open_task *o);
static void send_starting(struct open_task *o);

static void
forget(struct open_task *o)
{
	uuid_map_take(&o->k->tasks, o->job);
	free(o->result);
	free(o->error);
	free(o);
}

void
sink_pg_tasks_hurry(struct sink_pg *k)
{
	timer_set(k->loop, &k->look, HURRY_MS);
}

void
sink_pg_tasks_revoke(struct sink_pg *k, struct uuid printer)
{
	struct open_task *o;
	size_t at = 0;

	while ((o = uuid_map_next(&k->tasks, &at)) != NULL) {
		if (!uuid_eq(o->printer, printer) || o->lost)
			continue;
		o->lost = true;
		if (o->asked)
			continue;
		forget(o);
		at = 0;
	}
}

void
sink_pg_tasks_fini(struct sink_pg *k)
{
	struct open_task *o;
	size_t at = 0;

	timer_stop(k->loop, &k->look);
	while ((o = uuid_map_next(&k->tasks, &at)) != NULL) {
		free(o->result);
		free(o->error);
		free(o);
	}
	uuid_map_fini(&k->tasks);
}

/* --- taking ----------------------------------------------------------------------------------- */

static struct str
secret_of(struct arena *a, struct sink_pg *k, const struct work_task *w)
{
	struct json_object *v = NULL;
	struct seal_place place = SEAL_JOB_SECRET(w->org, w->job);
	struct str hex, sealed, plain;
	uint8_t *bytes;

	if (!json_object_object_get_ex(w->params, "secret", &v) || !json_object_get_string_len(v))
		return STR_NONE;
	hex = (struct str){json_object_get_string(v), (size_t)json_object_get_string_len(v)};
	bytes = arena_alloc(a, hex.n / 2 + 1);
	sealed = (struct str){(const char *)bytes, hex.n / 2};
	if (str_unhex(hex, bytes, sealed.n) && seal_open(a, k->key, &place, sealed, &plain))
		return plain;
	log_warn("a secret cannot be opened", LOG_Z("of", "a connection test"));
	return STR_NONE;
}

static struct json_object *
params_of(struct str text)
{
	struct json_tokener *tokener = json_tokener_new_ex(PARAMS_DEPTH);
	struct json_object *v;

	must(tokener != NULL);
	v = json_tokener_parse_ex(tokener, text.p, (int)text.n);
	json_tokener_free(tokener);
	return v ? v : json_object_new_object();
}

static struct uuid
uuid_of(const PGresult *res, int row, const char *column)
{
	struct uuid u = {{0}};
	struct str text = pgq_text(res, row, column);

	if (text.p)
		must(uuid_parse(text, &u));
	return u;
}

static bool
flag_of(const PGresult *res, int row, const char *column)
{
	return str_eq(pgq_text(res, row, column), STR("t"));
}

static void
keep(struct sink_pg *k, const struct work_task *w, int64_t fencing)
{
	struct open_task *o = uuid_map_get(&k->tasks, w->job);

	if (!o) {
		o = calloc(1, sizeof(*o));
		must(o != NULL);
		o->k = k;
		o->job = w->job;
		uuid_map_put(&k->tasks, o->job, o);
	}
	o->printer = w->printer;
	o->fencing = fencing;
}

static void
give(struct sink_pg *k, const PGresult *res, int row)
{
	struct arena *a = arena_new(SECRET_ARENA);
	struct work_task w = {
	    .org = uuid_of(res, row, "org_id"),
	    .job = uuid_of(res, row, "job_id"),
	    .printer = uuid_of(res, row, "printer_id"),
	    .kind = pgq_text(res, row, "kind"),
	    .params = params_of(pgq_text(res, row, "params")),
	    .number = pgq_i64(res, row, "number"),
	    .patience_ms = pgq_i64(res, row, "patience_ms"),
	    .resumed = flag_of(res, row, "resumed"),
	    .starting = str_eq(pgq_text(res, row, "phase"), STR("starting")),
	    .cancelled = flag_of(res, row, "cancelled"),
	    .file =
		{
		    .present = pgq_text(res, row, "blob_id").p != NULL,
		    .remote = str_eq(pgq_text(res, row, "blob_location"), STR("s3")),
		    .blob = uuid_of(res, row, "blob_id"),
		    .filename = pgq_text(res, row, "filename"),
		    .kind = pgq_text(res, row, "file_kind"),
		    .sha256 = pgq_text(res, row, "sha256"),
		    .size = pgq_i64(res, row, "size_bytes"),
		},
	};

	w.secret = secret_of(a, k, &w);
	keep(k, &w, pgq_i64(res, row, "fencing"));
	k->client.task(k->client.ctx, &w);
	json_object_put(w.params);
	arena_free(a);
}

/* Rows come before the commit that makes them true. */
static void
on_rows(void *ctx, size_t statement, const PGresult *res)
{
	struct taken *taken = ctx;

	(void)statement;
	taken->rows = PQcopyResult(res, PG_COPYRES_ATTRS | PG_COPYRES_TUPLES);
	must(taken->rows != NULL);
}

static void
on_taken(void *ctx, bool ok, const char *sqlstate)
{
	struct taken *taken = ctx;

	(void)sqlstate;
	for (int row = 0; ok && taken->rows && row < PQntuples(taken->rows); row++)
		give(taken->k, taken->rows, row);
	PQclear(taken->rows);
	free(taken);
}

static struct taken *
taken_new(struct sink_pg *k)
{
	struct taken *taken = calloc(1, sizeof(*taken));

	must(taken != NULL);
	taken->k = k;
	return taken;
}

static void
add_id(struct buf *b, struct uuid id)
{
	char text[UUID_TEXT_LEN + 1];

	uuid_text(id, text);
	if (b->n > 1)
		buf_char(b, ',');
	buf_add(b, text, UUID_TEXT_LEN);
}

static void
known_ids(const struct sink_pg *k, struct buf *b)
{
	struct open_task *o;
	size_t at = 0;

	buf_init(b, (k->tasks.n + 1) * (UUID_TEXT_LEN + 1) + 3);
	buf_char(b, '{');
	while ((o = uuid_map_next(&k->tasks, &at)) != NULL)
		add_id(b, o->job);
	buf_add(b, "}", 2); /* with its NUL */
	must(!b->overflow);
}

static void
take(struct sink_pg *k, const PGresult *waiting)
{
	char id[UUID_TEXT_LEN + 1];
	struct buf printers, known;
	const char *values[] = {id, NULL, NULL};
	int n = 0;

	buf_init(&printers, ((size_t)PQntuples(waiting) + 1) * (UUID_TEXT_LEN + 1) + 3);
	buf_char(&printers, '{');
	for (int row = 0; row < PQntuples(waiting); row++) {
		struct uuid printer = uuid_of(waiting, row, "printer_id");

		if (!k->client.ready(k->client.ctx, printer))
			continue;
		add_id(&printers, printer);
		n++;
	}
	buf_add(&printers, "}", 2); /* with its NUL */
	if (n > 0) {
		known_ids(k, &known);
		uuid_text(leases_gateway_id(k->leases), id);
		values[1] = printers.p;
		values[2] = known.p;
		pgq_add(k->q, &SQL_gw_task_take, values);
		pgq_commit(k->q, on_rows, on_taken, taken_new(k));
		buf_fini(&known);
	}
	buf_fini(&printers);
}

/* --- looking ---------------------------------------------------------------------------------- */

static void
on_seen(void *ctx, size_t statement, const PGresult *res)
{
	struct sink_pg *k = ctx;

	if (statement == 0 && PQntuples(res) > 0)
		take(k, res);
}

static void
on_looked(void *ctx, bool ok, const char *sqlstate)
{
	struct sink_pg *k = ctx;

	(void)ok;
	(void)sqlstate;
	k->looking = false;
	if (k->look_again)
		sink_pg_tasks_hurry(k);
	k->look_again = false;
}

/* Ends and marks whose answer got lost with the connection. */
static void
say_again(struct sink_pg *k)
{
	struct open_task *o;
	size_t at = 0;

	while ((o = uuid_map_next(&k->tasks, &at)) != NULL) {
		if (o->asked)
			continue;
		if (o->ended)
			send_end(o);
		else if (o->starting)
			send_starting(o);
	}
}

void
sink_pg_tasks_look(void *ctx)
{
	struct sink_pg *k = ctx;
	char id[UUID_TEXT_LEN + 1], most[12], silence[40];
	const char *mine[] = {id}, *any[] = {id, most, silence};

	timer_set(k->loop, &k->look, LOOK_MS);
	if (!pgq_is_up(k->q) || k->stopping)
		return;
	say_again(k);
	if (k->looking) {
		k->look_again = true;
		return;
	}
	k->looking = true;
	uuid_text(leases_gateway_id(k->leases), id);
	snprintf(most, sizeof(most), "%d", ERRANDS_MOST);
	snprintf(silence, sizeof(silence), "%lld ms", 2LL * (long long)k->cfg.lease_ms);
	pgq_add(k->q, &SQL_gw_task_take_any, any);
	pgq_commit(k->q, on_rows, on_taken, taken_new(k));
	pgq_add(k->q, &SQL_gw_tasks_waiting, mine);
	pgq_add(k->q, &SQL_gw_tasks_expire, NULL);
	pgq_commit(k->q, on_seen, on_looked, k);
}

/* --- what the client tells ---------------------------------------------------------------------
 */

static void
on_starting_row(void *ctx, size_t statement, const PGresult *res)
{
	struct open_task *o = ctx;

	(void)statement;
	o->may = pgq_i64(res, 0, "may") != 0;
}

static void
on_starting_done(void *ctx, bool ok, const char *sqlstate)
{
	struct open_task *o = ctx;

	struct sink_pg *k = o->k;

	o->asked = false;
	if (!ok && sqlstate)
		log_error("a start cannot be written down", LOG_Z("sqlstate", sqlstate));
	if (o->lost) {
		forget(o);
		return;
	}
	if (ok) {
		o->starting = false;
		k->client.may_start(k->client.ctx, o->printer, o->job, o->may);
		return;
	}
	if (o->ended)
		send_end(o);
}

static void
send_starting(struct open_task *o)
{
	struct sink_pg *k = o->k;
	char id[UUID_TEXT_LEN + 1], job[UUID_TEXT_LEN + 1], fencing[24];
	const char *values[] = {id, job, fencing};

	if (o->asked || !pgq_is_up(k->q))
		return;
	o->asked = true;
	uuid_text(leases_gateway_id(k->leases), id);
	uuid_text(o->job, job);
	snprintf(fencing, sizeof(fencing), "%lld", (long long)o->fencing);
	pgq_add(k->q, &SQL_gw_task_starting, values);
	pgq_commit(k->q, on_starting_row, on_starting_done, o);
}

void
sink_pg_task_starting(struct sink *base, struct uuid job)
{
	struct sink_pg *k = (struct sink_pg *)base;
	struct open_task *o = uuid_map_get(&k->tasks, job);

	if (!o)
		return;
	o->starting = true;
	send_starting(o);
}

void
sink_pg_task_progress(struct sink *base, struct uuid job_id, int64_t done, int64_t total)
{
	struct sink_pg *k = (struct sink_pg *)base;
	struct open_task *o = uuid_map_get(&k->tasks, job_id);
	char id[UUID_TEXT_LEN + 1], job[UUID_TEXT_LEN + 1], fencing[24], progress[80];
	const char *values[] = {id, job, fencing, progress};

	if (!o || !pgq_is_up(k->q))
		return;
	uuid_text(leases_gateway_id(k->leases), id);
	uuid_text(job_id, job);
	snprintf(fencing, sizeof(fencing), "%lld", (long long)o->fencing);
	snprintf(progress, sizeof(progress), "{\"done\": %lld, \"total\": %lld}", (long long)done,
	    (long long)total);
	pgq_add(k->q, &SQL_gw_task_progress, values);
	pgq_commit(k->q, NULL, NULL, NULL);
}

static void
on_end_done(void *ctx, bool ok, const char *sqlstate)
{
	struct open_task *o = ctx;
	struct sink_pg *k = o->k;

	o->asked = false;
	if (!ok && !sqlstate && !o->lost)
		return; /* said again when the database is back */
	if (!ok && sqlstate)
		log_error("a task's end cannot be written", LOG_Z("sqlstate", sqlstate));
	forget(o);
	sink_pg_tasks_hurry(k); /* the next one may begin */
}

static void
send_end(struct open_task *o)
{
	struct sink_pg *k = o->k;
	char id[UUID_TEXT_LEN + 1], job[UUID_TEXT_LEN + 1], fencing[24];
	const char *values[] = {id, job, fencing, o->outcome, o->result, o->error};

	if (o->asked || !pgq_is_up(k->q))
		return;
	o->asked = true;
	uuid_text(leases_gateway_id(k->leases), id);
	uuid_text(o->job, job);
	snprintf(fencing, sizeof(fencing), "%lld", (long long)o->fencing);
	pgq_add(k->q, &SQL_gw_task_end, values);
	pgq_commit(k->q, NULL, on_end_done, o);
}

static char *
error_json(const struct task_end *end)
{
	struct buf b;
	char *text;

	buf_init(&b, END_BYTES);
	buf_str(&b, STR("{\"code\":"));
	buf_json_str(&b, str_from(end->code));
	buf_str(&b, STR(",\"message\":"));
	buf_json_str(&b, str_from(end->message));
	buf_char(&b, '}');
	must(!b.overflow);
	text = strndup(b.p, b.n);
	must(text != NULL);
	buf_fini(&b);
	return text;
}

void
sink_pg_task_end(struct sink *base, struct uuid job, const struct task_end *end)
{
	static const char *const outcomes[] = {"succeeded", "failed", "cancelled"};
	struct sink_pg *k = (struct sink_pg *)base;
	struct open_task *o = uuid_map_get(&k->tasks, job);
	char id[UUID_TEXT_LEN + 1];

	if (!o || o->ended)
		return;
	o->ended = true;
	o->outcome = outcomes[end->outcome];
	o->error = end->outcome == TASK_FAILED ? error_json(end) : NULL;
	if (end->result.p) {
		o->result = strndup(end->result.p, end->result.n);
		must(o->result != NULL);
	}
	uuid_text(job, id);
	log_info("task ended", LOG_Z("operation_id", id), LOG_Z("outcome", o->outcome),
	    LOG_Z("code", end->outcome == TASK_FAILED ? end->code : ""));
	send_end(o);
}
