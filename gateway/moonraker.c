/* The driver: connection, subscription, notifications. */
#include "gateway/moonraker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/moonraker_link.h"
#include "gateway/reading.h"

enum {
	POLL_MS = 5000,
	DEPTH_MOST = 32,
	MESSAGE_MOST = 1024 * 1024, /* the list of objects of a large printer has some 10 kB */
	UNAUTHORIZED = 401,
	NOT_FOUND = 404,
	UNAVAILABLE = 503
};

static void on_poll(void *ctx);
static void on_decide(void *ctx);

/* --- once per process ------------------------------------------------------------------------- */

static void *
init(const struct driver_config *cfg)
{
	struct moonraker_env *env = calloc(1, sizeof(*env));

	must(env != NULL);
	env->loop = cfg->loop;
	env->http = cfg->http;
	env->tokener = reading_tokener(DEPTH_MOST);
	return env;
}

static void
fini(void *ctx)
{
	struct moonraker_env *env = ctx;

	json_tokener_free(env->tokener);
	free(env);
}

static void *
create(void *env, struct session *s)
{
	struct moonraker *m = calloc(1, sizeof(*m));

	must(m != NULL);
	m->env = env;
	m->s = s;
	m->poll = (struct timer){.fn = on_poll, .ctx = m};
	m->decide = (struct timer){.fn = on_decide, .ctx = m};
	m->settle = (struct timer){.fn = moonraker_order_settle, .ctx = m};
	m->client = http_client_new(m->env->http, &(struct http_client_options){.parallel = 2});
	moonraker_state_init(&m->state);
	return m;
}

static void
disconnect(void *d)
{
	struct moonraker *m = d;
	struct ws *ws = m->ws;

	timer_stop(m->env->loop, &m->poll);
	timer_stop(m->env->loop, &m->decide);
	timer_stop(m->env->loop, &m->settle);
	moonraker_abort(m);
	memset(m->calls, 0, sizeof(m->calls));
	m->order = 0;
	m->ws = NULL;
	ws_close(ws);
}

static void
destroy(void *d)
{
	struct moonraker *m = d;

	disconnect(m);
	http_client_free(m->client);
	free(m);
}

static void
recall(void *d, enum printer_state state, enum job_outcome outcome, int64_t started_ms,
    int32_t progress)
{
	struct moonraker *m = d;

	m->state.last = state == PRINTER_ERROR ? PRINTER_IDLE : state;
	m->state.seen_state = true;
	m->state.outcome = outcome;
	m->state.started_ms = started_ms;
	m->state.last_percent = progress;
}

static void
fail(struct moonraker *m, enum conn_reason reason)
{
	moonraker_order_lost(m);
	moonraker_upload_lost(m);
	session_failed(m->s, reason);
}

/* --- calls ------------------------------------------------------------------------------------ */

static int64_t
remember(struct moonraker *m, enum moonraker_want want)
{
	int oldest = 0;

	for (int i = 0; i < MOONRAKER_CALLS; i++) {
		if (m->calls[i].id < m->calls[oldest].id)
			oldest = i;
		if (m->calls[i].want == WANT_NOTHING) {
			oldest = i;
			break;
		}
	}
	m->calls[oldest].id = ++m->next_id;
	m->calls[oldest].want = want;
	m->calls[oldest].sent_us = clock_mono_us();
	return m->next_id;
}

int64_t
moonraker_call(
    struct moonraker *m, enum moonraker_want want, const char *method, const struct buf *params)
{
	struct buf text;
	int64_t id;
	bool sent;

	if (!ws_is_open(m->ws))
		return 0;
	id = remember(m, want);
	buf_init(&text, 64 * 1024);
	buf_fmt(&text, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"method\":\"%s\"", (long long)id, method);
	if (params) {
		buf_str(&text, STR(",\"params\":"));
		buf_str(&text, buf_view(params));
	}
	buf_char(&text, '}');
	sent = !text.overflow && (!params || !params->overflow) && ws_send(m->ws, buf_view(&text));
	if (text.p)
		explicit_bzero(text.p, text.n);
	buf_fini(&text);
	return sent ? id : 0;
}

