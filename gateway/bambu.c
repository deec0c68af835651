/* Bambu Lab over MQTT, with libmosquitto driven from the epoll loop. */
#include "gateway/bambu.h"

#include <mosquitto.h>
#include <openssl/bio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/bambu_report.h"
#include "gateway/bambu_session.h"
#include "gateway/reading.h"

enum {
	KEEPALIVE_S = 30,
	TICK_MS = 5000,
	TICK_FIRST_MS = 1000, /* until the full report is there */
	PACKETS_PER_TURN = 32,
	REPORT_MOST = 128 * 1024,       /* bytes; the largest seen is 14 kB */
	UNREAD_MOST = 16 * 1024 * 1024, /* bytes received without a message being complete */
	FTPS_PORT = 990,
	JPEG_PORT = 6000,
	RTSP_PORT = 322,
	SEQUENCE_FROM = 1 << 24, /* other clients count from 0 or from 20000 */
	ASK_LEAST_MS =
	    3000, /* a full report that does not come is asked for again, ever more rarely */
	ASK_MOST_MS = 60000,
	LAYERS_ASK_MS = 300000, /* full reports are work for the small models */
};

static void on_socket(void *ctx, uint32_t events);
static void on_tick(void *ctx);

/* --- once per process ------------------------------------------------------------------------- */

/* "990", or "+100": that far above the port of a printer's MQTT. */
static void
read_ftps_port(struct bambu_env *env, const char *text)
{
	struct str s = str_from(text);
	int64_t n;

	env->ftps_port = FTPS_PORT;
	env->ftps_above = s.n > 0 && s.p[0] == '+';
	if (env->ftps_above)
		s = (struct str){s.p + 1, s.n - 1};
	if (str_to_i64(s, &n) && n > 0 && n < 65536)
		env->ftps_port = (int)n;
	else if (s.n > 0)
		log_error("no port", LOG_Z("ftps_port", text));
}

static void *
init(const struct driver_config *cfg)
{
	struct bambu_env *env = calloc(1, sizeof(*env));

	must(env != NULL && mosquitto_lib_init() == MOSQ_ERR_SUCCESS);
	if (!bambu_tls_init(&env->tls, cfg->ca_path)) {
		free(env);
		return NULL;
	}
	env->tokener = reading_tokener(BAMBU_DEPTH);
	env->ftps = ftps_new(cfg->loop);
	env->ca_path = cfg->ca_path;
	read_ftps_port(env, cfg->bambu_ftps_port);
	return env;
}

static void
fini(void *ctx)
{
	struct bambu_env *env = ctx;

	ftps_free(env->ftps);
	bambu_tls_fini(&env->tls);
	json_tokener_free(env->tokener);
	free(env);
	mosquitto_lib_cleanup();
}

static void *
create(void *env, struct session *s)
{
	struct bambu *b = calloc(1, sizeof(*b));

	must(b != NULL);
	b->env = env;
	b->s = s;
	b->watch = (struct watch){.fn = on_socket, .ctx = b};
	b->tick = (struct timer){.fn = on_tick, .ctx = b};
	b->model = bambu_model("", session_model(s), session_serial(s));
	random_bytes(&b->sequence, sizeof(b->sequence));
	b->sequence = SEQUENCE_FROM + b->sequence % SEQUENCE_FROM;
	bambu_order_init(b);
	snprintf(b->topic, sizeof(b->topic), "device/%s/report", session_serial(s));
	snprintf(b->request, sizeof(b->request), "device/%s/request", session_serial(s));
	bambu_state_init(&b->state);
	return b;
}

static void
recall(void *d, enum printer_state state, enum job_outcome outcome, int64_t started_ms,
    int32_t progress)
{
	struct bambu *b = d;

	b->state.last = state == PRINTER_ERROR ? PRINTER_IDLE : state;
	b->state.seen_state = true;
	b->state.outcome = outcome;
	b->state.started_ms = started_ms;
	b->state.last_percent = progress;
}

static bool
handshake_done(const struct bambu *b)
{
	SSL *ssl = mosquitto_ssl_get(b->m);

	return ssl && SSL_is_init_finished(ssl);
}

/* --- the connection's end --------------------------------------------------------------------- */

static void
disconnect(void *d)
{
	struct bambu *b = d;
	struct loop *loop = session_gateway(b->s)->loop;

	timer_stop(loop, &b->tick);
	watch_stop(loop, &b->watch);
	bambu_order_drop(b, false);
	bambu_upload_drop(b, false);
	if (!b->m)
		return;
	if (handshake_done(b))
		mosquitto_disconnect(b->m);
	mosquitto_destroy(b->m);
	b->m = NULL;
}

static void
destroy(void *d)
{
	struct bambu *b = d;

	disconnect(b);
	bambu_state_fini(&b->state);
	free(b);
}

