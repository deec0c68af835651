#include "gateway/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/print.h"
#include "gateway/task.h"
#include "gateway/telemetry.h"

enum {
	CONNECT_MS =
	    15000, /* longest wait for a connection and its first full report's beginning */
	BACKOFF_LEAST_MS = 1000,
	BACKOFF_MOST_MS = 30000,
	CREDENTIALS_MS = 300000, /* a refused access code is not tried again sooner */
	STABLE_MS = 2000, /* connected for so long: the next failure starts at the least backoff */
	FIRST_MOST_MS = 300,     /* spreads first connections */
	REFRESH_LEAST_MS = 3000, /* full reports are work for the small models */
};

enum phase { PHASE_OFF, PHASE_WAITING, PHASE_DUE, PHASE_CONNECTING, PHASE_UP, PHASE_NUDGED };

struct session {
	struct gateway *g;
	const struct driver *driver;
	void *d;
	struct status status;
	struct tasks *tasks;
	enum phase phase;
	bool reporting; /* a full report came in this connection */
	bool proven;
	struct timer timer, offline; /* timer: backoff, connecting, silence */
	struct resolve *resolving;
	int64_t backoff_ms, up_ms, heard_ms, asked_ms; /* the last three monotonic */
	enum printer_state told;                       /* as events say */
	int64_t reports, link_ms;                      /* since then (Unix time); 0: never told */
	bool undecided; /* the event of a failure waits for its outcome */
	bool enabled;
	int port;
	int64_t config_version;
	char protocol[32], host[256], serial[80], model[80], secret[544];
};

static void on_timer(void *ctx);
static void on_offline(void *ctx);

/* --- telling ---------------------------------------------------------------------------------- */

static void
tell_state(struct session *s, enum printer_state to, enum job_outcome outcome)
{
	struct status_event e = {
	    .type = EVENT_STATE_CHANGED, .from = s->told, .to = to, .outcome = outcome};

	struct print_origin origin = {{{0}}, {{0}}};

	if (printer_state_busy(to))
		tasks_started(s->tasks, &s->status.record, &origin.operation, &origin.file);
	print_follow(&s->status, to,
	    outcome != OUTCOME_NONE ? outcome : s->status.record.job.outcome, &origin);
	status_event(&s->status, e);
	if (s->told == PRINTER_OFFLINE)
		status_event(&s->status, (struct status_event){.type = EVENT_ONLINE});
	if (to == PRINTER_OFFLINE)
		status_event(&s->status,
		    (struct status_event){.type = EVENT_OFFLINE, .reason = s->status.reason});
	s->told = to;
}

/* Events of the record's state. That of a failed job waits until it is known whether it was
 * cancelled. */
static void
tell(struct session *s)
{
	const struct record *r = &s->status.record;
	bool ended = r->state == PRINTER_FAILED || r->state == PRINTER_FINISHED;

	if (s->undecided && r->state != PRINTER_FAILED) {
		s->undecided = false;
		tell_state(s, PRINTER_FAILED, OUTCOME_FAILED);
	}
	if (r->state == s->told)
		return;
	s->undecided = r->state == PRINTER_FAILED && r->job.outcome == OUTCOME_NONE &&
	    (r->job.present || s->undecided);
	if (!s->undecided)
		tell_state(s, r->state, ended ? r->job.outcome : OUTCOME_NONE);
}

/* How the connection does, along with something else that is written. */
static void
note_link(struct session *s, int64_t now_ms)
{
	struct status *st = &s->status;

	if (now_ms - s->link_ms < s->g->seen_ms)
		return;
	if (s->link_ms)
		st->reports_per_min = s->reports * 60000 / (now_ms - s->link_ms);
	s->reports = 0;
	s->link_ms = now_ms;
	st->changed |= REC_LINK;
}