/* The key may be needed here when the upgrade was let in without. Not an "agent": of those
 * Moonraker takes one of a name, and a half-dead session of ours would hold it. */
static void
identify(struct moonraker *m)
{
	struct buf p;

	buf_init(&p, 8192);
	buf_str(&p,
	    STR("{\"client_name\":\"SoLoPrint\",\"version\":\"1\",\"type\":\"other\","
		"\"url\":\"https://www.soloprint.app\""));
	if (session_secret(m->s)[0]) {
		buf_str(&p, STR(",\"api_key\":"));
		buf_json_str(&p, str_from(session_secret(m->s)));
	}
	buf_char(&p, '}');
	moonraker_call(m, WANT_IDENTIFY, "server.connection.identify", &p);
	if (p.p)
		explicit_bzero(p.p, p.n);
	buf_fini(&p);
}

static void
ask(void *d)
{
	moonraker_call(d, WANT_SERVER_INFO, "server.info", NULL);
}

static void
want_field(struct buf *b, const char *object, const char *fields)
{
	if (b->n > 12)
		buf_char(b, ',');
	buf_json_str(b, str_from(object));
	buf_fmt(b, ":[%s]", fields);
}

static void
want_heater(struct buf *b, const char *object)
{
	want_field(b, object, "\"temperature\",\"target\"");
}

/* Only what is shown: all of toolhead, for example, comes four times a second for ever. */
static void
subscribe(struct moonraker *m)
{
	static const char *const extruders[REC_NOZZLES] = {
	    "extruder", "extruder1", "extruder2", "extruder3"};
	const struct moonraker_objects *o = &m->state.objects;
	struct buf b;

	buf_init(&b, 16 * 1024);
	buf_str(&b, STR("{\"objects\":{"));
	want_field(&b, "webhooks", "\"state\",\"state_message\"");
	want_field(&b, "print_stats",
	    "\"filename\",\"state\",\"message\",\"total_duration\",\"print_duration\",\"info\"");
	want_field(&b, "gcode_move", "\"speed_factor\"");
	if (o->sdcard)
		want_field(&b, "virtual_sdcard", "\"progress\"");
	for (int i = 0; i < REC_NOZZLES; i++)
		if (o->extruder[i])
			want_heater(&b, extruders[i]);
	if (o->bed)
		want_heater(&b, "heater_bed");
	if (o->chamber[0])
		want_heater(&b, o->chamber);
	if (o->fan)
		want_field(&b, "fan", "\"speed\"");
	if (o->fan_aux[0])
		want_field(&b, o->fan_aux, "\"speed\"");
	if (o->fan_chamber[0])
		want_field(&b, o->fan_chamber, "\"speed\"");
	for (int32_t i = 0; i < o->n_lights; i++)
		want_field(&b, o->light[i],
		    strncmp(o->light[i], "output_pin ", 11) == 0 ? "\"value\"" : "\"color_data\"");
	buf_str(&b, STR("}}"));
	moonraker_call(m, WANT_STATUS, "printer.objects.subscribe", &b);
	buf_fini(&b);
}

static void
ask_metadata(struct moonraker *m)
{
	struct buf b;

	if (!printer_state_busy(m->state.last) || !m->state.filename[0] ||
	    strcmp(m->state.meta_file, m->state.filename) == 0)
		return;
	memcpy(m->state.meta_file, m->state.filename, sizeof(m->state.meta_file));
	m->state.meta_s = 0;
	m->state.meta_layers = REC_NONE;
	buf_init(&b, 4096);
	buf_str(&b, STR("{\"filename\":"));
	buf_json_str(&b, str_from(m->state.filename));
	buf_char(&b, '}');
	moonraker_call(m, WANT_METADATA, "server.files.metadata", &b);
	buf_fini(&b);
}

static void
ask_history(struct moonraker *m)
{
	struct buf b;

	buf_init(&b, 64);
	buf_str(&b, STR("{\"limit\":1,\"order\":\"desc\"}"));
	moonraker_call(m, WANT_HISTORY, "server.history.list", &b);
	buf_fini(&b);
}

/* --- reports ---------------------------------------------------------------------------------- */

/* Shows the world what changed. Until all is known for the first time only Klipper's own state
 * counts, and that only when it is not there to tell more. */
