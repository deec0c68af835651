/* OctoPrint: a real one's answers and messages; states, outcomes by event and by guess, what the
 * terminal tells, commands as requests, cameras. */
#include "base/arena.h"
#include "base/config.h"
#include "gateway/octoprint_camera.h"
#include "gateway/octoprint_command.h"
#include "gateway/octoprint_report.h"
#include "gateway/reading.h"

#include "tap.h"

static struct json_tokener *tokener;

struct printer {
	struct octo_state o;
	struct record r;
	int64_t now_ms;
};

static void
setup(struct printer *p)
{
	octo_state_init(&p->o);
	record_init(&p->r);
	p->now_ms = 1700000000000;
}

static uint32_t
map(struct printer *p)
{
	return octo_map(&p->o, p->now_ms, &p->r);
}

static enum octo_push
push(struct printer *p, const char *text)
{
	struct json_object *v = reading_object(tokener, str_from(text));
	enum octo_push what = v ? octo_take_push(&p->o, v) : OCTO_IGNORED;

	json_object_put(v);
	map(p);
	return what;
}

static void
poll(struct printer *p, const char *printer, const char *job)
{
	struct json_object *v = reading_object(tokener, str_from(printer)),
			   *j = reading_object(tokener, str_from(job));

	if (v)
		ok(octo_take_printer(&p->o, v), "printer: %.60s", printer);
	else
		octo_take_no_printer(&p->o);
	ok(j && octo_take_job(&p->o, j), "job: %.60s", job);
	json_object_put(v);
	json_object_put(j);
	map(p);
}

static void
json_is(struct printer *p, uint32_t section, const char *want, const char *name)
{
	struct buf b;

	buf_init(&b, 65536);
	record_json(&b, &p->r, section);
	is_str(buf_view(&b), str_from(want), name);
	buf_fini(&b);
}

static void
state_is(struct printer *p, enum printer_state want, const char *name)
{
	is_z(printer_state_name(p->r.state), printer_state_name(want), name);
}

#define FLAGS(text, flags, error)                                                                  \
	"{\"state\":{\"text\":\"" text "\",\"flags\":{" flags "},\"error\":\"" error "\"}"
#define PRINTER(text, flags) FLAGS(text, flags, "") ",\"temperature\":{}}"
#define JOB(path, completion)                                                                      \
	"{\"job\":{\"file\":{\"path\":" path ",\"name\":" path                                     \
	"}},\"progress\":{\"completion\":" completion ",\"printTimeLeft\":60}}"
#define ON "\"operational\":true"
#define OFF "\"operational\":false,\"closedOrError\":true,\"ready\":false"
#define NO_FILE JOB("null", "null")
#define STATE(id)                                                                                  \
	"{\"event\":{\"type\":\"PrinterStateChanged\",\"payload\":{\"state_id\":\"" id "\"}}}"
#define EVENT(type)                                                                                \
	"{\"event\":{\"type\":\"" type                                                             \
	"\",\"payload\":{\"path\":\"a/b.gcode\",\"name\":\"b.gcode\"}}}"