/* Hands over to the sink what is worth a write now. */
static void
settle(struct session *s)
{
	struct status *st = &s->status;
	int64_t now = clock_unix_ms();
	bool due;

	tell(s);
	if (st->changed & REC_ERRORS)
		status_errors(st);
	print_refine(st);
	due = (st->changed & ~(uint32_t)(REC_WIFI | REC_SEEN)) != 0 || st->n_events > 0;
	if (!due && (st->changed & REC_WIFI))
		due = now - st->wifi_written_ms >= s->g->wifi_ms;
	if (!due && st->seen_ms > st->seen_written_ms &&
	    now - st->seen_written_ms >= s->g->seen_ms) {
		st->changed |= REC_SEEN;
		due = true;
	}
	if (!due)
		return;
	note_link(s, now);
	telemetry_touch(s->g->telemetry, st);
	s->g->sink->ops->touch(s->g->sink, st);
}

static void
set_connection(struct session *s, enum conn_state state, enum conn_reason reason)
{
	enum conn_reason before = s->status.reason;
	char id[UUID_TEXT_LEN + 1];

	if (!status_connection(&s->status, state, reason) ||
	    (reason == before && state != CONN_CONNECTED))
		return;
	uuid_text(s->status.printer, id);
	log_info("printer", LOG_Z("printer_id", id), LOG_Z("connection", conn_state_name(state)),
	    LOG_Z("reason", reason == REASON_NONE ? "" : conn_reason_name(reason)));
}

/* --- connecting ------------------------------------------------------------------------------- */

static int64_t
jitter(int64_t most_ms)
{
	uint32_t r;

	random_bytes(&r, sizeof(r));
	return most_ms / 2 + (int64_t)(r % (uint32_t)(most_ms / 2 + 1));
}

static void
wait_then_connect(struct session *s, int64_t ms)
{
	s->phase = PHASE_WAITING;
	timer_set(s->g->loop, &s->timer, ms);
}

static void
dial(struct session *s, const char *address)
{
	s->g->counters.connects++;
	s->status.connects++;
	s->driver->connect(s->d, address, s->port ? s->port : s->driver->port);
}

static void
on_resolved(void *ctx, const char *address)
{
	struct session *s = ctx;

	s->resolving = NULL;
	if (address)
		dial(s, address);
	else
		session_failed(s, REASON_UNREACHABLE);
}

static void
connect_now(struct session *s)
{
	char address[RESOLVE_TEXT];

	s->phase = PHASE_CONNECTING;
	s->reporting = false;
	timer_set(s->g->loop, &s->timer, CONNECT_MS);
	if (resolve_literal(s->host, address))
		dial(s, address);
	else
		s->resolving = resolve_start(s->g->resolver, s->host, on_resolved, s);
}

/* Many sessions may be due together: after a restart, or when a network comes back. */
static void
connect_in_turn(struct session *s)
{
	int64_t now_us = loop_now(s->g->loop) * 1000;
	int64_t wait_us = pace_take(&s->g->dialling, &s->g->dials, now_us);

	if (wait_us == 0) {
		connect_now(s);
		return;
	}
	s->phase = PHASE_DUE;
	timer_set(s->g->loop, &s->timer, (wait_us + 999) / 1000);
}

static void
end_connection(struct session *s)
{
	if (s->resolving)
		resolve_cancel(s->resolving);
	s->resolving = NULL;
	timer_stop(s->g->loop, &s->timer);
	if (s->d)
		s->driver->disconnect(s->d);
	s->phase = PHASE_OFF;
}

static void
back_off(struct session *s, enum conn_reason reason)
{
	if (reason == REASON_WRONG_ACCESS_CODE) {
		wait_then_connect(s, jitter(CREDENTIALS_MS));
		return;
	}
	if (s->up_ms && loop_now(s->g->loop) - s->up_ms >= STABLE_MS)
		s->backoff_ms = BACKOFF_LEAST_MS;
	wait_then_connect(s, jitter(s->backoff_ms));
	s->backoff_ms = s->backoff_ms * 2 > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : s->backoff_ms * 2;
}