/* The socket may be closed already: it is forgotten before anything else opens one. */
static void
fail(struct bambu *b, enum conn_reason reason)
{
	watch_stop(session_gateway(b->s)->loop, &b->watch);
	if (b->failure != REASON_NONE)
		reason = b->failure;
	bambu_order_drop(b, true);
	bambu_upload_drop(b, true);
	session_failed(b->s, reason);
}

void
bambu_start_over(struct bambu *b)
{
	b->generation++;
	fail(b, REASON_UNREACHABLE);
}

static enum conn_reason
tls_reason(const struct bambu *b)
{
	switch (b->env->tls.verdict) {
	case TLS_UNTRUSTED:
		return REASON_CERTIFICATE_MISMATCH;
	case TLS_OTHER_SERIAL: /* was it right before, then another machine has taken the address */
		return session_is_proven(b->s) ? REASON_CERTIFICATE_MISMATCH : REASON_WRONG_SERIAL;
	case TLS_NOT_SEEN:
	case TLS_GOOD:
		break;
	}
	return REASON_UNREACHABLE;
}

/* --- requests --------------------------------------------------------------------------------- */

/* The library writes at once, outside of its callbacks; what the socket did not take waits for it
 * to become writable. */
bool
bambu_send(struct bambu *b, const struct bambu_message *m)
{
	struct str text = buf_view(&m->json);
	int rc;

	if (!b->m)
		return false;
	rc = mosquitto_publish(b->m, NULL, b->request, (int)text.n, text.p, m->qos, false);
	if (rc == MOSQ_ERR_SUCCESS && mosquitto_want_write(b->m) && mosquitto_socket(b->m) >= 0)
		watch_set(session_gateway(b->s)->loop, &b->watch, mosquitto_socket(b->m),
		    EPOLLIN | EPOLLRDHUP | EPOLLOUT);
	return rc == MOSQ_ERR_SUCCESS;
}

static void
request(struct bambu *b, const char *section, const char *members)
{
	char text[160];
	int n;

	if (!b->m)
		return;
	n = snprintf(text, sizeof(text), "{\"%s\":{\"sequence_id\":\"%u\",%s}}", section,
	    ++b->sequence, members);
	must(n > 0 && n < (int)sizeof(text));
	mosquitto_publish(b->m, NULL, b->request, n, text, 0, false);
}

static void
ask(void *d)
{
	struct bambu *b = d;

	b->asked_ms = loop_now(session_gateway(b->s)->loop);
	request(b, "pushing", "\"command\":\"pushall\",\"version\":1,\"push_target\":1");
}

static void
nudge(void *d)
{
	struct bambu *b = d;

	b->generation++; /* if that does not help, the next session is another one to the printer */
	request(b, "pushing", "\"command\":\"start\"");
}

static uint32_t
map(struct bambu *b, uint32_t parts)
{
	struct bambu_when now = {clock_mono_ms(), clock_unix_ms(), b->model->no_chamber};

	return bambu_map(&b->state, parts, &now, session_record(b->s));
}

/* The number of layers is told once, at the start, and can be missed. */
static void
ask_for_layers(struct bambu *b)
{
	const struct record *r = session_record(b->s);

	if (r->state == PRINTER_PRINTING && r->job.total_layers == REC_NONE &&
	    loop_now(session_gateway(b->s)->loop) - b->asked_ms > LAYERS_ASK_MS)
		ask(b);
}

/* --- what the printer says ---------------------------------------------------------------------
 */

static void
apply(struct bambu *b, uint32_t parts)
{
	enum conn_reason limits;
	uint32_t changed;

	session_heard(b->s);
	if (!b->state.full) /* changes of a state that is not known yet */
		return;
	if (session_is_offline(b->s))
		parts |= BAMBU_STATE;
	if (parts & BAMBU_EXTRA)
		b->model = bambu_model(b->state.product, session_model(b->s), session_serial(b->s));
	changed = map(b, parts);
	if (parts == BAMBU_ALL)
		changed = BAMBU_COLUMNS;
	limits = bambu_developer_mode_off(&b->state) ? REASON_DEVELOPER_MODE_OFF : REASON_NONE;
	session_report(b->s, changed, limits);
	bambu_order_report(b);
	ask_for_layers(b);
	if (bambu_decide_at(&b->state))
		timer_set(session_gateway(b->s)->loop, &b->tick,
		    bambu_decide_at(&b->state) - clock_mono_ms());
}