static void
test_states(void)
{
	static const struct {
		const char *printer, *job;
		enum printer_state want;
	} cases[] = {
	    {PRINTER("Operational", ON ",\"ready\":true"), NO_FILE, PRINTER_IDLE},
	    {PRINTER("Bereit: wartet", ON ",\"ready\":true"), NO_FILE, PRINTER_IDLE},
	    {PRINTER("Operational", ON), NO_FILE, PRINTER_IDLE},
	    {PRINTER("Sending file to SD", ON ",\"ready\":false"), NO_FILE, PRINTER_PREPARING},
	    {PRINTER("Starting print from SD", ON ",\"printing\":true,\"ready\":false"), NO_FILE,
		PRINTER_PREPARING},
	    {PRINTER("Druckt von SD", ON ",\"printing\":true,\"ready\":false"), NO_FILE,
		PRINTER_PRINTING},
	    {PRINTER("Pausing", ON ",\"printing\":true,\"pausing\":true"), NO_FILE,
		PRINTER_PRINTING},
	    {PRINTER("Paused", ON ",\"paused\":true"), NO_FILE, PRINTER_PAUSED},
	    {PRINTER("Resuming", ON ",\"printing\":true,\"resuming\":true"), NO_FILE,
		PRINTER_PRINTING},
	    {PRINTER("Finishing", ON ",\"printing\":true,\"finishing\":true"), NO_FILE,
		PRINTER_PRINTING},
	    {PRINTER("Error: x", OFF ",\"error\":true"), NO_FILE, PRINTER_ERROR},
	    {PRINTER("Offline", OFF), NO_FILE, PRINTER_OFFLINE},
	    {PRINTER("Detecting serial connection", "\"operational\":false"), NO_FILE,
		PRINTER_OFFLINE},
	    {"none", NO_FILE, PRINTER_OFFLINE},
	    {"none",
		"{\"job\":{},\"progress\":{},\"state\":\"Offline after error\",\"error\":\"Halted\"}",
		PRINTER_ERROR},
	};
	struct printer p;

	TAP_EACH(cases, c)
	{
		setup(&p);
		poll(&p, c->printer, c->job);
		state_is(&p, c->want, c->printer);
		record_fini(&p.r);
	}
}

static void
begin_print(struct printer *p)
{
	setup(p);
	poll(p, PRINTER("Operational", ON ",\"ready\":true"), NO_FILE);
	is_int(push(p, EVENT("FileSelected")), OCTO_EVENT, "selected");
	push(p, STATE("STARTING"));
	state_is(p, PRINTER_PREPARING, "starting");
	json_is(p, REC_JOB,
	    "{\"file\":\"a/b.gcode\",\"name\":\"b.gcode\",\"progress\":0,\"remaining_s\":null,\"layer\":null,"
	    "\"total_layers\":null,\"outcome\":null,\"stage\":\"starting\",\"started_at\":\"2023-11-14T22:13:20.000Z\","
	    "\"task_id\":null}",
	    "the job has its file's name from the start");
	push(p, EVENT("PrintStarted"));
	push(p, STATE("PRINTING"));
	state_is(p, PRINTER_PRINTING, "printing");
}

static void
test_ends_by_event(void)
{
	static const struct {
		const char *event, *end;
		enum job_outcome outcome;
		enum printer_state state;
	} cases[] = {
	    {EVENT("PrintDone"), STATE("OPERATIONAL"), OUTCOME_COMPLETED, PRINTER_FINISHED},
	    {EVENT("PrintCancelled"), STATE("OPERATIONAL"), OUTCOME_CANCELLED, PRINTER_FAILED},
	    {EVENT("PrintFailed"), STATE("OPERATIONAL"), OUTCOME_FAILED, PRINTER_FAILED},
	    {"{\"event\":{\"type\":\"PrintFailed\",\"payload\":{\"reason\":\"cancelled\"}}}",
		STATE("OPERATIONAL"), OUTCOME_CANCELLED, PRINTER_FAILED},
	    {STATE("OPERATIONAL"), EVENT("PrintDone"), OUTCOME_COMPLETED, PRINTER_FINISHED},
	    {STATE("OPERATIONAL"), EVENT("PrintFailed"), OUTCOME_FAILED, PRINTER_FAILED},
	};
	struct printer p;

	TAP_EACH(cases, c)
	{
		begin_print(&p);
		push(&p, c->event);
		push(&p, c->end);
		is_int(p.r.job.outcome, c->outcome, c->event);
		state_is(&p, c->state, c->end);
		push(&p, EVENT("PrintFailed"));
		is_int(p.r.job.outcome, c->outcome, "what comes behind changes nothing");
		push(&p, STATE("STARTING"));
		is_int(p.r.job.outcome, OUTCOME_NONE, "the next one begins anew");
		record_fini(&p.r);
	}
}

