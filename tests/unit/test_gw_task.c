/* Commands and sends of one printer, with a driver and a sink that only take notes: what is sent
 * when, how often, and how it ends. */
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#include <json-c/json.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/file_box.h"
#include "gateway/task.h"
#include "store/store.h"

#include "tap.h"

/* What the driver was told and the sink was told, in order: "pause upload start end:succeeded ". */
static char notes[2048];
static bool answers_at_once, shows_job;
static enum answer next_answer;
static enum upload_end next_upload;
static bool upload_waits, sink_waits;
static struct session *the_session;
static struct uuid last_job;

__attribute__((format(printf, 1, 2))) static void
note(const char *fmt, ...)
{
	size_t n = strlen(notes);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(notes + n, sizeof(notes) - n, fmt, ap);
	va_end(ap);
}

/* --- the driver ------------------------------------------------------------------------------- */

static void *
fake_create(void *env, struct session *s)
{
	(void)s;
	return env;
}

static void
fake_nothing(void *d)
{
	(void)d;
}

static void
fake_connect(void *d, const char *address, int port)
{
	(void)d;
	(void)address;
	(void)port;
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

static void
fake_command(void *d, const struct command *c)
{
	(void)d;
	note("%s ", command_name(c->kind));
	if (answers_at_once)
		session_answer(the_session, next_answer, "so it says\n");
}

static void
fake_upload(void *d, struct transfer *t)
{
	char bytes[8] = "";

	(void)d;
	note("upload(%s,%d) ", t->filename, pread(t->fd, bytes, sizeof(bytes), 0) == 4);
	snprintf(t->remote, sizeof(t->remote), "/%.200s", t->filename);
	if (!upload_waits)
		session_upload_done(the_session, next_upload, NULL);
}

static void
fake_start(void *d, struct transfer *t)
{
	(void)d;
	note("start(%d) ", t->task_id);
	if (answers_at_once)
		session_answer(the_session, next_answer, "no");
}

static void
fake_abort(void *d)
{
	(void)d;
	note("abort ");
}

static bool
fake_is_job(const void *d, const struct transfer *t, const struct record *r)
{
	(void)d;
	(void)t;
	(void)r;
	return shows_job;
}

static const struct driver fake = {
    .protocol = "fake",
    .port = 99,
    .commands = CMD_BIT(CMD_PAUSE) | CMD_BIT(CMD_RESUME) | CMD_BIT(CMD_STOP) | CMD_BIT(CMD_GCODE) |
	CMD_BIT(CMD_EMERGENCY_STOP) | CMD_BIT(CMD_HOME) | CMD_BIT(CMD_SET_TEMPERATURES),
    .create = fake_create,
    .destroy = fake_nothing,
    .connect = fake_connect,
    .disconnect = fake_nothing,
    .ask = fake_nothing,
    .nudge = fake_nothing,
    .recall = fake_recall,
    .command = fake_command,
    .upload = fake_upload,
    .start = fake_start,
    .abort = fake_abort,
    .is_job = fake_is_job,
};
static const struct driver *const table[DRIVERS_MOST] = {&fake};

/* --- the sink --------------------------------------------------------------------------------- */

static void
sink_touch(struct sink *k, struct status *s)
{
	(void)k;
	s->changed = 0;
	s->n_events = 0;
	s->n_prints = 0;
}

static void
sink_forget(struct sink *k, struct status *s)
{
	(void)k;
	(void)s;
}

static void
sink_starting(struct sink *k, struct uuid job)
{
	(void)k;
	note("mark ");
	if (!sink_waits)
		tasks_may_start(session_tasks(the_session), job, true);
}

static void
sink_progress(struct sink *k, struct uuid job, int64_t done, int64_t total)
{
	(void)k;
	(void)job;
	note("%d/%d ", (int)done, (int)total);
}

static void
sink_end(struct sink *k, struct uuid job, const struct task_end *end)
{
	static const char *const outcomes[] = {"succeeded", "failed", "cancelled"};

	(void)k;
	(void)job;
	note("%s", outcomes[end->outcome]);
	note(end->code ? ":%s " : " ", end->code);
	if (end->code && strstr(end->message, "says"))
		note("[%s] ", strstr(end->message, "says"));
}

static const struct sink_ops sink_ops = {.touch = sink_touch,
    .forget = sink_forget,
    .task_starting = sink_starting,
    .task_progress = sink_progress,
    .task_end = sink_end};

/* --- the bench ---------------------------------------------------------------------------------
 */

struct bench {
	struct gateway g;
	struct sink sink;
	struct timer limit;
	char folder[64];
	struct uuid blob;
};

static void
on_limit(void *ctx)
{
	struct bench *b = ctx;

	loop_stop(b->g.loop);
}

static void
run_ms(struct bench *b, int64_t ms)
{
	b->limit = (struct timer){.fn = on_limit, .ctx = b};
	timer_set(b->g.loop, &b->limit, ms);
	loop_run(b->g.loop);
}

static void
make_file(struct bench *b)
{
	struct store *store = store_open(b->folder);
	int fd = store_temp(store);

	b->blob = uuid_v7();
	ok(fd >= 0 && write(fd, "G28\n", 4) == 4 && store_keep(store, fd, b->blob), "a file");
	close(fd);
	store_close(store);
}

static void
setup(struct bench *b)
{
	struct work w = {.org = uuid_v7(),
	    .printer = uuid_v7(),
	    .fencing = 1,
	    .name = STR("p"),
	    .protocol = STR("fake"),
	    .host = STR("192.0.2.1"),
	    .enabled = true,
	    .conn = CONN_DISCONNECTED,
	    .reason = REASON_NO_GATEWAY};

	memset(b, 0, sizeof(*b));
	snprintf(b->folder, sizeof(b->folder), "/tmp/slp-task-XXXXXX");
	must(mkdtemp(b->folder) != NULL);
	b->sink.ops = &sink_ops;
	b->g = (struct gateway){.loop = loop_new(),
	    .sink = &b->sink,
	    .drivers = table,
	    .envs = {b},
	    .silence_ms = 60000,
	    .offline_ms = 60000,
	    .wifi_ms = 60000,
	    .seen_ms = 15000,
	    .patience_pct = 100};
	make_file(b);
	b->g.files = file_box_new(b->folder, NULL, NULL);
	the_session = session_new(&b->g, &w);
	notes[0] = '\0';
	answers_at_once = shows_job = upload_waits = sink_waits = false;
	next_answer = ANSWER_ACCEPTED;
	next_upload = UPLOAD_DONE;
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

static void
done(struct bench *b)
{
	session_free(the_session);
	file_box_free(b->g.files);
	loop_free(b->g.loop);
	nftw(b->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
show(enum printer_state state)
{
	session_record(the_session)->state = state;
	session_report(the_session, REC_STATE, REASON_NONE);
}

static void
up(enum printer_state state)
{
	session_up(the_session);
	show(state);
}

/* Gives the session a task; flags: r resumed, s starting, c cancelled, o the one given last. */
static void
give(struct bench *b, const char *kind, const char *params, const char *flags)
{
	struct work_task w = {.kind = str_from(kind),
	    .params = json_tokener_parse(params),
	    .number = 7,
	    .patience_ms = 60000,
	    .resumed = strchr(flags, 'r') != NULL,
	    .starting = strchr(flags, 's') != NULL,
	    .cancelled = strchr(flags, 'c') != NULL,
	    .file = {.present = !strchr(flags, 'g'),
		.blob = b->blob,
		.filename = STR("a/b boat.gcode"),
		.kind = STR("gcode"),
		.size = 4}};

	w.job = strchr(flags, 'o') ? last_job : uuid_v7();
	last_job = w.job;
	must(w.params != NULL);
	tasks_take(session_tasks(the_session), &w);
	json_object_put(w.params);
}

static void
command(struct bench *b, const char *params)
{
	give(b, "printer.command", params, "");
}

static void
told(const char *want, const char *name)
{
	is_z(notes, want, name);
	notes[0] = '\0';
}

/* --- commands ----------------------------------------------------------------------------------
 */

static void
test_confirmed(void)
{
	struct bench b;

	setup(&b);
	command(&b, "{\"command\":\"pause\"}");
	told("", "nothing is sent without a connection");
	up(PRINTER_PRINTING);
	told("pause ", "but when it is there");
	show(PRINTER_PRINTING);
	told("", "once");
	show(PRINTER_PAUSED);
	told("succeeded ", "done when the printer shows it");
	answers_at_once = true;
	command(&b, "{\"command\":\"resume\"}");
	told("resume ", "an answer is not the deed");
	show(PRINTER_PRINTING);
	told("succeeded ", "which the state shows");
	command(&b, "{\"command\":\"resume\"}");
	told("failed:printer_state_conflict ", "what makes no sense is not sent");
	command(&b, "{\"command\":\"home\"}");
	told("failed:printer_state_conflict ", "nor what would harm a print");
	command(&b, "{\"command\":\"light\",\"on\":true}");
	told("failed:unsupported_by_printer ", "nor what the driver cannot do");
	command(&b, "{\"command\":\"gcode\",\"lines\":[\"M117 hi\"]}");
	told("gcode succeeded ", "an answer is enough where nothing shows");
	next_answer = ANSWER_REFUSED;
	command(&b, "{\"command\":\"pause\"}");
	told("pause failed:refused [says: so it says] ", "a refusal, in the printer's words");
	next_answer = ANSWER_LOST;
	command(&b, "{\"command\":\"gcode\",\"lines\":[\"G28\"]}");
	told("gcode failed:outcome_unknown [says: so it says] ", "nobody knows");
	command(&b, "{\"command\":\"set_temperatures\",\"nozzle_c\":200}");
	told("set_temperatures ", "no answer, but it may show");
	session_record(the_session)->temperatures.n_nozzles = 1;
	session_record(the_session)->temperatures.nozzles[0].t.target_dc = 2000;
	show(PRINTER_PRINTING);
	told("succeeded ", "and does");
	done(&b);
}

static void
test_order(void)
{
	struct bench b;

	setup(&b);
	up(PRINTER_PRINTING);
	command(&b, "{\"command\":\"gcode\",\"lines\":[\"G28\"]}");
	command(&b, "{\"command\":\"pause\"}");
	told("gcode ", "one at a time");
	command(&b, "{\"command\":\"emergency_stop\"}");
	told("emergency_stop failed:outcome_unknown ",
	    "an emergency waits for nobody, and takes the other's answer");
	show(PRINTER_ERROR);
	told("succeeded failed:printer_state_conflict ",
	    "then the next one, which makes no sense any more");
	show(PRINTER_PRINTING);
	command(&b, "{\"command\":\"gcode\",\"lines\":[\"G28\"]}");
	session_failed(the_session, REASON_UNREACHABLE);
	told("gcode failed:outcome_unknown ", "a connection that breaks takes the answer along");
	done(&b);
}

static void
test_patience(void)
{
	struct bench b;

	setup(&b);
	b.g.patience_pct = 1;
	up(PRINTER_PRINTING);
	command(&b, "{\"command\":\"pause\"}");
	run_ms(&b, 700);
	told("pause failed:outcome_unknown ", "silence: nobody knows");
	answers_at_once = true;
	command(&b, "{\"command\":\"stop\"}");
	run_ms(&b, 700);
	told("stop failed:not_confirmed [says: so it says] ", "taken, but not done");
	give(&b, "printer.command", "{\"command\":\"pause\"}", "r");
	told("", "what a predecessor began is not repeated");
	show(PRINTER_PAUSED);
	told("succeeded ", "but seen");
	give(&b, "printer.command", "{\"command\":\"resume\"}", "r");
	run_ms(&b, 700);
	told("failed:outcome_unknown ", "or not");
	give(&b, "printer.command", "{\"command\":\"gcode\",\"lines\":[\"G28\"]}", "r");
	told("failed:outcome_unknown ", "there is nothing to see of what only an answer tells");
	session_failed(the_session, REASON_UNREACHABLE);
	command(&b, "{\"command\":\"resume\"}");
	give(&b, "printer.command", "{\"command\":\"resume\"}", "oc");
	told("cancelled ", "what waits can be cancelled");
	done(&b);
}

/* --- sends -------------------------------------------------------------------------------------
 */

static void
test_send(void)
{
	struct bench b;

	setup(&b);
	up(PRINTER_IDLE);
	answers_at_once = true;
	give(&b, "printer.send", "{\"file_id\":\"0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70\"}", "");
	told("upload(a_b boat.gcode,1) 4/4 mark start(7) ", "brought, written down, started");
	show(PRINTER_IDLE);
	told("", "idle after the start means nothing");
	show(PRINTER_PRINTING);
	told("", "another job is not ours");
	shows_job = true;
	show(PRINTER_PRINTING);
	told("succeeded ", "ours is");
	give(&b, "printer.send", "{}", "");
	told("failed:printer_busy ", "not while it prints");
	give(&b, "printer.send", "{\"start\":false}", "");
	told("upload(a_b boat.gcode,1) 4/4 succeeded ", "but a file can be brought");
	show(PRINTER_FINISHED);
	next_answer = ANSWER_REFUSED;
	shows_job = false;
	give(&b, "printer.send", "{}", "");
	told("upload(a_b boat.gcode,1) 4/4 mark start(7) failed:refused [says: no] ", "a refusal");
	shows_job = true;
	next_answer = ANSWER_ACCEPTED;
	give(&b, "printer.send", "{}", "");
	told("upload(a_b boat.gcode,1) 4/4 mark start(7) ",
	    "an older job of the same file, which has finished, is no sign");
	show(PRINTER_FINISHED);
	told("", "however often it is seen");
	show(PRINTER_PREPARING);
	told("succeeded ", "a new one is");
	show(PRINTER_FINISHED);
	shows_job = false;
	give(&b, "printer.send", "{}", "g");
	told("failed:file_gone ", "a file that vanished");
	b.blob = uuid_v7();
	give(&b, "printer.send", "{}", "");
	told("failed:file_gone ", "or whose object did");
	done(&b);
}

static void
test_send_mute(void)
{
	struct bench b;

	setup(&b);
	b.g.patience_pct = 1;
	up(PRINTER_IDLE);
	give(&b, "printer.send", "{}", "");
	run_ms(&b, 1100);
	told("upload(a_b boat.gcode,1) 4/4 mark start(7) failed:start_unknown ",
	    "a mute printer: once, and unknown");
	give(&b, "printer.send", "{}", "");
	told("failed:printer_busy ", "no other start for a while: it may have begun");
	run_ms(&b, 1300);
	give(&b, "printer.send", "{}", "rs");
	shows_job = true;
	show(PRINTER_PRINTING);
	told("succeeded ", "a predecessor's start is watched");
	shows_job = false;
	show(PRINTER_FINISHED);
	give(&b, "printer.send", "{}", "rs");
	run_ms(&b, 1100);
	told("failed:start_unknown ", "and never repeated");
	give(&b, "printer.send", "{}", "r");
	told("upload(a_b boat.gcode,1) 4/4 mark start(7) ", "an upload may be");
	done(&b);
}

static void
test_send_broken(void)
{
	struct bench b;

	setup(&b);
	b.g.patience_pct = 2;
	up(PRINTER_IDLE);
	upload_waits = true;
	give(&b, "printer.send", "{}", "");
	told("upload(a_b boat.gcode,1) ", "it takes its time");
	session_upload_progress(the_session, 2);
	told("2/4 ", "progress");
	session_failed(the_session, REASON_UNREACHABLE);
	told("", "the connection breaks");
	up(PRINTER_IDLE);
	told("", "it is given a moment");
	run_ms(&b, 100);
	told("upload(a_b boat.gcode,1) ", "then again from the start");
	session_upload_done(the_session, UPLOAD_BROKEN, "pipe");
	run_ms(&b, 100);
	session_upload_done(the_session, UPLOAD_BROKEN, "pipe");
	told("upload(a_b boat.gcode,1) failed:upload_failed [says: pipe] ", "not for ever");
	give(&b, "printer.send", "{}", "");
	give(&b, "printer.send", "{}", "oc");
	told("upload(a_b boat.gcode,1) abort cancelled ", "an upload can be cancelled");
	upload_waits = false;
	sink_waits = true;
	give(&b, "printer.send", "{}", "");
	told("upload(a_b boat.gcode,1) 4/4 mark ", "nothing is started before it is written down");
	show(PRINTER_PRINTING);
	tasks_may_start(session_tasks(the_session), last_job, true);
	told("failed:printer_busy ", "nor when somebody was faster");
	show(PRINTER_IDLE);
	give(&b, "printer.send", "{}", "");
	tasks_may_start(session_tasks(the_session), last_job, false);
	told("upload(a_b boat.gcode,1) 4/4 mark cancelled ", "nor when it is not ours any more");
	next_upload = UPLOAD_NO_SPACE;
	give(&b, "printer.send", "{}", "");
	told("upload(a_b boat.gcode,1) failed:no_space ", "a full printer");
	done(&b);
}

int
main(void)
{
	test_confirmed();
	test_order();
	test_patience();
	test_send();
	test_send_mute();
	test_send_broken();
	return tap_done();
}
