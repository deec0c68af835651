/* PrusaLink: who we are to the printer, and polling. */
#include "gateway/prusalink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/prusalink_conn.h"

enum {
	IDLE_MS = 3000,
	PRINTING_MS = 5000, /* the firmware answers about once a second then */
	UPLOADING_MS = 10000,
	HURRY_MS = 1000, /* for some time after a command */
	HURRY_FOR_MS = 15000,
	PASSING_MS = 250,
	AGAIN_MS = 500, /* after a request without an answer */
	CONNECT_MS = 5000,
	ANSWER_MS = 10000,
	MISSES_MOST = 2,
	BAD_MOST = 5,
	BODY_MOST = 64 * 1024,
};

static const uint32_t columns = REC_STATE | REC_JOB | REC_TEMPERATURES | REC_FANS | REC_SPEED |
    REC_LIGHTS | REC_AMS | REC_ERRORS | REC_FIRMWARE | REC_EXTRA;

static void on_timer(void *ctx);
static void on_version(void *ctx, const struct http_reply *reply);
static void on_status(void *ctx, const struct http_reply *reply);

static struct loop *
loop_of(const struct prusalink *p)
{
	return session_gateway(p->s)->loop;
}

/* --- life ------------------------------------------------------------------------------------- */

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
	struct prusalink *p = calloc(1, sizeof(*p));

	must(p != NULL);
	p->http = env;
	p->s = s;
	p->timer = (struct timer){.fn = on_timer, .ctx = p};
	p->job_before = PRUSALINK_NO_JOB;
	prusalink_state_init(&p->state);
	return p;
}

static void
recall(void *d, enum printer_state state, enum job_outcome outcome, int64_t started_ms,
    int32_t progress)
{
	struct prusalink *p = d;

	p->state.last = state;
	p->state.seen_state = true;
	p->state.outcome = outcome;
	p->state.started_ms = started_ms;
	p->state.last_percent = progress;
}

static void
disconnect(void *d)
{
	struct prusalink *p = d;

	timer_stop(loop_of(p), &p->timer);
	prusalink_drop_orders(p);
	http_client_free(p->client);
	p->client = NULL;
	p->poll = NULL;
	p->up = false;
}

static void
destroy(void *d)
{
	disconnect(d);
	free(d);
}

/* --- who we are ------------------------------------------------------------------------------- */

/* "user:password" is Digest, ":key" a key. Without a colon it is the password of `maker`, or a key
 * when the printer does not take it as such: Digest comes first, since a key is readable on the
 * wire. */
static void
read_secret(struct prusalink *p)
{
	const char *secret = session_secret(p->s), *colon = strchr(secret, ':');

	p->refused = false;
	if (!colon) {
		if (!p->either)
			p->by_key = false;
		p->either = true;
		snprintf(p->user, sizeof(p->user), "maker");
		return;
	}
	p->either = false;
	p->by_key = colon == secret;
	snprintf(p->user, sizeof(p->user), "%.*s", (int)(colon - secret), secret);
}

/* The secret without what stands before its colon. */
static const char *
bare_secret(const struct prusalink *p)
{
	const char *secret = session_secret(p->s), *colon = strchr(secret, ':');

	return colon ? colon + 1 : secret;
}

static void
open_client(struct prusalink *p)
{
	struct http_client_options o = {.parallel = 2};

	if (!p->by_key) {
		o.user = p->user;
		o.secret = bare_secret(p);
	}
	p->client = http_client_new(p->http, &o);
}

struct http_call *
prusalink_send(struct prusalink *p, struct http_request *r, const char *method, const char *path,
    http_done done)
{
	struct http_header headers[4];
	char url[PRUSALINK_URL];

	must(r->n_headers < 3);
	if (!http_url(url, sizeof(url), "http", p->address, p->port, "", path))
		return NULL;
	for (size_t i = 0; i < r->n_headers; i++)
		headers[i] = r->headers[i];
	r->headers = headers;
	if (p->by_key)
		headers[r->n_headers++] = (struct http_header){"X-Api-Key", bare_secret(p)};
	headers[r->n_headers++] = (struct http_header){"Accept", "application/json"};
	r->method = method;
	r->url = url;
	r->connect_ms = CONNECT_MS;
	if (!r->total_ms && !r->file)
		r->total_ms = ANSWER_MS;
	r->most = BODY_MOST;
	return http_send(p->client, r, done, p);
}

