/* A whole driver, for a printer that answers GET /api/state with
 * {"state": "printing", "percent": 42, "file": "boat.gcode", "nozzle": [210.5, 210]} and takes
 * POST /api/pause. docs/drivers.md goes through it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/driver.h"
#include "gateway/http.h"
#include "gateway/http_url.h"
#include "gateway/reading.h"
#include "gateway/session.h"

enum { POLL_MS = 2000, ANSWER_MOST = 16 * 1024, DEPTH_MOST = 8 };

struct acme {
	struct session *s;
	struct http_client *client;
	struct http_call *asking, *telling;
	struct timer poll;
	char address[64], key[160];
	int port;
	bool up;
	enum printer_state last; /* as the printer said */
	int64_t started_ms;
};

static void poll_now(void *ctx);

/* --- what it says ------------------------------------------------------------------------------
 */

static struct json_object *
parse(struct str text)
{
	struct json_tokener *t = json_tokener_new_ex(DEPTH_MOST);
	struct json_object *v;

	must(t != NULL);
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	v = json_tokener_parse_ex(t, text.p, (int)text.n);
	json_tokener_free(t);
	return v;
}

static enum printer_state
state_of(struct json_object *v, enum printer_state otherwise)
{
	static const struct {
		const char *name;
		enum printer_state state;
	} names[] = {{"idle", PRINTER_IDLE}, {"printing", PRINTER_PRINTING},
	    {"paused", PRINTER_PAUSED}, {"done", PRINTER_FINISHED}, {"broken", PRINTER_ERROR}};
	char text[16] = "";

	reading_text(reading_member(v, "state"), text, sizeof(text));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(text, names[i].name) == 0)
			return names[i].state;
	return otherwise;
}

/* State and outcome are two things: a job that vanishes while it printed was cancelled. */
static void
job_of(struct acme *a, struct json_object *v, enum printer_state to, struct rec_job *job)
{
	int64_t percent = REC_NONE;
	bool was_busy = printer_state_busy(a->last);

	memset(job, 0, sizeof(*job));
	if (printer_state_busy(to) && !was_busy)
		a->started_ms = clock_unix_ms();
	job->present = printer_state_busy(to) || to == PRINTER_FINISHED || was_busy;
	reading_text(reading_member(v, "file"), job->file, sizeof(job->file));
	memcpy(job->name, job->file, sizeof(job->name));
	reading_i64(reading_member(v, "percent"), &percent);
	job->progress = percent >= 0 && percent <= 100 ? (int32_t)percent : REC_NONE;
	job->remaining_s = job->layer = job->total_layers = REC_NONE;
	job->started_ms = a->started_ms;
	if (to == PRINTER_FINISHED)
		job->outcome = OUTCOME_COMPLETED;
	else if (was_busy && to == PRINTER_IDLE)
		job->outcome = OUTCOME_CANCELLED;
}

static void
temperatures_of(struct json_object *v, struct rec_temperatures *t)
{
	struct json_object *pair = reading_member(v, "nozzle");
	double actual, target;

	memset(t, 0, sizeof(*t));
	t->bed.actual_dc = t->bed.target_dc = REC_NONE;
	if (!json_object_is_type(pair, json_type_array) || json_object_array_length(pair) != 2 ||
	    !reading_double(json_object_array_get_idx(pair, 0), &actual) ||
	    !reading_double(json_object_array_get_idx(pair, 1), &target) || actual < -300 ||
	    actual > 2000 || target < 0 || target > 2000)
		return;
	t->present = true;
	t->n_nozzles = 1;
	t->nozzles[0].t = (struct rec_temp){(int32_t)(actual * 10), (int32_t)(target * 10)};
}

static void
take(struct acme *a, struct json_object *v)
{
	struct record *r = session_record(a->s);
	enum printer_state to = state_of(v, a->last);
	struct rec_temperatures t;
	struct rec_job job;
	uint32_t changed = 0;

	job_of(a, v, to, &job);
	temperatures_of(v, &t);
	a->last = to;
	if (r->state != to) {
		r->state = to;
		changed |= REC_STATE;
	}
	changed |= RECORD_SET(r, job, &job, REC_JOB);
	changed |= RECORD_SET(r, temperatures, &t, REC_TEMPERATURES);
	session_report(a->s, changed, REASON_NONE);
}

