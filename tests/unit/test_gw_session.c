/* A session with a driver and a sink that only take notes: when it connects, what it tells, what it
 * keeps to itself. */
#include <stdlib.h>

#include "base/clock.h"
#include "gateway/session.h"

#include "tap.h"

struct note {
	int connects, disconnects, asks, nudges, touches;
	int port;
	char address[64];
};

static struct note note;

/* --- the driver ------------------------------------------------------------------------------ */

static void *
fake_create(void *env, struct session *s)
{
	(void)s;
	return env;
}

static void
fake_destroy(void *d)
{
	(void)d;
}

static void
fake_connect(void *d, const char *address, int port)
{
	(void)d;
	note.connects++;
	note.port = port;
	snprintf(note.address, sizeof(note.address), "%s", address);
}

static void
fake_disconnect(void *d)
{
	(void)d;
	note.disconnects++;
}

static void
fake_ask(void *d)
{
	(void)d;
	note.asks++;
}

static void
fake_nudge(void *d)
{
	(void)d;
	note.nudges++;
}

static void
fake_recall(void *d, enum printer_state state, enum job_outcome outcome, int64_t started_ms,
    int32_t progress)
{
	(void)d;
	(void)state;
	(void)outcome;
	(void)started_ms;
	(void)progress;
}

static const struct driver fake = {
    .protocol = "fake",
    .port = 99,
    .needs_serial = true,
    .needs_secret = true,
    .create = fake_create,
    .destroy = fake_destroy,
    .connect = fake_connect,
    .disconnect = fake_disconnect,
    .ask = fake_ask,
    .nudge = fake_nudge,
    .recall = fake_recall,
};
static const struct driver *const table[DRIVERS_MOST] = {&fake};

/* --- the sink: takes everything at once --------------------------------------------------------
 */

struct fake_sink {
	struct sink base;
	struct status *last;
	char told[2048];
	uint32_t written;
};

static void
put_event(struct fake_sink *k, const struct status_event *e)
{
	size_t n = strlen(k->told);

	if (e->type == EVENT_STATE_CHANGED)
		snprintf(k->told + n, sizeof(k->told) - n, "%s>%s%s%s ",
		    printer_state_name(e->from), printer_state_name(e->to), e->outcome ? "=" : "",
		    e->outcome ? job_outcome_name(e->outcome) : "");
	else
		snprintf(k->told + n, sizeof(k->told) - n, "%s ",
		    e->type == EVENT_ONLINE ? "online" : "offline");
}

static void
sink_touch(struct sink *base, struct status *s)
{
	struct fake_sink *k = (struct fake_sink *)base;

	note.touches++;
	k->last = s;
	k->written |= s->changed;
	for (int i = 0; i < s->n_events; i++)
		put_event(k, &s->events[i]);
	s->n_events = 0;
	s->seen_written_ms = clock_unix_ms();
	if (s->changed & REC_WIFI)
		s->wifi_written_ms = clock_unix_ms();
	s->changed = 0;
}

static void
sink_forget(struct sink *base, struct status *s)
{
	(void)base;
	(void)s;
}

static const struct sink_ops sink_ops = {.touch = sink_touch, .forget = sink_forget};

/* --- the bench ---------------------------------------------------------------------------------
 */

struct bench {
	struct gateway g;
	struct fake_sink sink;
	struct work w;
	struct session *s;
	struct timer poll, limit;
	bool (*until)(const struct bench *b);
	bool in_time;
};

static void
setup(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	memset(&note, 0, sizeof(note));
	b->sink.base.ops = &sink_ops;
	b->g = (struct gateway){
	    .loop = loop_new(),
	    .sink = &b->sink.base,
	    .drivers = table,
	    .envs = {b},
	    .silence_ms = 60,
	    .offline_ms = 5000,
	    .wifi_ms = 60000,
	    .seen_ms = 15000,
	};
	b->w = (struct work){
	    .org = uuid_v7(),
	    .printer = uuid_v7(),
	    .fencing = 1,
	    .config_version = 1,
	    .name = STR("p"),
	    .protocol = STR("fake"),
	    .host = STR("192.0.2.1"),
	    .serial = STR("S"),
	    .secret = STR("secret"),
	    .enabled = true,
	    .state = PRINTER_IDLE,
	    .told = PRINTER_IDLE,
	    .conn = CONN_DISCONNECTED,
	    .reason = REASON_NO_GATEWAY,
	};
}