/* --- asking ----------------------------------------------------------------------------------- */

static void
get(struct prusalink *p, const char *path, http_done done)
{
	struct http_request r = {0};

	timer_stop(loop_of(p), &p->timer);
	p->poll = prusalink_send(p, &r, "GET", path, done);
	must(p->poll != NULL);
}

/* Never so long that we would take it for silence. */
static int64_t
interval_ms(const struct prusalink *p)
{
	int64_t most = session_gateway(p->s)->silence_ms / 2, ms = IDLE_MS;

	if (p->state.passing)
		ms = PASSING_MS;
	else if (p->upload)
		ms = UPLOADING_MS;
	else if (loop_now(loop_of(p)) < p->hurry_ms)
		ms = HURRY_MS;
	else if (printer_state_busy(p->state.last))
		ms = PRINTING_MS;
	return ms < most ? ms : most;
}

static void
later(struct prusalink *p, int64_t ms)
{
	if (!p->order) /* else its answer is followed by a question */
		timer_set(loop_of(p), &p->timer, ms);
}

static void
on_timer(void *ctx)
{
	struct prusalink *p = ctx;

	if (p->poll || p->order)
		return;
	if (p->up)
		get(p, "/api/v1/status", on_status);
	else
		get(p, "/api/version", on_version);
}

void
prusalink_poll_now(struct prusalink *p)
{
	p->hurry_ms = loop_now(loop_of(p)) + HURRY_FOR_MS;
	if (p->client && p->up && !p->poll && !p->order)
		timer_set(loop_of(p), &p->timer, 0);
}

static void
ask(void *d)
{
	struct prusalink *p = d;

	p->state.names_fresh = false;
	prusalink_poll_now(p);
}

/* --- answers that are none ---------------------------------------------------------------------
 */

static enum conn_reason
reason_of(const struct http_reply *reply)
{
	return reply->fault == HTTP_UNTRUSTED || reply->fault == HTTP_OTHER_HOST
	    ? REASON_CERTIFICATE_MISMATCH
	    : REASON_UNREACHABLE;
}

/* While a file goes out, the printer may have no connection left for us: its progress is enough. */
static void
missed(struct prusalink *p, const struct http_reply *reply)
{
	if (p->upload) {
		later(p, UPLOADING_MS);
		return;
	}
	if (!p->up || ++p->misses >= MISSES_MOST)
		session_failed(p->s, reason_of(reply));
	else
		later(p, AGAIN_MS);
}

/* An answer came, and it is of no use. */
static void
useless(struct prusalink *p, int status)
{
	session_gateway(p->s)->counters.ignored++;
	if (!p->up) {
		session_failed(p->s, status == 503 ? REASON_STARTING : REASON_UNREACHABLE);
		return;
	}
	if (++p->bad >= BAD_MOST) {
		session_failed(p->s, REASON_NO_REPORTS);
		return;
	}
	session_heard(p->s);
	later(p, interval_ms(p));
}

/* A secret that may be either is tried the other way once. In the midst of a connection the next
 * one finds out. */
static void
not_let_in(struct prusalink *p)
{
	if (p->up || !p->either || p->refused) {
		session_failed(p->s, p->up ? REASON_UNREACHABLE : REASON_WRONG_ACCESS_CODE);
		return;
	}
	p->refused = true;
	p->by_key = !p->by_key;
	http_client_free(p->client);
	open_client(p);
	timer_set(loop_of(p), &p->timer, 0);
}

