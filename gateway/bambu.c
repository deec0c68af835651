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
#include "gateway/bambu_tls.h"
#include "gateway/session.h"

enum {
	KEEPALIVE_S = 30,
	TICK_MS = 5000,
	TICK_FIRST_MS = 1000, /* until the full report is there */
	PACKETS_PER_TURN = 32,
	REPORT_MOST = 128 * 1024,       /* bytes; the largest seen is 14 kB */
	UNREAD_MOST = 16 * 1024 * 1024, /* bytes received without a message being complete */
	ASK_LEAST_MS =
	    3000, /* a full report that does not come is asked for again, ever more rarely */
	ASK_MOST_MS = 60000,
	LAYERS_ASK_MS = 300000, /* full reports are work for the small models */
};

struct bambu_env {
	struct bambu_tls tls;
	struct json_tokener *tokener;
};

struct bambu {
	struct bambu_env *env;
	struct session *s;
	struct mosquitto *m;
	struct watch watch;
	struct timer tick;
	struct bambu_state state;
	uint64_t counted; /* bytes received until the last message */
	int64_t asked_ms, ask_wait_ms;
	unsigned generation; /* of the client id; goes up to shake off a half-dead session */
	unsigned sequence;
	bool no_chamber;
	enum conn_reason failure; /* noted in a callback, handled after it */
	char topic[128], request[128];
};

static void on_socket(void *ctx, uint32_t events);
static void on_tick(void *ctx);

/* --- once per process ------------------------------------------------------------------------- */

static void *
init(const struct driver_config *cfg)
{
	struct bambu_env *env = calloc(1, sizeof(*env));

	must(env != NULL && mosquitto_lib_init() == MOSQ_ERR_SUCCESS);
	if (!bambu_tls_init(&env->tls, cfg->ca_path)) {
		free(env);
		return NULL;
	}
	env->tokener = bambu_tokener_new();
	return env;
}

static void
fini(void *ctx)
{
	struct bambu_env *env = ctx;

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
	b->no_chamber = bambu_model_lacks_chamber(session_model(s));
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
	session_failed(b->s, reason);
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
	struct bambu_when now = {clock_mono_ms(), clock_unix_ms(), b->no_chamber};

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
	changed = map(b, parts);
	if (parts == BAMBU_ALL)
		changed = BAMBU_COLUMNS;
	limits = bambu_developer_mode_off(&b->state) ? REASON_DEVELOPER_MODE_OFF : REASON_NONE;
	session_report(b->s, changed, limits);
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
	uint32_t parts;

	b->counted = BIO_number_read(SSL_get_rbio(mosquitto_ssl_get(m)));
	count->reports++;
	count->report_bytes += (int64_t)text.n;
	/* What a broker has kept is of another time. */
	report = msg->retain || text.n > REPORT_MOST ? NULL : bambu_parse(b->env->tokener, text);
	parsed = clock_mono_us();
	count->parse_us += parsed - start;
	if (!report || !bambu_take(&b->state, report, &parts)) {
		count->ignored++;
		json_object_put(report);
		return;
	}
	apply(b, parts);
	json_object_put(report);
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

const struct driver bambu_driver = {
    .protocol = "bambu",
    .port = 8883,
    .needs_serial = true,
    .needs_secret = true,
    .init = init,
    .fini = fini,
    .create = create,
    .destroy = destroy,
    .connect = connect_to,
    .disconnect = disconnect,
    .ask = ask,
    .nudge = nudge,
    .recall = recall,
};