static void
on_message(struct mosquitto *m, void *ctx, const struct mosquitto_message *msg)
{
	struct bambu *b = ctx;
	struct gateway_counters *count = &session_gateway(b->s)->counters;
	struct str text = {msg->payload, msg->payloadlen > 0 ? (size_t)msg->payloadlen : 0};
	int64_t start = clock_mono_us(), parsed;
	struct json_object *report;
	struct bambu_answer answer;
	uint32_t parts;
	bool answered;

	b->counted = BIO_number_read(SSL_get_rbio(mosquitto_ssl_get(m)));
	count->reports++;
	count->report_bytes += (int64_t)text.n;
	/* What a broker has kept is of another time. */
	report = msg->retain || text.n > REPORT_MOST ? NULL : reading_object(b->env->tokener, text);
	parsed = clock_mono_us();
	count->parse_us += parsed - start;
	answered = report && bambu_answer_read(report, &answer);
	if (report && bambu_take(&b->state, report, &parts))
		apply(b, parts);
	else if (answered)
		session_heard(b->s);
	else
		count->ignored++;
	json_object_put(report);
	if (answered)
		bambu_order_answer(b, &answer);
	count->map_us += clock_mono_us() - parsed;
}

static void
on_connect(struct mosquitto *m, void *ctx, int rc)
{
	struct bambu *b = ctx;

	if (rc != 0) {
		b->failure = rc == 4 || rc == 5 ? REASON_WRONG_ACCESS_CODE : REASON_UNREACHABLE;
		return;
	}
	session_up(b->s);
	mosquitto_subscribe(m, NULL, b->topic, 0);
	request(b, "info", "\"command\":\"get_version\"");
	ask(b);
}

/* --- the socket ------------------------------------------------------------------------------- */

static void
before_call(struct bambu *b)
{
	b->env->tls.serial = session_serial(b->s);
	b->env->tls.verdict = TLS_NOT_SEEN;
}

/* Looks at what a call into the library has led to. False: the connection is gone, b->m with it. */
static bool
after_call(struct bambu *b, int rc)
{
	int fd = mosquitto_socket(b->m);
	uint32_t events = EPOLLIN | EPOLLRDHUP;

	if (b->failure != REASON_NONE || rc != MOSQ_ERR_SUCCESS || fd < 0) {
		fail(b, tls_reason(b));
		return false;
	}
	if (mosquitto_want_write(b->m))
		events |= EPOLLOUT;
	if (watch_set(session_gateway(b->s)->loop, &b->watch, fd, events))
		return true;
	fail(b, REASON_UNREACHABLE);
	return false;
}

/* Reads what is there; what TLS has decrypted already makes no socket readable, so it is asked for
 * too. */
static int
read_packets(struct bambu *b)
{
	int rc = MOSQ_ERR_SUCCESS;

	for (int i = 0; i < PACKETS_PER_TURN && rc == MOSQ_ERR_SUCCESS && b->failure == REASON_NONE;
	     i++) {
		SSL *ssl;

		rc = mosquitto_loop_read(b->m, 1);
		ssl = mosquitto_ssl_get(b->m);
		if (rc != MOSQ_ERR_SUCCESS || !ssl)
			break;
		if (BIO_number_read(SSL_get_rbio(ssl)) - b->counted > UNREAD_MOST) {
			log_warn("a printer sends endless messages",
			    LOG_Z("serial", session_serial(b->s)));
			return MOSQ_ERR_PROTOCOL;
		}
		if (SSL_pending(ssl) == 0)
			return rc;
	}
	if (rc == MOSQ_ERR_SUCCESS &&
	    b->failure == REASON_NONE) /* more is decrypted: go on after the others */
		timer_set(session_gateway(b->s)->loop, &b->tick, 0);
	return rc;
}

static void
on_socket(void *ctx, uint32_t events)
{
	struct bambu *b = ctx;
	bool closing = (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) != 0;
	int rc = MOSQ_ERR_SUCCESS;

	before_call(b);
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP))
		rc = read_packets(b);
	if (rc == MOSQ_ERR_SUCCESS && (events & EPOLLOUT) && b->failure == REASON_NONE)
		rc = mosquitto_loop_write(b->m, 1);
	/* During the handshake the library takes a closed socket for one that has nothing to say
	 * yet. */
	if (rc == MOSQ_ERR_SUCCESS && closing &&
	    (!handshake_done(b) || (events & (EPOLLERR | EPOLLHUP))))
		rc = MOSQ_ERR_CONN_LOST;
	after_call(b, rc);
}

static void
on_tick(void *ctx)
{
	struct bambu *b = ctx;
	struct loop *loop = session_gateway(b->s)->loop;
	SSL *ssl = mosquitto_ssl_get(b->m);
	int rc = MOSQ_ERR_SUCCESS;

	timer_set(loop, &b->tick, b->state.full ? TICK_MS : TICK_FIRST_MS);
	before_call(b);
	if (ssl && handshake_done(b) && SSL_pending(ssl) > 0)
		rc = read_packets(b);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = mosquitto_loop_misc(b->m);
	if (!after_call(b, rc) || !handshake_done(b))
		return;
	if (!b->state.full && b->asked_ms && loop_now(loop) - b->asked_ms >= b->ask_wait_ms) {
		b->ask_wait_ms = b->ask_wait_ms * 2 > ASK_MOST_MS ? ASK_MOST_MS
								  : b->ask_wait_ms * 2;
		ask(b);
	}
	if (bambu_decide_at(&b->state) && bambu_decide_at(&b->state) <= clock_mono_ms())
		session_changed(b->s, map(b, BAMBU_STATE));
}