void
session_failed(struct session *s, enum conn_reason reason)
{
	bool was_reporting = s->reporting;

	end_connection(s);
	s->g->counters.failures++;
	s->status.failures++;
	s->status.print_unsure = true;
	s->reporting = false;
	if (reason == REASON_UNREACHABLE && was_reporting)
		reason = REASON_CONNECTION_LOST;
	/* After a loss the first thing said stays until there is news: a retry that fails too. */
	set_connection(
	    s, reason == REASON_CONNECTION_LOST ? CONN_CONNECTING : CONN_DISCONNECTED, reason);
	if (!timer_is_set(&s->offline) && s->status.record.state != PRINTER_OFFLINE)
		timer_set(s->g->loop, &s->offline, s->g->offline_ms);
	back_off(s, reason);
	s->up_ms = 0;
	settle(s);
	tasks_cut_off(s->tasks);
}

static void
on_offline(void *ctx)
{
	struct session *s = ctx;

	if (s->status.record.state == PRINTER_OFFLINE)
		return;
	s->status.record.state = PRINTER_OFFLINE;
	s->status.changed |= REC_STATE;
	settle(s);
}

/* Silence for silence_ms: wake the printer; for half as long again: start over. */
static void
on_silence(struct session *s)
{
	int64_t left = s->heard_ms + s->g->silence_ms - loop_now(s->g->loop);

	if (s->phase == PHASE_UP && left > 0) {
		timer_set(s->g->loop, &s->timer, left);
		return;
	}
	if (s->phase == PHASE_NUDGED) {
		session_failed(s, REASON_NO_REPORTS);
		return;
	}
	s->phase = PHASE_NUDGED;
	set_connection(s, CONN_DISCONNECTED, REASON_NO_REPORTS);
	if (s->status.record.state != PRINTER_OFFLINE && !timer_is_set(&s->offline))
		timer_set(s->g->loop, &s->offline, s->g->offline_ms);
	timer_set(s->g->loop, &s->timer, s->g->silence_ms / 2);
	s->driver->nudge(s->d);
	settle(s);
}

static void
on_timer(void *ctx)
{
	struct session *s = ctx;

	switch (s->phase) {
	case PHASE_WAITING:
		connect_in_turn(s);
		break;
	case PHASE_DUE:
		connect_now(s);
		break;
	case PHASE_CONNECTING:
		session_failed(s, REASON_UNREACHABLE);
		break;
	case PHASE_UP:
	case PHASE_NUDGED:
		on_silence(s);
		break;
	case PHASE_OFF:
		break;
	}
}

/* --- what drivers tell -------------------------------------------------------------------------
 */

void
session_up(struct session *s)
{
	s->phase = PHASE_UP;
	s->up_ms = s->heard_ms = loop_now(s->g->loop);
	timer_set(s->g->loop, &s->timer, s->g->silence_ms);
}

void
session_heard(struct session *s)
{
	if (s->phase != PHASE_UP && s->phase != PHASE_NUDGED)
		return;
	s->heard_ms = loop_now(s->g->loop);
	if (s->phase == PHASE_UP)
		return; /* the timer looks at heard_ms when it fires */
	s->phase = PHASE_UP;
	timer_set(s->g->loop, &s->timer, s->g->silence_ms);
}

void
session_report(struct session *s, uint32_t changed, enum conn_reason limits)
{
	session_heard(s);
	s->reporting = s->proven = true;
	s->reports++;
	print_verify(&s->status);
	s->status.seen_ms = clock_unix_ms();
	s->status.changed |= changed;
	timer_stop(s->g->loop, &s->offline);
	set_connection(s, CONN_CONNECTED, limits);
	settle(s);
	tasks_poke(s->tasks);
}

void
session_changed(struct session *s, uint32_t changed)
{
	s->status.changed |= changed;
	settle(s);
	tasks_poke(s->tasks);
}

void
session_round_trip(struct session *s, int64_t us)
{
	s->status.round_trip_us = us;
}

void
session_answer(struct session *s, enum answer a, const char *words)
{
	tasks_answer(s->tasks, a, words);
}

void
session_upload_progress(struct session *s, int64_t sent)
{
	tasks_upload_progress(s->tasks, sent);
}