static void
test_ends_by_guess(void)
{
	static const struct {
		const char *printer, *job;
		enum job_outcome outcome;
		enum printer_state state;
	} cases[] = {
	    {PRINTER("Operational", ON), JOB("\"x.gcode\"", "100.0"), OUTCOME_COMPLETED,
		PRINTER_FINISHED},
	    {PRINTER("Operational", ON), JOB("\"x.gcode\"", "null"), OUTCOME_CANCELLED,
		PRINTER_FAILED},
	    {PRINTER("Operational", ON), JOB("\"x.gcode\"", "99.9"), OUTCOME_CANCELLED,
		PRINTER_FAILED},
	    {PRINTER("Operational", ON), NO_FILE, OUTCOME_FAILED, PRINTER_FAILED},
	    {"none", "{\"job\":{},\"error\":\"Halted\"}", OUTCOME_FAILED, PRINTER_ERROR},
	    {"none", NO_FILE, OUTCOME_FAILED, PRINTER_OFFLINE},
	};
	struct printer p;

	TAP_EACH(cases, c)
	{
		setup(&p);
		poll(&p, PRINTER("Operational", ON), NO_FILE);
		poll(&p, PRINTER("x", ON ",\"printing\":true"), JOB("\"x.gcode\"", "41.9"));
		is_int(p.r.job.progress, 41, "progress");
		is_int(p.r.job.remaining_s, 60, "remaining");
		poll(&p, c->printer, c->job);
		is_int(p.r.job.outcome, c->outcome, c->job);
		state_is(&p, c->state, c->printer);
		is_int(p.r.job.progress, c->outcome == OUTCOME_COMPLETED ? 100 : 41,
		    "how far it came");
		record_fini(&p.r);
	}
}

static void
test_after_the_end(void)
{
	struct printer p;

	begin_print(&p);
	push(&p, EVENT("PrintDone"));
	push(&p, STATE("OPERATIONAL"));
	poll(&p, PRINTER("Operational", ON), JOB("\"a/b.gcode\"", "100"));
	state_is(&p, PRINTER_FINISHED, "as long as its file stays selected");
	poll(&p, PRINTER("Operational", ON), JOB("\"other.gcode\"", "null"));
	state_is(&p, PRINTER_IDLE, "another file was selected");
	json_is(&p, REC_JOB, "null", "no job");
	record_fini(&p.r);

	begin_print(&p);
	push(&p, EVENT("PrintCancelled"));
	push(&p, STATE("OPERATIONAL"));
	octo_dismiss(&p.o);
	map(&p);
	state_is(&p, PRINTER_IDLE, "dismissed");
	record_fini(&p.r);

	begin_print(&p);
	poll(&p, "none", NO_FILE);
	state_is(&p, PRINTER_OFFLINE, "disconnected while it printed");
	poll(&p, "none", "{\"job\":{},\"error\":\"Halted\"}");
	is_int(p.r.job.outcome, OUTCOME_FAILED, "the reason comes behind");
	poll(&p, PRINTER("Operational", ON), NO_FILE);
	state_is(&p, PRINTER_IDLE, "and is over when the printer is back");
	record_fini(&p.r);

	begin_print(&p);
	poll(&p, "none", NO_FILE);
	poll(&p, PRINTER("Operational", ON), NO_FILE);
	state_is(&p, PRINTER_FAILED, "a lost printer's job is told when it is back");
	poll(&p, PRINTER("Operational", ON), NO_FILE);
	state_is(&p, PRINTER_IDLE, "once");
	record_fini(&p.r);

	begin_print(&p);
	push(&p, STATE("OPERATIONAL"));
	push(&p, EVENT("PrintFailed"));
	state_is(&p, PRINTER_FAILED, "failed before the error is known");
	poll(&p, "none", "{\"job\":{},\"error\":\"Halted\"}");
	state_is(&p, PRINTER_ERROR, "the error");
	is_int(p.r.job.outcome, OUTCOME_FAILED, "keeps the job it ended");
	record_fini(&p.r);
}

#define CURRENT(job_file)                                                                          \
	"{\"current\":{\"state\":{\"text\":\"x\",\"flags\":{" ON                                   \
	"}},\"job\":{\"file\":{\"path\":\"" job_file "\"}},\"progress\":{}}}"