/* The library wakes a thread of its own, which we do not run, by a byte in a pair of sockets that
 * nobody reads: over hours it fills with 200 KB of kernel memory per session. The pair takes the
 * two lowest free descriptors; it is made small. */
static void
shrink_wakeups(const int pair[2])
{
	for (int i = 0; i < 2; i++) {
		int domain = 0, least = 1;
		socklen_t n = sizeof(domain);

		if (getsockopt(pair[i], SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 &&
		    domain == AF_UNIX)
			setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least));
	}
}

static void
lowest_free(int pair[2])
{
	pair[0] = dup(STDERR_FILENO);
	pair[1] = dup(STDERR_FILENO);
	close(pair[1]);
	close(pair[0]);
}

static struct mosquitto *
client_new(struct bambu *b)
{
	char id[64], printer[UUID_TEXT_LEN + 1];
	struct mosquitto *m;

	uuid_text(session_printer(b->s), printer);
	snprintf(id, sizeof(id), "soloprint-%.36s-%u", printer, b->generation);
	m = mosquitto_new(id, true, b);
	must(m != NULL);
	must(mosquitto_username_pw_set(m, "bblp", session_secret(b->s)) == MOSQ_ERR_SUCCESS);
	must(mosquitto_void_option(m, MOSQ_OPT_SSL_CTX, b->env->tls.ctx) == MOSQ_ERR_SUCCESS);
	must(mosquitto_int_option(m, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0) == MOSQ_ERR_SUCCESS);
	mosquitto_int_option(m, MOSQ_OPT_TCP_NODELAY, 1);
	mosquitto_tls_insecure_set(
	    m, true); /* our callback does it: there is no host name in the certificate */
	mosquitto_max_inflight_messages_set(m, 0);
	mosquitto_connect_callback_set(m, on_connect);
	mosquitto_message_callback_set(m, on_message);
	return m;
}

/* The library's connect is non-blocking down to TCP for an address; part of the handshake may run
 * inside. */
static void
connect_to(void *d, const char *address, int port)
{
	struct bambu *b = d;
	int rc, pair[2];

	bambu_state_forget(&b->state);
	snprintf(b->address, sizeof(b->address), "%s", address);
	b->port = port;
	b->failure = REASON_NONE;
	b->counted = 0;
	b->asked_ms = 0;
	b->ask_wait_ms = ASK_LEAST_MS;
	lowest_free(pair);
	b->m = client_new(b);
	before_call(b);
	rc = mosquitto_connect_async(b->m, address, port, KEEPALIVE_S);
	shrink_wakeups(pair);
	if (!after_call(b, rc))
		return;
	timer_set(session_gateway(b->s)->loop, &b->tick, TICK_FIRST_MS);
}

/* The address is the one that the session goes to, whatever the printer says of its own. */
static void
camera(const void *d, struct camera_source *out)
{
	const struct bambu *b = d;
	bool v6 = strchr(b->address, ':') != NULL;

	memset(out, 0, sizeof(*out));
	if (!b->model->jpeg_camera && b->state.rtsp != 1)
		return;
	out->kind = b->model->jpeg_camera ? CAMERA_BAMBU_JPEG : CAMERA_RTSP;
	out->port = b->model->jpeg_camera ? JPEG_PORT : RTSP_PORT;
	snprintf(out->user, sizeof(out->user), "bblp");
	if (out->kind == CAMERA_RTSP)
		snprintf(out->url, sizeof(out->url), "rtsps://%s%s%s:%d/streaming/live/1",
		    v6 ? "[" : "", b->address, v6 ? "]" : "", RTSP_PORT);
}

const struct driver bambu_driver = {
    .protocol = "bambu",
    .port = 8883,
    .needs_serial = true,
    .needs_secret = true,
    .commands = (CMD_BIT(CMD_KINDS) - 1) & ~CMD_BIT(CMD_FIRMWARE_RESTART),
    .init = init,
    .fini = fini,
    .create = create,
    .destroy = destroy,
    .connect = connect_to,
    .disconnect = disconnect,
    .ask = ask,
    .nudge = nudge,
    .recall = recall,
    .command = bambu_command,
    .upload = bambu_upload,
    .start = bambu_start,
    .abort = bambu_abort,
    .is_job = bambu_is_its_job,
    .camera = camera,
};