void
session_upload_done(struct session *s, enum upload_end end, const char *words)
{
	tasks_upload_done(s->tasks, end, words);
}

struct tasks *
session_tasks(struct session *s)
{
	return s->tasks;
}

const struct driver *
session_driver(const struct session *s)
{
	return s->d ? s->driver : NULL;
}

void *
session_driver_data(const struct session *s)
{
	return s->d;
}

bool
session_is_reporting(const struct session *s)
{
	return s->reporting && (s->phase == PHASE_UP || s->phase == PHASE_NUDGED);
}

struct gateway *
session_gateway(const struct session *s)
{
	return s->g;
}

struct record *
session_record(struct session *s)
{
	return &s->status.record;
}

const char *
session_serial(const struct session *s)
{
	return s->serial;
}

const char *
session_secret(const struct session *s)
{
	return s->secret;
}

const char *
session_model(const struct session *s)
{
	return s->model;
}

struct uuid
session_printer(const struct session *s)
{
	return s->status.printer;
}

const char *
session_host(const struct session *s)
{
	return s->host;
}

int
session_port(const struct session *s)
{
	return s->port;
}

bool
session_camera(const struct session *s, struct camera_source *out)
{
	memset(out, 0, sizeof(*out));
	if (!s->d || !s->reporting || (s->phase != PHASE_UP && s->phase != PHASE_NUDGED))
		return false;
	if (s->driver->camera)
		s->driver->camera(s->d, out);
	return true;
}

bool
session_is_offline(const struct session *s)
{
	return s->status.record.state == PRINTER_OFFLINE;
}

bool
session_is_proven(const struct session *s)
{
	return s->proven;
}

/* --- life ------------------------------------------------------------------------------------- */

static void
copy(char *out, size_t size, struct str in)
{
	size_t n = in.n < size ? in.n : size - 1;

	if (n)
		memcpy(out, in.p, n);
	memset(out + n, 0, size - n);
}

static void
go_offline_now(struct session *s, enum conn_state state, enum conn_reason reason)
{
	set_connection(s, state, reason);
	timer_stop(s->g->loop, &s->offline);
	on_offline(s);
	settle(s);
}

/* Its place in the table, -1 when there is none that works. */
static int
find_driver(const struct session *s)
{
	for (int i = 0; i < DRIVERS_MOST && s->g->drivers[i]; i++)
		if (s->g->envs[i] &&
		    str_eq(str_from(s->protocol), str_from(s->g->drivers[i]->protocol)))
			return i;
	return -1;
}

/* Begins, or says why there is nothing to begin with. */
static void
begin(struct session *s, const struct work *w)
{
	int place = find_driver(s);

	s->driver = place >= 0 ? s->g->drivers[place] : NULL;
	if (!s->enabled) {
		go_offline_now(s, CONN_DISABLED, REASON_DISABLED);
		return;
	}
	if (!s->driver) {
		go_offline_now(s, CONN_DISCONNECTED, REASON_PROTOCOL_NOT_SUPPORTED);
		return;
	}
	if (!s->host[0] || (s->driver->needs_serial && !s->serial[0]) ||
	    (s->driver->needs_secret && !s->secret[0])) {
		go_offline_now(s, CONN_DISCONNECTED, REASON_NO_SECRET);
		return;
	}
	s->d = s->driver->create(s->g->envs[place], s);
	if (s->told != PRINTER_OFFLINE || s->undecided)
		s->driver->recall(s->d, s->undecided ? PRINTER_PRINTING : s->told, w->outcome,
		    w->started_ms, (int32_t)w->progress);
	if (s->told != PRINTER_OFFLINE)
		timer_set(s->g->loop, &s->offline, s->g->offline_ms);
	set_connection(s, CONN_CONNECTING, REASON_NONE);
	settle(s);
	wait_then_connect(s, jitter(FIRST_MOST_MS));
}