static void
report(struct moonraker *m, uint32_t parts)
{
	struct moonraker_state *st = &m->state;
	struct moonraker_when now = {clock_mono_ms(), clock_unix_ms()};
	bool was_undecided = st->undecided;
	uint32_t changed;
	int64_t decide;

	if (!st->full && st->klippy != KLIPPY_DISCONNECTED && st->klippy != KLIPPY_STARTUP)
		return;
	if (session_is_offline(m->s))
		parts |= MOONRAKER_STATE;
	changed = moonraker_map(st, parts, &now, session_record(m->s));
	if (parts == MOONRAKER_ALL)
		changed |= REC_STATE | REC_JOB | REC_TEMPERATURES | REC_FANS | REC_SPEED |
		    REC_LIGHTS | REC_ERRORS | REC_FIRMWARE;
	decide = moonraker_decide_at(st);
	if (decide)
		timer_set(m->env->loop, &m->decide, decide - clock_mono_ms());
	if (st->undecided && !was_undecided)
		ask_history(m);
	ask_metadata(m);
	session_report(m->s, changed, moonraker_limits(st));
}

static void
on_decide(void *ctx)
{
	report(ctx, MOONRAKER_STATE);
}

static void
on_poll(void *ctx)
{
	struct moonraker *m = ctx;

	timer_set(m->env->loop, &m->poll, POLL_MS);
	ask(m);
}

/* Klipper is not there, or has come back: what was known of it is void. */
static void
klippy_is(struct moonraker *m, enum klippy k)
{
	if (k == KLIPPY_UNKNOWN)
		return;
	m->state.klippy = k;
	if (k == KLIPPY_DISCONNECTED || k == KLIPPY_STARTUP)
		m->state.full = false;
	if (k == KLIPPY_READY)
		timer_stop(m->env->loop, &m->poll);
	else if (!timer_is_set(&m->poll))
		timer_set(m->env->loop, &m->poll, POLL_MS);
}

static void
take_server_info(struct moonraker *m, struct json_object *result)
{
	bool connected = false;

	reading_text(reading_member(result, "moonraker_version"), m->state.moonraker_version,
	    sizeof(m->state.moonraker_version));
	reading_bool(reading_member(result, "klippy_connected"), &connected);
	klippy_is(m,
	    connected ? moonraker_klippy(reading_member(result, "klippy_state"))
		      : KLIPPY_DISCONNECTED);
	if (connected) {
		moonraker_call(m, WANT_PRINTER_INFO, "printer.info", NULL);
		moonraker_call(m, WANT_OBJECTS, "printer.objects.list", NULL);
	} else {
		report(m, MOONRAKER_STATE);
	}
}

static void
take_printer_info(struct moonraker *m, struct json_object *result)
{
	reading_text(reading_member(result, "software_version"), m->state.klipper_version,
	    sizeof(m->state.klipper_version));
	klippy_is(m, moonraker_klippy(reading_member(result, "state")));
	report(m, MOONRAKER_STATE | MOONRAKER_FIRMWARE);
}

static void
take_objects(struct moonraker *m, struct json_object *result)
{
	if (moonraker_take_objects(&m->state, result))
		subscribe(m);
}

static void
take_whole_status(struct moonraker *m, struct json_object *result)
{
	struct json_object *status = reading_member(result, "status");

	if (!json_object_is_type(status, json_type_object))
		return;
	moonraker_take_status(&m->state, status);
	klippy_is(m, m->state.klippy);
	m->state.full = m->state.klippy != KLIPPY_DISCONNECTED && m->state.klippy != KLIPPY_STARTUP;
	report(m, MOONRAKER_ALL);
}

static void
take_metadata(struct moonraker *m, struct json_object *result)
{
	report(m, moonraker_take_metadata(&m->state, result));
}

static void
take_history(struct moonraker *m, struct json_object *result)
{
	struct json_object *jobs = reading_member(result, "jobs");

	if (json_object_is_type(jobs, json_type_array) && json_object_array_length(jobs) > 0)
		report(m, moonraker_take_history(&m->state, json_object_array_get_idx(jobs, 0)));
}