static void
done(struct bench *b)
{
	if (b->s)
		session_free(b->s);
	loop_free(b->g.loop);
}

static void
poll_until(void *ctx)
{
	struct bench *b = ctx;

	b->in_time = b->until(b);
	if (b->in_time)
		loop_stop(b->g.loop);
	else
		timer_set(b->g.loop, &b->poll, 1);
}

static void
too_late(void *ctx)
{
	struct bench *b = ctx;

	loop_stop(b->g.loop);
}

/* Runs the loop until the condition holds. */
static bool
run_until(struct bench *b, bool (*until)(const struct bench *b))
{
	b->until = until;
	b->in_time = false;
	b->poll = (struct timer){.fn = poll_until, .ctx = b};
	b->limit = (struct timer){.fn = too_late, .ctx = b};
	timer_set(b->g.loop, &b->poll, 0);
	timer_set(b->g.loop, &b->limit, 10000);
	loop_run(b->g.loop);
	timer_stop(b->g.loop, &b->poll);
	timer_stop(b->g.loop, &b->limit);
	return b->in_time;
}

static bool
dialled(const struct bench *b)
{
	(void)b;
	return note.connects > 0;
}

static bool
dialled_twice(const struct bench *b)
{
	(void)b;
	return note.connects > 1;
}

static bool
nudged(const struct bench *b)
{
	(void)b;
	return note.nudges > 0;
}

static bool
is_offline(const struct bench *b)
{
	return session_is_offline(b->s);
}

static bool
reset(const struct bench *b)
{
	return b->sink.last->reason == REASON_NO_REPORTS && note.disconnects > 0;
}

/* A session that reports `idle`. */
static void
connect_session(struct bench *b)
{
	b->s = session_new(&b->g, &b->w);
	ok(run_until(b, dialled), "it dials");
	session_up(b->s);
	session_record(b->s)->state = PRINTER_IDLE;
	session_report(b->s, REC_STATE | REC_TEMPERATURES, REASON_NONE);
	b->g.offline_ms = 30;
}

static bool
conn_is(const struct bench *b, enum conn_state state, enum conn_reason reason)
{
	return b->sink.last->conn == state && b->sink.last->reason == reason;
}

static void
test_connect(void)
{
	struct bench b;

	setup(&b);
	connect_session(&b);
	is_z(note.address, "192.0.2.1", "to its address");
	is_int(note.port, 99, "at the protocol's port");
	ok(conn_is(&b, CONN_CONNECTED, REASON_NONE), "connected at the first report");
	is_z(b.sink.told, "", "nothing new to tell: it was idle before");
	session_report(b.s, 0, REASON_DEVELOPER_MODE_OFF);
	ok(conn_is(&b, CONN_CONNECTED, REASON_DEVELOPER_MODE_OFF), "with limits");
	done(&b);
}

/* What is worth a write: not a radio signal, not another report that says the same. */
static void
test_writes(void)
{
	struct bench b;
	int before;

	setup(&b);
	connect_session(&b);
	session_report(b.s, REC_WIFI, REASON_NONE);
	before = note.touches;
	session_report(b.s, 0, REASON_NONE);
	session_report(b.s, REC_WIFI, REASON_NONE);
	is_int(note.touches, before, "no write");
	session_report(b.s, REC_JOB, REASON_NONE);
	is_int(note.touches, before + 1, "a job's progress");
	ok(b.sink.written & REC_WIFI, "takes the radio signal along");
	done(&b);
}