/* Events come at once, reports of the whole state up to two seconds later. */
static void
test_reports_behind_events(void)
{
	struct printer p;

	begin_print(&p);
	poll(&p, PRINTER("x", ON ",\"printing\":true"), JOB("\"old.gcode\"", "null"));
	push(&p, EVENT("PrintCancelled"));
	push(&p, STATE("OPERATIONAL"));
	state_is(&p, PRINTER_FAILED, "cancelled");
	is_int(push(&p, CURRENT("a/b.gcode")), OCTO_REPORT, "a report");
	state_is(&p, PRINTER_FAILED, "the event's file is the job's");
	record_fini(&p.r);

	begin_print(&p);
	is_int(push(&p, CURRENT("a/b.gcode")), OCTO_DOUBT, "not printing, behind the start");
	state_is(&p, PRINTER_PRINTING, "does not end the print");
	poll(&p, PRINTER("x", ON ",\"printing\":true"), JOB("\"a/b.gcode\"", "1"));
	state_is(&p, PRINTER_PRINTING, "as the answer says too");
	poll(&p, PRINTER("Operational", ON), JOB("\"a/b.gcode\"", "100"));
	is_int(push(&p, CURRENT("a/b.gcode")), OCTO_REPORT, "what the answer says is believed");
	state_is(&p, PRINTER_FINISHED, "the end by an answer");
	record_fini(&p.r);

	begin_print(&p);
	poll(&p, "none", "{\"job\":{},\"error\":\"Halted\"}");
	is_int(push(&p, CURRENT("a/b.gcode")), OCTO_DOUBT, "operational, behind a loss");
	state_is(&p, PRINTER_ERROR, "is asked for, not believed");
	is_int(p.r.job.outcome, OUTCOME_FAILED, "the job's end stays");
	poll(&p, PRINTER("Operational", ON), JOB("\"a/b.gcode\"", "null"));
	is_int(push(&p, CURRENT("a/b.gcode")), OCTO_REPORT, "believed again after the answer");
	record_fini(&p.r);
}

static void
test_recalled(void)
{
	struct printer p;

	setup(&p);
	p.o.last = PRINTER_PRINTING;
	p.o.seen_state = true;
	p.o.started_ms = 1600000000000;
	p.o.last_percent = 30;
	poll(&p, PRINTER("x", ON ",\"printing\":true"), JOB("\"x.gcode\"", "40"));
	is_int(p.r.job.started_ms, 1600000000000, "the start of before");
	octo_state_forget(&p.o);
	poll(&p, PRINTER("Operational", ON), JOB("\"x.gcode\"", "100"));
	state_is(&p, PRINTER_FINISHED, "ended while nobody looked");
	record_fini(&p.r);

	setup(&p);
	p.o.last = PRINTER_FAILED;
	p.o.outcome = OUTCOME_CANCELLED;
	p.o.seen_state = true;
	poll(&p, PRINTER("Operational", ON), JOB("\"x.gcode\"", "null"));
	is_int(p.r.job.outcome, OUTCOME_CANCELLED, "an end of before stays");
	poll(&p, PRINTER("Operational", ON), JOB("\"y.gcode\"", "null"));
	state_is(&p, PRINTER_IDLE, "until something else is selected");
	record_fini(&p.r);
}