static void
take_config(struct session *s, const struct work *w)
{
	copy(s->status.name, sizeof(s->status.name), w->name);
	copy(s->protocol, sizeof(s->protocol), w->protocol);
	copy(s->host, sizeof(s->host), w->host);
	copy(s->serial, sizeof(s->serial), w->serial);
	copy(s->model, sizeof(s->model), w->model);
	copy(s->secret, sizeof(s->secret), w->secret);
	s->port = (int)w->port;
	s->enabled = w->enabled;
	s->config_version = w->config_version;
	s->status.fencing = w->fencing;
}

struct session *
session_new(struct gateway *g, const struct work *w)
{
	struct session *s = calloc(1, sizeof(*s));

	must(s != NULL);
	s->g = g;
	status_init(&s->status, g->sink, w->org, w->printer);
	s->status.record.state = w->state;
	s->told = w->told;
	/* The predecessor was waiting for the outcome: nobody was told of the failure. */
	if (w->state == PRINTER_FAILED && w->outcome == OUTCOME_NONE && w->told != PRINTER_FAILED)
		s->status.record.job.present = s->undecided = true;
	s->status.conn = w->conn;
	s->status.reason = w->reason;
	s->status.since_ms = w->since_ms;
	notes_recall(&s->status.notes, w->errors);
	s->backoff_ms = BACKOFF_LEAST_MS;
	s->timer = (struct timer){.fn = on_timer, .ctx = s};
	s->offline = (struct timer){.fn = on_offline, .ctx = s};
	s->tasks = tasks_new(s);
	if (!uuid_eq(w->print.id, (struct uuid){{0}}))
		print_recall(&s->status, w->print.id, w->print.name, w->print.started_ms);
	take_config(s, w);
	begin(s, w);
	return s;
}

void
session_free(struct session *s)
{
	end_connection(s);
	timer_stop(s->g->loop, &s->offline);
	tasks_free(s->tasks);
	if (s->d)
		s->driver->destroy(s->d);
	telemetry_forget(s->g->telemetry, &s->status);
	s->g->sink->ops->forget(s->g->sink, &s->status);
	explicit_bzero(s->secret, sizeof(s->secret));
	status_fini(&s->status);
	free(s);
}

static bool
same(const char *mine, struct str other)
{
	return str_eq(str_from(mine), other) || (!mine[0] && other.n == 0);
}

void
session_update(struct session *s, const struct work *w)
{
	bool same_way = same(s->protocol, w->protocol) && same(s->host, w->host) &&
	    same(s->serial, w->serial) && same(s->model, w->model) && same(s->secret, w->secret) &&
	    s->port == (int)w->port && s->enabled == w->enabled;
	struct work now = *w;

	if (same_way) {
		copy(s->status.name, sizeof(s->status.name), w->name);
		s->status.fencing = w->fencing;
		if (s->phase == PHASE_WAITING && s->config_version != w->config_version)
			wait_then_connect(s, 0); /* somebody is at it: no patience */
		s->config_version = w->config_version;
		return;
	}
	end_connection(s);
	tasks_cut_off(s->tasks);
	if (s->d)
		s->driver->destroy(s->d);
	s->d = NULL;
	s->proven = s->reporting = false;
	s->backoff_ms = BACKOFF_LEAST_MS;
	take_config(s, w);
	now.state = s->told;
	now.outcome = s->status.record.job.outcome;
	now.started_ms = s->status.record.job.started_ms;
	now.progress = s->status.record.job.progress;
	begin(s, &now);
}

void
session_refresh(struct session *s)
{
	int64_t now = loop_now(s->g->loop);

	if (s->phase == PHASE_WAITING) {
		connect_in_turn(s);
		return;
	}
	if ((s->phase != PHASE_UP && s->phase != PHASE_NUDGED) ||
	    now - s->asked_ms < REFRESH_LEAST_MS)
		return;
	s->asked_ms = now;
	s->driver->ask(s->d);
}

void
session_stop(struct session *s)
{
	end_connection(s);
	timer_stop(s->g->loop, &s->offline);
	if (s->enabled)
		set_connection(s, CONN_DISCONNECTED, REASON_NO_GATEWAY);
	settle(s);
}