static void
test_refused(void)
{
	static const struct {
		const char *protocol, *host, *secret;
		bool enabled;
		enum conn_state state;
		enum conn_reason reason;
	} cases[] = {
	    {"fake", "h", "x", false, CONN_DISABLED, REASON_DISABLED},
	    {"other", "h", "x", true, CONN_DISCONNECTED, REASON_PROTOCOL_NOT_SUPPORTED},
	    {"fake", "h", NULL, true, CONN_DISCONNECTED, REASON_NO_SECRET},
	    {"fake", NULL, "x", true, CONN_DISCONNECTED, REASON_NO_SECRET},
	};
	struct bench b;

	TAP_EACH(cases, c)
	{
		setup(&b);
		b.w.protocol = str_from(c->protocol);
		b.w.host = str_from(c->host);
		b.w.secret = str_from(c->secret);
		b.w.enabled = c->enabled;
		b.s = session_new(&b.g, &b.w);
		ok(conn_is(&b, c->state, c->reason), "%s", conn_reason_name(c->reason));
		is_z(b.sink.told, "idle>offline offline ", "and is offline at once");
		is_int(note.connects, 0, "without dialling");
		done(&b);
	}
}

static void
test_loss(void)
{
	struct bench b;

	setup(&b);
	connect_session(&b);
	note.connects = 0;
	session_failed(b.s, REASON_UNREACHABLE);
	ok(conn_is(&b, CONN_CONNECTING, REASON_CONNECTION_LOST),
	    "a connection that worked was lost");
	is_z(b.sink.told, "", "no event yet");
	ok(run_until(&b, is_offline), "offline after a while");
	is_z(b.sink.told, "idle>offline offline ", "told");
	ok(run_until(&b, dialled), "and dials again");
	session_failed(b.s, REASON_UNREACHABLE);
	ok(conn_is(&b, CONN_DISCONNECTED, REASON_UNREACHABLE), "nothing there");
	done(&b);
}

static void
test_quick_return(void)
{
	struct bench b;

	setup(&b);
	connect_session(&b);
	b.g.offline_ms = 60000;
	note.connects = 0;
	session_failed(b.s, REASON_CONNECTION_LOST);
	ok(run_until(&b, dialled), "dials again");
	session_up(b.s);
	session_report(b.s, 0, REASON_NONE);
	ok(conn_is(&b, CONN_CONNECTED, REASON_NONE), "is back");
	is_z(b.sink.told, "", "and nobody was told");
	done(&b);
}

static void
test_silence(void)
{
	struct bench b;

	setup(&b);
	connect_session(&b);
	ok(run_until(&b, nudged), "a silent printer is woken");
	ok(conn_is(&b, CONN_DISCONNECTED, REASON_NO_REPORTS), "and said to be silent");
	session_record(b.s)->state = PRINTER_IDLE;
	session_report(b.s, REC_STATE, REASON_NONE);
	ok(conn_is(&b, CONN_CONNECTED, REASON_NONE), "it answers");
	note.disconnects = note.nudges = 0;
	ok(run_until(&b, nudged) && run_until(&b, reset), "or the session starts over");
	done(&b);
}

static void
test_outcome(void)
{
	struct bench b;
	struct record *r;

	setup(&b);
	connect_session(&b);
	r = session_record(b.s);
	r->state = PRINTER_PRINTING;
	r->job.present = true;
	session_report(b.s, REC_STATE | REC_JOB, REASON_NONE);
	r->state = PRINTER_FAILED;
	session_report(b.s, REC_STATE | REC_JOB, REASON_NONE);
	is_z(b.sink.told, "idle>printing ", "a failure waits");
	r->job.outcome = OUTCOME_CANCELLED;
	session_changed(b.s, REC_JOB);
	is_z(b.sink.told, "idle>printing printing>failed=cancelled ", "for its outcome");
	r->state = PRINTER_PRINTING;
	r->job.outcome = OUTCOME_NONE;
	session_report(b.s, REC_STATE, REASON_NONE);
	b.sink.told[0] = '\0';
	r->state = PRINTER_FAILED;
	session_report(b.s, REC_STATE, REASON_NONE);
	r->state = PRINTER_PREPARING;
	session_report(b.s, REC_STATE, REASON_NONE);
	is_z(b.sink.told, "printing>failed=failed failed>preparing ", "but is not skipped");
	done(&b);
}