static void
test_values(void)
{
	struct printer p;

	setup(&p);
	poll(&p,
	    FLAGS("Operational", ON,
		"") ",\"temperature\":{\"tool0\":{\"actual\":21.34,\"target\":0},"
		    "\"tool1\":{\"actual\":199.96,\"target\":200},"
		    "\"bed\":{\"actual\":60,\"target\":null},"
		    "\"chamber\":{\"actual\":35.25,\"target\":40}}}",
	    NO_FILE);
	json_is(&p, REC_TEMPERATURES,
	    "{\"nozzles\":[{\"id\":0,\"actual_c\":21.3,\"target_c\":0},{\"id\":1,\"actual_c\":200,\"target_c\":200}],"
	    "\"bed\":{\"actual_c\":60,\"target_c\":null},\"chamber\":{\"actual_c\":35.3,\"target_c\":40}}",
	    "temperatures");
	json_is(&p, REC_FANS, "null", "fans are not known before they are set");
	push(&p,
	    "{\"history\":" FLAGS("x", ON,
		"") ",\"job\":{},\"temps\":[{\"time\":1,\"tool0\":{\"actual\":1}},"
		    "{\"time\":2,\"tool0\":{\"actual\":2},\"chamber\":{\"actual\":null}}],"
		    "\"logs\":[\"Send: N7 M106 S128*33\",\"Recv: ok\",\"Send: M220 S80\"]}}");
	json_is(&p, REC_TEMPERATURES,
	    "{\"nozzles\":[{\"id\":0,\"actual_c\":2,\"target_c\":null}],\"bed\":{\"actual_c\":null,\"target_c\":null},"
	    "\"chamber\":null}",
	    "the last entry");
	is_int(p.r.fans.part_cooling_pct, 50, "fan");
	is_int(p.r.speed.percent, 80, "speed");
	ok(!p.o.terminal, "the first message promises no more lines");
	push(&p, "{\"current\":" FLAGS("x", ON, "") ",\"job\":{},\"logs\":[\"Send: M107\"]}}");
	ok(p.o.terminal, "the terminal is told");
	is_int(p.r.fans.part_cooling_pct, 0, "fan");
	push(
	    &p, "{\"current\":" FLAGS("Offline", OFF, "") ",\"job\":{},\"temps\":[{\"time\":3}]}}");
	json_is(&p, REC_TEMPERATURES, "null", "nothing is known of a printer that is gone");
	json_is(&p, REC_FANS, "null", "nor of its fans");
	record_fini(&p.r);
}

static void
test_terminal(void)
{
	static const struct {
		const char *line;
		int32_t fan, speed;
	} cases[] = {
	    {"M106", 100, REC_NONE},
	    {"M106 S255", 100, REC_NONE},
	    {"M106 S77", 30, REC_NONE},
	    {"M106 P0 S128", 50, REC_NONE},
	    {"M106 P2 S128", REC_NONE, REC_NONE},
	    {"N12 M106 S0*81", 0, REC_NONE},
	    {"M106 S999", 100, REC_NONE},
	    {"M107", 0, REC_NONE},
	    {"M107 P1", REC_NONE, REC_NONE},
	    {"M220 S150", REC_NONE, 150},
	    {"N3 M220 S95*7", REC_NONE, 95},
	    {"M220", REC_NONE, REC_NONE},
	    {"M220 S0", REC_NONE, REC_NONE},
	    {"M220 Snan", REC_NONE, REC_NONE},
	    {"M1060 S9", REC_NONE, REC_NONE},
	    {"", REC_NONE, REC_NONE},
	};

	TAP_EACH(cases, c)
	{
		struct octo_state o;

		octo_state_init(&o);
		octo_told(&o, c->line);
		is_int(o.fan_pct, c->fan, c->line);
		is_int(o.speed_pct, c->speed, c->line);
	}
}

static void
test_messages(void)
{
	static const struct {
		const char *text;
		enum octo_push want;
	} cases[] = {
	    {STATE("OFFLINE"), OCTO_ASK},
	    {STATE("CONNECTING"), OCTO_ASK},
	    {"{\"event\":{\"type\":\"Error\",\"payload\":{\"error\":\"x\"}}}", OCTO_ASK},
	    {"{\"event\":{\"type\":\"FileAdded\",\"payload\":{}}}", OCTO_CHATTER},
	    {"{\"event\":7}", OCTO_IGNORED},
	    {"{\"connected\":{\"version\":\"1.11.8\"}}", OCTO_CHATTER},
	    {"{\"reauthRequired\":{\"reason\":\"stale\"}}", OCTO_REAUTH},
	    {"{}", OCTO_IGNORED},
	    {"[]", OCTO_IGNORED},
	    {"{\"current\":{}}", OCTO_IGNORED},
	    {"{\"current\":{\"state\":{\"flags\":{}},\"job\":{}}}", OCTO_IGNORED},
	    {"{\"current\":{\"state\":{\"flags\":{\"operational\":\"maybe\"}},\"job\":{}}}",
		OCTO_IGNORED},
	};
	struct printer p;

	begin_print(&p);
	TAP_EACH(cases, c)
	{
		is_int(push(&p, c->text), c->want, c->text);
		state_is(&p, PRINTER_PRINTING, "unmoved");
	}
	record_fini(&p.r);
}