/* The answer's JSON; NULL when it was dealt with, for it is none. */
static struct json_object *
take(struct prusalink *p, const struct http_reply *reply)
{
	struct gateway_counters *count = &session_gateway(p->s)->counters;
	struct json_object *v;

	p->poll = NULL;
	if (reply->status == 401 || reply->status == 403) {
		not_let_in(p);
		return NULL;
	}
	if (reply->fault != HTTP_OK && reply->fault != HTTP_TOO_LARGE) {
		missed(p, reply);
		return NULL;
	}
	p->misses = 0;
	count->reports++;
	count->report_bytes += (int64_t)reply->body.n;
	v = reply->fault == HTTP_OK && reply->status == 200 ? prusalink_parse(reply->body) : NULL;
	if (!v)
		useless(p, reply->status);
	return v;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void
apply(struct prusalink *p)
{
	struct prusalink_when now = {clock_mono_ms(), clock_unix_ms()};
	uint32_t changed;

	p->bad = 0;
	changed = prusalink_map(&p->state, &now, session_record(p->s));
	session_report(p->s, p->told ? changed : columns, REASON_NONE);
	p->told = true;
	prusalink_next(p);
	later(p, interval_ms(p));
}

static void
on_names(void *ctx, const struct http_reply *reply)
{
	struct prusalink *p = ctx;
	struct json_object *v;

	if (reply->fault == HTTP_OK && (reply->status == 204 || reply->status == 404)) {
		p->poll = NULL; /* it has ended since: the next status tells */
		apply(p);
		return;
	}
	v = take(p, reply);
	if (!v)
		return;
	if (!prusalink_read_job(&p->state, v))
		session_gateway(p->s)->counters.ignored++;
	json_object_put(v);
	apply(p);
}

static void
on_status(void *ctx, const struct http_reply *reply)
{
	struct prusalink *p = ctx;
	struct json_object *v = take(p, reply);
	bool good;

	if (!v)
		return;
	good = prusalink_read_status(&p->state, v);
	json_object_put(v);
	if (!good) {
		useless(p, reply->status);
		return;
	}
	session_round_trip(p->s, reply->elapsed_us);
	if (prusalink_wants_names(&p->state))
		get(p, "/api/v1/job", on_names);
	else
		apply(p);
}

static void
on_info(void *ctx, const struct http_reply *reply)
{
	struct prusalink *p = ctx;
	struct json_object *v = take(p, reply);
	const char *mine = session_serial(p->s);
	char serial[80];
	bool other;

	if (!v)
		return;
	other = mine[0] && prusalink_read_serial(v, serial, sizeof(serial)) &&
	    !str_ieq(str_from(mine), str_from(serial));
	json_object_put(v);
	if (other)
		session_failed(p->s, REASON_WRONG_SERIAL);
	else
		get(p, "/api/v1/status", on_status);
}

static void
on_version(void *ctx, const struct http_reply *reply)
{
	struct prusalink *p = ctx;
	struct json_object *v = take(p, reply);
	bool good;

	if (!v)
		return;
	good = prusalink_read_version(&p->state, v);
	json_object_put(v);
	if (!good) {
		useless(p, reply->status);
		return;
	}
	p->refused = false;
	p->up = true;
	session_up(p->s);
	get(p, "/api/v1/info", on_info);
}

static void
connect_to(void *d, const char *address, int port)
{
	struct prusalink *p = d;

	prusalink_state_forget(&p->state);
	snprintf(p->address, sizeof(p->address), "%s", address);
	p->port = port;
	p->misses = p->bad = 0;
	p->hurry_ms = 0;
	p->told = false;
	read_secret(p);
	open_client(p);
	get(p, "/api/version", on_version);
}

static void
camera(const void *d, struct camera_source *out)
{
	const struct prusalink *p = d;

	memset(out, 0, sizeof(*out));
	if (!p->state.camera ||
	    !http_url(out->url, sizeof(out->url), "http", p->address, p->port, "",
		"/api/v1/cameras/snap"))
		return;
	out->kind = CAMERA_HTTP;
	out->port = p->port;
	out->key = p->by_key;
	if (!p->by_key)
		memcpy(out->user, p->user, strnlen(p->user, sizeof(out->user) - 1));
}

const struct driver prusalink_driver = {
    .protocol = "prusalink",
    .port = 80,
    .needs_secret = true,
    .commands = CMD_BIT(CMD_PAUSE) | CMD_BIT(CMD_RESUME) | CMD_BIT(CMD_STOP),
    .init = init,
    .fini = fini,
    .create = create,
    .destroy = destroy,
    .connect = connect_to,
    .disconnect = disconnect,
    .ask = ask,
    .nudge = ask,
    .recall = recall,
    .command = prusalink_command,
    .upload = prusalink_upload,
    .start = prusalink_start,
    .abort = prusalink_abort,
    .is_job = prusalink_is_job,
    .camera = camera,
};