static void
take_identity(struct moonraker *m, struct json_object *result)
{
	(void)result;
	session_up(m->s);
	ask(m);
	moonraker_call(m, WANT_WEBCAMS, "server.webcams.list", NULL);
}

/* --- messages --------------------------------------------------------------------------------- */

static enum moonraker_want
recognise(struct moonraker *m, struct json_object *msg, int64_t *id, int64_t *us)
{
	enum moonraker_want want = WANT_NOTHING;

	if (!reading_i64(reading_member(msg, "id"), id) || *id <= 0)
		return want;
	for (int i = 0; i < MOONRAKER_CALLS; i++) {
		if (m->calls[i].id != *id)
			continue;
		want = m->calls[i].want;
		*us = clock_mono_us() - m->calls[i].sent_us;
		m->calls[i].id = 0;
		m->calls[i].want = WANT_NOTHING;
	}
	return want;
}

static void
take_error(struct moonraker *m, enum moonraker_want want, struct json_object *error)
{
	int64_t code = 0;

	reading_i64(reading_member(error, "code"), &code);
	if (code == UNAUTHORIZED) {
		fail(m, REASON_WRONG_ACCESS_CODE);
	} else if (want == WANT_IDENTIFY) {
		take_identity(m, NULL); /* one that does not know the call */
	} else if ((want == WANT_OBJECTS || want == WANT_STATUS || want == WANT_PRINTER_INFO) &&
	    code == UNAVAILABLE) {
		klippy_is(m, KLIPPY_DISCONNECTED);
		report(m, MOONRAKER_STATE);
	}
}

static void
take_answer(struct moonraker *m, struct json_object *msg)
{
	static void (*const takers[WANT_KINDS])(struct moonraker *, struct json_object *) = {
	    [WANT_IDENTIFY] = take_identity,
	    [WANT_SERVER_INFO] = take_server_info,
	    [WANT_PRINTER_INFO] = take_printer_info,
	    [WANT_OBJECTS] = take_objects,
	    [WANT_STATUS] = take_whole_status,
	    [WANT_METADATA] = take_metadata,
	    [WANT_HISTORY] = take_history,
	    [WANT_WEBCAMS] = moonraker_take_webcams,
	};
	struct json_object *error = reading_member(msg, "error");
	int64_t id = 0, us = 0;
	enum moonraker_want want = recognise(m, msg, &id, &us);

	if (want == WANT_SERVER_INFO && !error)
		session_round_trip(m->s, us);
	if (want == WANT_ORDER) {
		if (id == m->order)
			moonraker_order_answered(m, error);
	} else if (error) {
		take_error(m, want, error);
	} else if (takers[want]) {
		takers[want](m, reading_member(msg, "result"));
	}
}

static void
on_status(struct moonraker *m, struct json_object *params)
{
	struct json_object *status = json_object_array_get_idx(params, 0);

	if (m->state.full && json_object_is_type(status, json_type_object))
		report(m, moonraker_take_status(&m->state, status));
}

static void
on_ready(struct moonraker *m, struct json_object *params)
{
	(void)params;
	ask(m);
}

static void
on_shutdown(struct moonraker *m, struct json_object *params)
{
	(void)params;
	klippy_is(m, KLIPPY_SHUTDOWN);
	report(m, MOONRAKER_STATE);
}

static void
on_disconnected(struct moonraker *m, struct json_object *params)
{
	(void)params;
	klippy_is(m, KLIPPY_DISCONNECTED);
	report(m, MOONRAKER_STATE);
}

static void
on_line(struct moonraker *m, struct json_object *params)
{
	char line[MOONRAKER_WORDS];

	if (reading_text(json_object_array_get_idx(params, 0), line, sizeof(line)))
		moonraker_order_heard(m, line);
}

static void
on_history(struct moonraker *m, struct json_object *params)
{
	struct json_object *job = reading_member(json_object_array_get_idx(params, 0), "job");
	uint32_t parts = moonraker_take_history(&m->state, job);

	if (parts)
		report(m, parts);
}

static void
on_webcams(struct moonraker *m, struct json_object *params)
{
	(void)params;
	moonraker_call(m, WANT_WEBCAMS, "server.webcams.list", NULL);
}

