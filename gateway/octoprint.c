/* An OctoPrint's connection: says hello, asks for the state, and listens. */
#include "gateway/octoprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/octoprint_link.h"
#include "gateway/reading.h"

enum {
	/* Its server has one thread: no oftener than that. */
	POLL_MS = 2000,
	/* A websocket without a message for so long is backed by a question: it says nothing while
	 * there is no printer. */
	QUIET_MS = 15000,
	CALL_MS = 15000,
	ANSWER_MOST = 256 * 1024,
	SETTINGS_MOST = 1024 * 1024,
	COLUMNS = REC_STATE | REC_JOB | REC_TEMPERATURES | REC_FANS | REC_SPEED | REC_LIGHTS |
	    REC_AMS | REC_ERRORS | REC_FIRMWARE,
};

static void on_tick(void *ctx);

/* --- once per process ------------------------------------------------------------------------- */

static void *
init(const struct driver_config *cfg)
{
	struct octo_env *env = calloc(1, sizeof(*env));

	must(env != NULL && cfg->http != NULL);
	env->http = cfg->http;
	env->tokener = reading_tokener(OCTO_DEPTH);
	return env;
}

static void
fini(void *ctx)
{
	struct octo_env *env = ctx;

	json_tokener_free(env->tokener);
	free(env);
}

static void *
create(void *env, struct session *s)
{
	struct octo *o = calloc(1, sizeof(*o));

	must(o != NULL);
	o->env = env;
	o->s = s;
	o->tick = (struct timer){.fn = on_tick, .ctx = o};
	octo_state_init(&o->state);
	return o;
}

static void
recall(void *d, enum printer_state state, enum job_outcome outcome, int64_t started_ms,
    int32_t progress)
{
	struct octo *o = d;

	o->state.last = state == PRINTER_ERROR ? PRINTER_IDLE : state;
	o->state.seen_state = true;
	o->state.outcome = outcome;
	o->state.started_ms = started_ms;
	o->state.last_percent = progress;
}

/* --- the connection's end --------------------------------------------------------------------- */

static void
disconnect(void *d)
{
	struct octo *o = d;

	timer_stop(session_gateway(o->s)->loop, &o->tick);
	octo_push_end(o);
	http_client_free(o->reads);
	http_client_free(o->acts);
	o->reads = o->acts = NULL;
	memset(o->calls, 0, sizeof(o->calls));
	octo_steps_fini(&o->steps);
	o->transfer = NULL;
}

static void
destroy(void *d)
{
	struct octo *o = d;

	disconnect(o);
	free(o);
}

void
octo_fail(struct octo *o, enum conn_reason reason)
{
	disconnect(o);
	session_failed(o->s, reason);
}

/* --- requests --------------------------------------------------------------------------------- */

void
octo_call_with(
    struct octo *o, enum octo_call kind, const char *path, struct http_request *r, http_done done)
{
	const struct http_header headers[] = {
	    {"X-Api-Key", session_secret(o->s)}, {"Accept", "application/json"}};
	char url[OCTO_PATH * 3 + 200];

	must(o->calls[kind] == NULL);
	if (!http_url(url, sizeof(url), "http", session_host(o->s), o->port, "", path))
		url[0] = '\0'; /* answered as HTTP_UNUSABLE */
	r->url = url;
	r->address = o->address;
	r->once = kind >= CALL_COMMAND;
	r->headers = headers;
	r->n_headers = sizeof(headers) / sizeof(headers[0]);
	o->calls[kind] = http_send(kind >= CALL_COMMAND ? o->acts : o->reads, r, done, o);
}

void
octo_call(
    struct octo *o, enum octo_call kind, const char *path, const struct buf *body, http_done done)
{
	struct http_request r = {
	    .method = "GET",
	    .total_ms = CALL_MS,
	    .most = kind == CALL_SETTINGS ? SETTINGS_MOST : ANSWER_MOST,
	};

	if (body) {
		r.method = "POST";
		r.body = buf_view(body);
		r.body_type = "application/json";
	}
	octo_call_with(o, kind, path, &r, done);
}

/* While it starts another server answers in its place, some versions of it without headers; or the
 * web server in front says that nobody is there. */
static bool
is_starting(const struct http_reply *r)
{
	if (r->fault != HTTP_OK)
		return r->fault == HTTP_BROKEN && strstr(r->words, "HTTP/0.9") != NULL;
	return r->status == 502 || r->status == 503 || r->status == 504 ||
	    (r->status == 404 && str_eq(r->body, STR("Not found")));
}

/* The websocket does not tell enough to do without questions. */
static bool
is_quiet(const struct octo *o)
{
	int64_t now = loop_now(session_gateway(o->s)->loop);

	return !o->authed || o->pushed_ms == 0 || now - o->pushed_ms >= QUIET_MS;
}

bool
octo_answered(struct octo *o, const struct http_reply *r)
{
	enum conn_reason reason = REASON_UNREACHABLE;

	if (r->fault == HTTP_OK && r->first_byte_us > 0)
		session_round_trip(o->s, r->first_byte_us);
	/* A large file keeps its one thread busy while the websocket goes on. */
	if (r->fault == HTTP_TOO_LARGE ||
	    (r->fault == HTTP_TIMEOUT && (!is_quiet(o) || o->calls[CALL_UPLOAD]))) {
		session_gateway(o->s)->counters.ignored++;
		return true;
	}
	if (is_starting(r))
		reason = REASON_STARTING;
	else if (r->fault == HTTP_OK && (r->status == 401 || r->status == 403))
		reason = REASON_WRONG_ACCESS_CODE;
	else if (r->fault == HTTP_OK)
		return true;
	octo_fail(o, reason);
	return false;
}