static void
on_state(void *ctx, const struct http_reply *reply)
{
	struct acme *a = ctx;
	struct json_object *v;

	a->asking = NULL;
	if (reply->fault != HTTP_OK || reply->status != 200) {
		session_failed(
		    a->s, reply->status == 401 ? REASON_WRONG_ACCESS_CODE : REASON_UNREACHABLE);
		return;
	}
	if (!a->up)
		session_up(a->s);
	a->up = true;
	session_round_trip(a->s, reply->first_byte_us);
	v = parse(reply->body);
	if (json_object_is_type(v, json_type_object))
		take(a, v);
	else
		session_gateway(a->s)->counters.ignored++;
	json_object_put(v);
	timer_set(session_gateway(a->s)->loop, &a->poll, POLL_MS);
}

static struct http_call *
call(struct acme *a, const char *method, const char *path, http_done done)
{
	char url[256];
	struct http_header key = {"X-Key", a->key};
	struct http_request r = {
	    .method = method, .url = url, .headers = &key, .n_headers = 1, .most = ANSWER_MOST};

	if (method)
		r.once = r.fresh = true; /* nothing that moves a machine is repeated */
	must(http_url(url, sizeof(url), "http", a->address, a->port, "", path));
	return http_send(a->client, &r, done, a);
}

static void
poll_now(void *ctx)
{
	struct acme *a = ctx;

	if (!a->asking)
		a->asking = call(a, NULL, "/api/state", on_state);
}

/* --- what it is told ---------------------------------------------------------------------------
 */

static void
on_told(void *ctx, const struct http_reply *reply)
{
	struct acme *a = ctx;

	a->telling = NULL;
	if (reply->fault != HTTP_OK)
		session_answer(a->s, ANSWER_LOST, NULL);
	else
		session_answer(
		    a->s, reply->status == 204 ? ANSWER_ACCEPTED : ANSWER_REFUSED, reply->body.p);
	timer_set(session_gateway(a->s)->loop, &a->poll, 0); /* its state is what confirms it */
}

static void
command(void *d, const struct command *c)
{
	struct acme *a = d;

	(void)c; /* CMD_PAUSE is all that `commands` lets through */
	a->telling = call(a, "POST", "/api/pause", on_told);
}

/* --- the session's side ------------------------------------------------------------------------
 */

static void *
init(const struct driver_config *cfg)
{
	return cfg->http;
}

static void
fini(void *env)
{
	(void)env;
}

static void *
create(void *env, struct session *s)
{
	struct acme *a = calloc(1, sizeof(*a));
	struct http_client_options options = {.parallel = 2};

	must(a != NULL);
	a->s = s;
	a->client = http_client_new(env, &options);
	a->poll = (struct timer){.fn = poll_now, .ctx = a};
	snprintf(a->key, sizeof(a->key), "%s", session_secret(s));
	return a;
}

static void
disconnect(void *d)
{
	struct acme *a = d;

	timer_stop(session_gateway(a->s)->loop, &a->poll);
	if (a->asking)
		http_cancel(a->asking);
	if (a->telling)
		http_cancel(a->telling);
	a->asking = a->telling = NULL;
	a->up = false;
}

static void
destroy(void *d)
{
	struct acme *a = d;

	disconnect(a);
	http_client_free(a->client);
	explicit_bzero(a->key, sizeof(a->key));
	free(a);
}

static void
connect_to(void *d, const char *address, int port)
{
	struct acme *a = d;

	snprintf(a->address, sizeof(a->address), "%s", address);
	a->port = port;
	poll_now(a);
}

static void
nudge(void *d)
{
	(void)d; /* it is asked all the time */
}

static void
recall(void *d, enum printer_state state, enum job_outcome outcome, int64_t started_ms,
    int32_t progress)
{
	struct acme *a = d;

	(void)outcome;
	(void)progress;
	a->last = state;
	a->started_ms = started_ms;
}

const struct driver acme_driver = {
    .protocol = "acme",
    .port = 80,
    .needs_secret = true,
    .commands = CMD_BIT(CMD_PAUSE),
    .init = init,
    .fini = fini,
    .create = create,
    .destroy = destroy,
    .connect = connect_to,
    .disconnect = disconnect,
    .ask = poll_now,
    .nudge = nudge,
    .recall = recall,
    .command = command,
};