static const struct {
	const char *method;
	void (*fn)(struct moonraker *m, struct json_object *params); /* an array, or NULL */
} notifications[] = {
    {"notify_status_update", on_status},
    {"notify_klippy_ready", on_ready},
    {"notify_klippy_shutdown", on_shutdown},
    {"notify_klippy_disconnected", on_disconnected},
    {"notify_gcode_response", on_line},
    {"notify_history_changed", on_history},
    {"notify_webcams_changed", on_webcams},
};

static void
take_notification(struct moonraker *m, struct json_object *msg)
{
	struct json_object *params = reading_member(msg, "params");
	char method[48] = "";

	reading_text(reading_member(msg, "method"), method, sizeof(method));
	for (size_t i = 0; i < sizeof(notifications) / sizeof(notifications[0]); i++) {
		if (strcmp(notifications[i].method, method) != 0)
			continue;
		/* json-c's array functions take nothing else */
		if (json_object_is_type(params, json_type_array))
			notifications[i].fn(m, params);
		else if (!strstr(
			     "notify_status_update notify_gcode_response notify_history_changed",
			     method))
			notifications[i].fn(m, NULL);
		return;
	}
}

static void
on_message(void *ctx, struct str text)
{
	struct moonraker *m = ctx;
	struct gateway_counters *count = &session_gateway(m->s)->counters;
	int64_t start = clock_mono_us(), parsed;
	struct json_object *msg = text.n ? reading_object(m->env->tokener, text) : NULL;

	parsed = clock_mono_us();
	count->reports++;
	count->report_bytes += (int64_t)text.n;
	count->parse_us += parsed - start;
	if (!msg) {
		count->ignored++;
		return;
	}
	session_heard(m->s);
	if (reading_member(msg, "method"))
		take_notification(m, msg);
	else
		take_answer(m, msg);
	json_object_put(msg);
	count->map_us += clock_mono_us() - parsed;
}

/* --- the connection --------------------------------------------------------------------------- */

static void
on_open(void *ctx)
{
	identify(ctx);
}

static void
on_pong(void *ctx, int64_t us)
{
	struct moonraker *m = ctx;

	session_round_trip(m->s, us);
	if (m->state.full)
		session_report(m->s, 0, moonraker_limits(&m->state));
	else
		session_heard(m->s);
}

static void
on_closed(void *ctx, const struct ws_end *e)
{
	struct moonraker *m = ctx;

	m->ws = NULL;
	if (e->status == UNAUTHORIZED || e->status == 403)
		fail(m, REASON_WRONG_ACCESS_CODE);
	else if (e->status == UNAVAILABLE || e->status == NOT_FOUND || e->status == 502)
		fail(m, REASON_STARTING);
	else
		fail(m, REASON_UNREACHABLE);
}

static const struct ws_handler handler = {on_open, on_message, on_pong, on_closed};

static void
connect_to(void *d, const char *address, int port)
{
	struct moonraker *m = d;
	struct http_header key = {"X-Api-Key", session_secret(m->s)};
	char url[MOONRAKER_URL];
	struct ws_options o = {.url = url,
	    .address = address,
	    .headers = &key,
	    .n_headers = session_secret(m->s)[0] ? 1 : 0,
	    .most = MESSAGE_MOST};

	moonraker_state_forget(&m->state);
	m->stream_url[0] = m->snapshot_url[0] = '\0';
	snprintf(m->address, sizeof(m->address), "%s", address);
	m->port = port;
	if (!moonraker_url(m, url, sizeof(url), "/websocket")) {
		fail(m, REASON_UNREACHABLE);
		return;
	}
	m->ws = ws_open(m->env->http, m->client, &o, &handler, m);
}

const struct driver moonraker_driver = {
    .protocol = "moonraker",
    .port = 7125,
    .commands = CMD_BIT(CMD_KINDS) - 1,
    .init = init,
    .fini = fini,
    .create = create,
    .destroy = destroy,
    .connect = connect_to,
    .disconnect = disconnect,
    .ask = ask,
    .nudge = ask,
    .recall = recall,
    .command = moonraker_command,
    .upload = moonraker_upload,
    .start = moonraker_start,
    .abort = moonraker_abort,
    .is_job = moonraker_is_job,
    .camera = moonraker_camera,
};