/* The gateway that saw the failure has ended before the outcome was known. */
static void
test_inherited_failure(void)
{
	struct bench b;
	struct record *r;

	setup(&b);
	b.w.state = PRINTER_FAILED;
	b.w.told = PRINTER_PRINTING;
	b.s = session_new(&b.g, &b.w);
	ok(run_until(&b, dialled), "dials");
	session_up(b.s);
	r = session_record(b.s);
	is_z(b.sink.told, "", "nothing is told yet");
	r->job.present = true;
	session_report(b.s, REC_JOB, REASON_NONE);
	is_z(b.sink.told, "", "nor with the first report");
	r->job.outcome = OUTCOME_CANCELLED;
	session_changed(b.s, REC_JOB);
	is_z(b.sink.told, "printing>failed=cancelled ", "but with the outcome");
	done(&b);
}

/* The failure followed so soon that not even the print had been told of. */
static void
test_inherited_failure_of_an_untold_print(void)
{
	struct bench b;
	struct record *r;

	setup(&b);
	b.w.state = PRINTER_FAILED;
	b.w.told = PRINTER_IDLE;
	b.s = session_new(&b.g, &b.w);
	ok(run_until(&b, dialled), "dials");
	session_up(b.s);
	r = session_record(b.s);
	r->job.present = true;
	r->job.outcome = OUTCOME_FAILED;
	session_changed(b.s, REC_JOB);
	is_z(b.sink.told, "idle>failed=failed ", "goes on from where the predecessor ended");
	done(&b);
}

static void
test_wrong_code(void)
{
	struct bench b;

	setup(&b);
	b.s = session_new(&b.g, &b.w);
	ok(run_until(&b, dialled), "dials");
	session_failed(b.s, REASON_WRONG_ACCESS_CODE);
	ok(conn_is(&b, CONN_DISCONNECTED, REASON_WRONG_ACCESS_CODE), "refused");
	b.w.config_version++;
	session_update(b.s, &b.w);
	ok(run_until(&b, dialled_twice), "tried again when the settings are saved");
	done(&b);
}

static void
test_update(void)
{
	struct bench b;

	setup(&b);
	connect_session(&b);
	note = (struct note){0};
	b.w.name = STR("other");
	b.w.config_version++;
	session_update(b.s, &b.w);
	is_int(note.disconnects, 0, "a new name keeps the connection");
	b.w.port = 1234;
	b.w.config_version++;
	session_update(b.s, &b.w);
	is_int(note.disconnects, 1, "a new port does not");
	ok(run_until(&b, dialled) && note.port == 1234, "it dials there");
	b.w.enabled = false;
	session_update(b.s, &b.w);
	ok(conn_is(&b, CONN_DISABLED, REASON_DISABLED), "switched off");
	done(&b);
}

static void
test_refresh_and_stop(void)
{
	struct bench b;

	setup(&b);
	connect_session(&b);
	session_refresh(b.s);
	session_refresh(b.s);
	is_int(note.asks, 1, "a full report is asked for, not twice at once");
	session_stop(b.s);
	ok(conn_is(&b, CONN_DISCONNECTED, REASON_NO_GATEWAY), "stopped");
	is_z(b.sink.told, "", "which is no event");
	done(&b);
}

int
main(void)
{
	test_connect();
	test_writes();
	test_refused();
	test_loss();
	test_quick_return();
	test_silence();
	test_outcome();
	test_inherited_failure();
	test_inherited_failure_of_an_untold_print();
	test_wrong_code();
	test_update();
	test_refresh_and_stop();
	return tap_done();
}