static void
login_is(const char *text, const char *want)
{
	struct json_object *v = reading_object(tokener, str_from(text));
	char who[64] = "";

	is_int(octo_login(v, who, sizeof(who)), want != NULL, text);
	if (want)
		is_z(who, want, "as it is sent");
	json_object_put(v);
}

static void
test_login(void)
{
	login_is("{\"name\":\"_api\",\"session\":\"abc\"}", "_api:abc");
	login_is("{\"name\":\"a:b\",\"session\":\"abc\"}", NULL);
	login_is("{\"name\":\"_api\"}", NULL);
	login_is("{}", NULL);
}

/* --- commands --------------------------------------------------------------------------------- */

static void
steps_are(const char *command, const char *want)
{
	struct json_object *v = reading_object(tokener, str_from(command));
	struct octo_steps s;
	struct command c;
	const char *why;
	struct buf b;

	ok(command_parse(v, &c), "parsed: %s", command);
	buf_init(&b, 4096);
	if (octo_steps(&c, &s, &why))
		for (int32_t i = 0; i < s.n; i++)
			buf_fmt(&b, "%s%s %.*s", i ? "; " : "", s.step[i].path,
			    STR_ARG(buf_view(&s.step[i].body)));
	else
		buf_fmt(&b, "no: %s", why);
	is_str(buf_view(&b), str_from(want), command);
	octo_steps_fini(&s);
	command_fini(&c);
	buf_fini(&b);
	json_object_put(v);
}

static void
test_commands(void)
{
	static const struct {
		const char *command, *want;
	} cases[] = {
	    {"{\"command\":\"pause\"}", "/api/job {\"command\":\"pause\",\"action\":\"pause\"}"},
	    {"{\"command\":\"resume\"}", "/api/job {\"command\":\"pause\",\"action\":\"resume\"}"},
	    {"{\"command\":\"stop\"}", "/api/job {\"command\":\"cancel\"}"},
	    {"{\"command\":\"emergency_stop\"}", "/api/printer/command {\"commands\":[\"M112\"]}"},
	    {"{\"command\":\"gcode\",\"lines\":[\"M117 \\\"a\\\"\",\"G28\"]}",
		"/api/printer/command {\"commands\":[\"M117 \\\"a\\\"\",\"G28\"]}"},
	    {"{\"command\":\"set_temperatures\",\"nozzle\":1,\"nozzle_c\":205.5,\"bed_c\":60}",
		"/api/printer/tool {\"command\":\"target\",\"targets\":{\"tool1\":205.5}}; "
		"/api/printer/bed {\"command\":\"target\",\"target\":60.0}"},
	    {"{\"command\":\"set_temperatures\",\"chamber_c\":0}",
		"/api/printer/chamber {\"command\":\"target\",\"target\":0.0}"},
	    {"{\"command\":\"home\"}",
		"/api/printer/printhead {\"command\":\"home\",\"axes\":[\"x\",\"y\",\"z\"]}"},
	    {"{\"command\":\"home\",\"axes\":[\"z\"]}",
		"/api/printer/printhead {\"command\":\"home\",\"axes\":[\"z\"]}"},
	    {"{\"command\":\"jog\",\"x_mm\":-0.05,\"z_mm\":10,\"feed_mm_min\":600}",
		"/api/printer/printhead {\"command\":\"jog\",\"x\":-0.050,\"z\":10.000,\"speed\":600}"},
	    {"{\"command\":\"jog\",\"e_mm\":1.5}",
		"/api/printer/tool {\"command\":\"extrude\",\"amount\":1.500}"},
	    {"{\"command\":\"fans\",\"part_cooling_pct\":30}",
		"/api/printer/command {\"commands\":[\"M106 S77\"]}"},
	    {"{\"command\":\"fans\",\"part_cooling_pct\":0}",
		"/api/printer/command {\"commands\":[\"M107\"]}"},
	    {"{\"command\":\"fans\",\"auxiliary_pct\":30}",
		"no: OctoPrint knows of the part cooling fan only"},
	    {"{\"command\":\"speed\",\"percent\":120}",
		"/api/printer/printhead {\"command\":\"feedrate\",\"factor\":120}"},
	    {"{\"command\":\"speed\",\"level\":\"sport\"}",
		"no: OctoPrint takes a speed in percent only"},
	    {"{\"command\":\"clear_error\"}", "/api/connection {\"command\":\"connect\"}"},
	    {"{\"command\":\"firmware_restart\"}",
		"/api/connection {\"command\":\"disconnect\"}; /api/connection {\"command\":\"connect\"}"},
	    {"{\"command\":\"light\",\"on\":true}", "no: OctoPrint has nothing of that kind"},
	    {"{\"command\":\"load_filament\"}", "no: OctoPrint has nothing of that kind"},
	};

	TAP_EACH(cases, c) steps_are(c->command, c->want);
}