static struct json_object *
json_of(struct octo *o, const struct http_reply *r)
{
	struct gateway_counters *count = &session_gateway(o->s)->counters;
	int64_t start = clock_mono_us();
	struct json_object *v;

	if (r->fault != HTTP_OK || r->status != 200)
		return NULL;
	v = reading_object(o->env->tokener, r->body);
	count->parse_us += clock_mono_us() - start;
	if (!v)
		count->ignored++;
	return v;
}

/* --- what it says ----------------------------------------------------------------------------- */

void
octo_report(struct octo *o)
{
	struct gateway_counters *count = &session_gateway(o->s)->counters;
	bool first = !o->state.full;
	int64_t start = clock_mono_us();
	uint32_t changed;

	o->state.full = true;
	changed = octo_map(&o->state, clock_unix_ms(), session_record(o->s));
	count->reports++;
	count->map_us += clock_mono_us() - start;
	session_report(o->s, first ? COLUMNS : changed,
	    octo_printer_gone(&o->state) ? REASON_PRINTER_NOT_CONNECTED : REASON_NONE);
}

static void
on_settings(void *ctx, const struct http_reply *r)
{
	struct octo *o = ctx;
	struct json_object *v = json_of(o, r);

	o->calls[CALL_SETTINGS] = NULL;
	if (v) /* a key without the right to read settings works well without a camera */
		octo_take_camera(v, session_host(o->s), o->address, o->port, &o->camera);
	json_object_put(v);
}

static void
after_poll(struct octo *o)
{
	octo_report(o);
	if (!o->asked_settings) {
		o->asked_settings = true;
		octo_call(o, CALL_SETTINGS, "/api/settings", NULL, on_settings);
	}
	octo_push_begin(o);
}

static void
after_stale_poll(struct octo *o)
{
	session_heard(o->s);
	if (o->asked)
		octo_poll_in(o, 0);
}

static void
on_job(void *ctx, const struct http_reply *r)
{
	struct octo *o = ctx;
	struct json_object *v;

	o->calls[CALL_JOB] = NULL;
	if (!octo_answered(o, r))
		return;
	if (o->stale_poll) {
		after_stale_poll(o);
		return;
	}
	v = json_of(o, r);
	if (v && octo_take_job(&o->state, v))
		after_poll(o);
	json_object_put(v);
}

static void
on_printer(void *ctx, const struct http_reply *r)
{
	struct octo *o = ctx;
	struct json_object *v;
	bool good;

	o->calls[CALL_PRINTER] = NULL;
	if (!octo_answered(o, r))
		return;
	if (o->stale_poll) {
		after_stale_poll(o);
		return;
	}
	v = json_of(o, r);
	good = r->status == 409 || (v && octo_take_printer(&o->state, v));
	if (r->status == 409)
		octo_take_no_printer(&o->state);
	if (good) /* the job second: it is not older than the state */
		octo_call(o, CALL_JOB, "/api/job", NULL, on_job);
	json_object_put(v);
}

static void
poll(struct octo *o)
{
	if (o->calls[CALL_PRINTER] || o->calls[CALL_JOB])
		return;
	o->asked = o->stale_poll = false;
	octo_call(o, CALL_PRINTER, "/api/printer?exclude=sd", NULL, on_printer);
}

void
octo_poll_in(struct octo *o, int64_t ms)
{
	timer_set(session_gateway(o->s)->loop, &o->tick, ms);
}

static void
on_tick(void *ctx)
{
	struct octo *o = ctx;

	octo_poll_in(o, POLL_MS);
	if (o->asked || !o->state.full || is_quiet(o))
		poll(o);
}

/* --- the connection's begin ------------------------------------------------------------------- */

static void
on_hello(void *ctx, const struct http_reply *r)
{
	struct octo *o = ctx;
	struct json_object *v;
	bool good;

	o->calls[CALL_HELLO] = NULL;
	if (!octo_answered(o, r))
		return;
	v = json_of(o, r);
	good = v && octo_take_version(&o->state, v);
	json_object_put(v);
	if (!good) { /* somebody else lives there */
		octo_fail(o, REASON_UNREACHABLE);
		return;
	}
	session_up(o->s);
	octo_poll_in(o, POLL_MS);
	poll(o);
}

static void
connect_to(void *d, const char *address, int port)
{
	struct octo *o = d;

	octo_state_forget(&o->state);
	memset(&o->camera, 0, sizeof(o->camera));
	o->asked_settings = o->asked = o->authed = false;
	o->push_at = o->push_wait_ms = o->pushed_ms = 0;
	snprintf(o->address, sizeof(o->address), "%s", address);
	o->port = port;
	o->reads = http_client_new(o->env->http, &(struct http_client_options){.parallel = 2});
	o->acts = http_client_new(
	    o->env->http, &(struct http_client_options){.parallel = 3, .no_reuse = true});
	octo_call(o, CALL_HELLO, "/api/version", NULL, on_hello);
}

static void
ask(void *d)
{
	struct octo *o = d;

	if (o->reads && !o->calls[CALL_HELLO])
		poll(o);
}

static void
camera(const void *d, struct camera_source *out)
{
	const struct octo *o = d;

	*out = o->camera;
}

const struct driver octoprint_driver = {
    .protocol = "octoprint",
    .port = 5000,
    .needs_secret = true,
    .commands = OCTO_COMMANDS,
    .init = init,
    .fini = fini,
    .create = create,
    .destroy = destroy,
    .connect = connect_to,
    .disconnect = disconnect,
    .ask = ask,
    .nudge = ask,
    .recall = recall,
    .command = octo_command,
    .upload = octo_upload,
    .start = octo_start,
    .abort = octo_abort,
    .is_job = octo_is_job,
    .camera = camera,
};