/* --- cameras ---------------------------------------------------------------------------------- */

static void
camera_is(const char *webcam, int port, int kind, const char *url)
{
	struct camera_source c;
	char text[600];
	struct json_object *v;

	snprintf(text, sizeof(text), "{\"webcam\":%s}", webcam);
	v = reading_object(tokener, str_from(text));
	octo_take_camera(v, "octopi.local", "192.0.2.7", port, &c);
	is_int((int)c.kind, kind, webcam);
	is_z(c.url, url, "its address");
	json_object_put(v);
}

static void
test_cameras(void)
{
	static const struct {
		const char *webcam;
		int port, kind;
		const char *url;
	} cases[] = {
	    {"{\"streamUrl\":\"/webcam/?action=stream\",\"snapshotUrl\":\"http://127.0.0.1:8080/?action=snapshot\"}",
		5000, CAMERA_HTTP, "http://192.0.2.7:8080/?action=snapshot"},
	    {"{\"streamUrl\":\"/webcam/?action=stream\"}", 5000, CAMERA_MJPEG,
		"http://192.0.2.7:80/webcam/?action=stream"},
	    {"{\"streamUrl\":\"/webcam/?action=stream\"}", 8081, CAMERA_MJPEG,
		"http://192.0.2.7:8081/webcam/?action=stream"},
	    {"{\"webcams\":[{\"compat\":null},{\"compat\":{\"stream\":\"/s\",\"snapshot\":\"http://localhost/p\"}}]}",
		80, CAMERA_HTTP, "http://192.0.2.7/p"},
	    {"{\"snapshotUrl\":\"http://OctoPi.local:8080/p\"}", 80, CAMERA_HTTP,
		"http://192.0.2.7:8080/p"},
	    {"{\"streamUrl\":\"/x\",\"webcamEnabled\":false}", 80, CAMERA_NONE, ""},
	    {"{\"streamUrl\":\"http://evil.example/x\"}", 80, CAMERA_NONE, ""},
	    {"{\"streamUrl\":\"//169.254.169.254/latest\"}", 80, CAMERA_NONE, ""},
	    {"{\"streamUrl\":\"http://me:secret@192.0.2.7/x\"}", 80, CAMERA_NONE, ""},
	    {"{\"streamUrl\":\"file:///etc/passwd\"}", 80, CAMERA_NONE, ""},
	    {"{\"streamUrl\":\"webrtc://192.0.2.7/x\"}", 80, CAMERA_NONE, ""},
	    {"{\"streamUrl\":\"/hls/stream.m3u8\"}", 80, CAMERA_NONE, ""},
	    {"{\"streamUrl\":7}", 80, CAMERA_NONE, ""},
	    {"[]", 80, CAMERA_NONE, ""},
	};

	TAP_EACH(cases, c) camera_is(c->webcam, c->port, c->kind, c->url);
}

int
main(void)
{
	tokener = reading_tokener(OCTO_DEPTH);
	test_states();
	test_ends_by_event();
	test_ends_by_guess();
	test_after_the_end();
	test_reports_behind_events();
	test_recalled();
	test_values();
	test_terminal();
	test_messages();
	test_login();
	test_commands();
	test_cameras();
	json_tokener_free(tokener);
	return tap_done();
}
