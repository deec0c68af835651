/* PrusaLink: a real printer's answers; states, outcomes of jobs seen and unseen, names, hostile
 * answers. */
#include "base/arena.h"
#include "base/config.h"
#include "gateway/prusalink_state.h"

#include "tap.h"

struct printer {
	struct prusalink_state p;
	struct record r;
	struct prusalink_when now;
};

static void
setup(struct printer *x)
{
	prusalink_state_init(&x->p);
	record_init(&x->r);
	x->now = (struct prusalink_when){1000000, 1700000000000};
}

/* After `after_ms`, one status. */
static uint32_t
status(struct printer *x, int64_t after_ms, const char *text)
{
	struct json_object *v = prusalink_parse(str_from(text));

	x->now.mono_ms += after_ms;
	x->now.unix_ms += after_ms;
	ok(v && prusalink_read_status(&x->p, v), "taken: %.70s", text);
	json_object_put(v);
	return prusalink_map(&x->p, &x->now, &x->r);
}

static bool
names(struct printer *x, const char *text)
{
	struct json_object *v = prusalink_parse(str_from(text));
	bool good = v && prusalink_read_job(&x->p, v);

	json_object_put(v);
	return good;
}

static void
json_is(struct printer *x, uint32_t section, const char *want, const char *name)
{
	struct buf b;

	buf_init(&b, 65536);
	record_json(&b, &x->r, section);
	is_str(buf_view(&b), str_from(want), name);
	buf_fini(&b);
}

#define STATUS(state, more) "{\"printer\":{\"state\":\"" state "\"}" more "}"
#define JOB(id, progress, left)                                                                    \
	",\"job\":{\"id\":" id ",\"progress\":" progress ",\"time_remaining\":" left               \
	",\"time_printing\":60}"

static void
test_states(void)
{
	static const struct {
		const char *text;
		enum printer_state want;
		enum job_outcome outcome;
	} cases[] = {
	    {STATUS("IDLE", ""), PRINTER_IDLE, OUTCOME_NONE},
	    {STATUS("READY", ""), PRINTER_IDLE, OUTCOME_NONE},
	    {STATUS("BUSY", ""), PRINTER_IDLE, OUTCOME_NONE},
	    {STATUS("BUSY", JOB("1", "0", "900")), PRINTER_PREPARING, OUTCOME_NONE},
	    {STATUS("PRINTING", JOB("1", "1", "890")), PRINTER_PRINTING, OUTCOME_NONE},
	    {STATUS("BUSY", JOB("1", "2", "880")), PRINTER_PRINTING, OUTCOME_NONE},
	    {STATUS("PAUSED", JOB("1", "2", "880")), PRINTER_PAUSED, OUTCOME_NONE},
	    {STATUS("BUSY", JOB("1", "2", "880")), PRINTER_PAUSED, OUTCOME_NONE},
	    {STATUS("ATTENTION", JOB("1", "2", "880")), PRINTER_PAUSED, OUTCOME_NONE},
	    {STATUS("SOMETHING_NEW", JOB("1", "2", "880")), PRINTER_PAUSED, OUTCOME_NONE},
	    {STATUS("PRINTING", JOB("1", "3", "870")), PRINTER_PRINTING, OUTCOME_NONE},
	    {STATUS("FINISHED", JOB("1", "100", "0")), PRINTER_FINISHED, OUTCOME_COMPLETED},
	    {STATUS("FINISHED", ""), PRINTER_FINISHED, OUTCOME_COMPLETED},
	    {STATUS("IDLE", ""), PRINTER_IDLE, OUTCOME_NONE},
	    {STATUS("PRINTING", JOB("2", "1", "890")), PRINTER_PRINTING, OUTCOME_NONE},
	    {STATUS("STOPPED", JOB("2", "1", "0")), PRINTER_FAILED, OUTCOME_CANCELLED},
	    {STATUS("IDLE", ""), PRINTER_IDLE, OUTCOME_NONE},
	    {STATUS("ATTENTION", ""), PRINTER_ERROR, OUTCOME_NONE},
	    {STATUS("ERROR", ""), PRINTER_ERROR, OUTCOME_NONE},
	    {STATUS("IDLE", ""), PRINTER_IDLE, OUTCOME_NONE},
	};
	struct printer x;

	setup(&x);
	TAP_EACH(cases, c)
	{
		status(&x, 3000, c->text);
		is_z(printer_state_name(x.r.state), printer_state_name(c->want), "state");
		is_int(x.r.job.outcome, c->outcome, "outcome");
	}
	record_fini(&x.r);
}

/* A job whose end no status has told ends once nevertheless. */
static void
test_unseen_ends(void)
{
	static const struct {
		const char *before, *after;
		int64_t gap_ms;
		enum printer_state end, then;
		enum job_outcome outcome;
	} cases[] = {
	    {STATUS("PRINTING", JOB("1", "40", "900")), STATUS("IDLE", ""), 3000, PRINTER_FAILED,
		PRINTER_IDLE, OUTCOME_CANCELLED},
	    {STATUS("PRINTING", JOB("1", "99", "70")), STATUS("IDLE", ""), 3000, PRINTER_FINISHED,
		PRINTER_IDLE, OUTCOME_COMPLETED},
	    {STATUS("PRINTING", JOB("1", "90", "20")), STATUS("IDLE", ""), 3000, PRINTER_FINISHED,
		PRINTER_IDLE, OUTCOME_COMPLETED},
	    {STATUS("PRINTING", JOB("1", "40", "900")), STATUS("IDLE", ""), 950000,
		PRINTER_FINISHED, PRINTER_IDLE, OUTCOME_COMPLETED},
	    {STATUS("PRINTING", JOB("1", "40", "9000")), STATUS("IDLE", ""), 950000, PRINTER_FAILED,
		PRINTER_IDLE, OUTCOME_FAILED},
	    {STATUS("PAUSED", JOB("1", "40", "900")), STATUS("READY", ""), 3000, PRINTER_FAILED,
		PRINTER_IDLE, OUTCOME_CANCELLED},
	    {STATUS("PRINTING", JOB("1", "99", "0")), STATUS("ERROR", ""), 3000, PRINTER_FAILED,
		PRINTER_ERROR, OUTCOME_FAILED},
	    {STATUS("PRINTING", JOB("1", "99", "0")), STATUS("ATTENTION", ""), 3000, PRINTER_FAILED,
		PRINTER_ERROR, OUTCOME_FAILED},
	    {STATUS("PRINTING", JOB("1", "99", "0")), STATUS("PRINTING", JOB("2", "0", "900")),
		3000, PRINTER_FINISHED, PRINTER_PRINTING, OUTCOME_COMPLETED},
	};
	struct printer x;

	TAP_EACH(cases, c)
	{
		setup(&x);
		status(&x, 0, c->before);
		status(&x, c->gap_ms, c->after);
		is_z(printer_state_name(x.r.state), printer_state_name(c->end), "the job's end");
		is_z(job_outcome_name(x.r.job.outcome), job_outcome_name(c->outcome), "outcome");
		is_z(x.r.job.task_id, "1", "of that job");
		ok(x.p.passing, "more is to come");
		status(&x, 250, c->after);
		is_z(printer_state_name(x.r.state), printer_state_name(c->then), "then");
		ok(!x.p.passing, "that was all");
		record_fini(&x.r);
	}
}

/* Taken over in the midst of a job: what is known of it goes on. */
static void
test_recalled(void)
{
	struct printer x;

	setup(&x);
	x.p.last = PRINTER_PRINTING;
	x.p.seen_state = true;
	x.p.started_ms = 1600000000000;
	x.p.last_percent = 55;
	status(&x, 0, STATUS("PRINTING", JOB("7", "56", "900")));
	is_int(x.r.job.started_ms, 1600000000000, "start is kept");
	is_int(x.r.job.progress, 56, "progress goes on");
	record_fini(&x.r);

	setup(&x);
	x.p.last = PRINTER_PRINTING;
	x.p.seen_state = true;
	x.p.last_percent = 55;
	status(&x, 0, STATUS("IDLE", ""));
	is_int(x.r.job.outcome, OUTCOME_FAILED, "gone meanwhile: nobody knows, so it failed");
	is_int(x.r.job.progress, 55, "as far as it was known to be");
	record_fini(&x.r);

	setup(&x);
	status(&x, 0, STATUS("PRINTING", JOB("7", "56", "900")));
	is_int(
	    x.r.job.started_ms, 1700000000000 - 60000, "found printing: the printer's own clock");
	record_fini(&x.r);
}

static void
test_names(void)
{
	static const char job[] =
	    "{\"id\":7,\"file\":{\"name\":\"A~1.GCO\",\"display_name\":\"A b.gcode\",\"path\":\"/usb/\"}}";
	struct printer x;

	setup(&x);
	status(&x, 0, STATUS("IDLE", ""));
	ok(!prusalink_wants_names(&x.p), "no job, no names");
	status(&x, 0, STATUS("PRINTING", JOB("7", "5", "900")));
	ok(prusalink_wants_names(&x.p), "a job's names are wanted");
	ok(names(&x, job), "taken");
	ok(!prusalink_wants_names(&x.p), "and are there");
	status(&x, 0, STATUS("PRINTING", JOB("7", "6", "900")));
	is_z(x.r.job.file, "usb/A~1.GCO", "file");
	is_z(x.r.job.name, "A b.gcode", "name");
	prusalink_state_forget(&x.p);
	status(&x, 0, STATUS("PRINTING", JOB("7", "6", "900")));
	is_z(x.r.job.name, "A b.gcode", "kept over a connection");
	ok(prusalink_wants_names(&x.p), "but asked for again");
	status(&x, 0, STATUS("PRINTING", JOB("8", "0", "900")));
	is_z(x.r.job.name, "A b.gcode", "of the job that ended");
	status(&x, 0, STATUS("PRINTING", JOB("8", "0", "900")));
	is_z(x.r.job.name, "", "never of another job");
	ok(!names(&x, "{\"id\":7}") && !names(&x, "{\"file\":{\"name\":\"x\"}}"), "no job at all");
	ok(names(&x, "{\"id\":8,\"file\":{\"name\":\"x.gcode\"}}"), "least");
	is_z(x.p.file.display, "x.gcode", "the name stands for the missing one");
	record_fini(&x.r);
}

static void
read_recorded(struct printer *x, const char *file)
{
	char path[256];
	struct arena *a = arena_new(1 << 20);
	struct str text;
	struct json_object *v;

	snprintf(path, sizeof(path), "tests/printers/recordings/prusalink/%s", file);
	text = config_file(a, path, 65536);
	v = prusalink_parse(text);
	ok(v != NULL, "%s is JSON", file);
	if (strstr(file, "status"))
		ok(prusalink_read_status(&x->p, v), "status");
	else if (strstr(file, "job"))
		ok(prusalink_read_job(&x->p, v), "job");
	else
		ok(prusalink_read_version(&x->p, v), "version");
	json_object_put(v);
	arena_free(a);
}

static void
test_recorded(void)
{
	struct printer x;

	setup(&x);
	read_recorded(&x, "version.json");
	read_recorded(&x, "v1_status_printing.json");
	read_recorded(&x, "v1_job_printing.json");
	prusalink_map(&x.p, &x.now, &x.r);
	is_z(printer_state_name(x.r.state), "printing", "state");
	is_z(x.r.job.file, "usb/TabletStand3~4.BGC", "file");
	is_z(x.r.job.name, "TabletStand3.bgcode", "name");
	is_z(x.r.job.task_id, "129", "the printer's number");
	is_int(x.r.job.progress, 37, "progress");
	is_int(x.r.job.remaining_s, 73020, "remaining");
	is_z(x.p.storage, "usb", "storage");
	json_is(&x, REC_TEMPERATURES,
	    "{\"nozzles\":[{\"id\":0,\"actual_c\":6,\"target_c\":0}],\"bed\":{\"actual_c\":53.9,\"target_c\":85},\"chamber\":null}",
	    "temperatures");
	is_int(x.r.speed.percent, 100, "speed");
	json_is(&x, REC_ERRORS, "[]", "no errors");
	read_recorded(&x, "v1_status_idle.json");
	is_int(x.p.nozzle_target_dc, 2101, "tenths");
	record_fini(&x.r);
}

static void
test_storages(void)
{
	static const struct {
		const char *text, *want;
		bool has;
	} cases[] = {
	    {",\"storage\":{\"path\":\"/usb/\",\"read_only\":false}", "usb", true},
	    {",\"storage\":[{\"path\":\"/local\"},{\"path\":\"/usb\"}]", "local", true},
	    {",\"storage\":[{\"path\":\"/sdcard\",\"read_only\":true},{\"path\":\"/local\"}]",
		"local", true},
	    {",\"storage\":{\"path\":\"/sdcard\",\"read_only\":true}", "", true},
	    {",\"storage\":[{\"path\":\"/usb\",\"available\":false}]", "", false},
	    {",\"storage\":{\"path\":\"/../api\"}", "", true},
	    {",\"storage\":{\"path\":\"/a?b\"}", "", true},
	    {",\"storage\":{\"path\":\"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", "", true},
	    {",\"storage\":{}", "", true},
	    {",\"storage\":[[],1,null]", "", false},
	    {"", "", false},
	};
	struct printer x;
	char text[256];

	TAP_EACH(cases, c)
	{
		setup(&x);
		snprintf(text, sizeof(text), "{\"printer\":{\"state\":\"IDLE\"}%s}", c->text);
		status(&x, 0, text);
		is_z(x.p.storage, c->want, "storage");
		is_int(x.r.extra.storage, c->has, "there is one");
		record_fini(&x.r);
	}
}

static void
test_errors(void)
{
	static const struct {
		const char *text, *code;
	} cases[] = {
	    {"{\"printer\":{\"state\":\"ATTENTION\"},\"job\":{\"id\":1}}", "ATTENTION"},
	    {"{\"printer\":{\"state\":\"ERROR\"}}", "ERROR"},
	    {"{\"printer\":{\"state\":\"IDLE\",\"status_printer\":{\"ok\":false,\"message\":\"x\"}}}",
		"STATUS_PRINTER"},
	    {"{\"printer\":{\"state\":\"IDLE\",\"status_printer\":{\"ok\":true,\"message\":\"OK\"}}}",
		NULL},
	    {"{\"printer\":{\"state\":\"IDLE\",\"status_connect\":{\"ok\":false}}}", NULL},
	};
	struct printer x;

	TAP_EACH(cases, c)
	{
		setup(&x);
		status(&x, 0, c->text);
		is_int(x.r.errors.n, c->code != NULL, "errors");
		if (c->code)
			is_z(x.r.errors.e[0].code, c->code, "code");
		record_fini(&x.r);
	}
}

static void
test_hostile(void)
{
	static const char *const no_status[] = {"{}", "{\"printer\":[]}", "{\"printer\":{}}",
	    "{\"printer\":{\"state\":null}}", "{\"printer\":{\"state\":[]}}"};
	static const char *const no_json[] = {"", "[]", "1", "{", "{}x", "nul",
	    "{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}", "{\"a\":\"\xff\"}"};
	struct printer x;

	setup(&x);
	status(&x, 0, STATUS("PRINTING", JOB("3", "12", "900")));
	TAP_EACH(no_status, text)
	{
		struct json_object *v = prusalink_parse(str_from(*text));

		ok(v && !prusalink_read_status(&x.p, v), "no status: %s", *text);
		json_object_put(v);
	}
	is_z(x.p.word, "PRINTING", "nothing has changed");
	TAP_EACH(no_json, text)
	ok(prusalink_parse(str_from(*text)) == NULL, "no object: %s", *text);
	status(&x, 0,
	    "{\"printer\":{\"state\":\"PRINTING\",\"temp_nozzle\":1e300,\"target_nozzle\":NaN,\"temp_bed\":-400,"
	    "\"target_bed\":{},\"speed\":99999},\"job\":{\"id\":3,\"progress\":-7,\"time_remaining\":1e18}}");
	is_int(x.r.temperatures.nozzles[0].t.actual_dc, REC_NONE, "huge");
	is_int(x.r.temperatures.nozzles[0].t.target_dc, REC_NONE, "not a number");
	is_int(x.r.temperatures.bed.actual_dc, REC_NONE, "below zero Kelvin");
	is_int(x.r.speed.percent, REC_NONE, "speed");
	is_int(x.r.job.progress, 12, "the last sane progress");
	is_int(x.r.job.remaining_s, REC_NONE, "remaining");
	status(&x, 0, "{\"printer\":{\"state\":\"PRINTING\"},\"job\":{\"id\":-3,\"progress\":50}}");
	is_z(x.r.job.task_id, "3", "no number, no job");
	record_fini(&x.r);
}

static void
test_others(void)
{
	struct printer x;
	struct json_object *v;
	char text[64];

	setup(&x);
	v = prusalink_parse(STR(
	    "{\"api\":\"2.0.0\",\"server\":\"0.8.1\",\"firmware\":\"3.14\",\"original\":\"PrusaLink I3MK3S\"}"));
	ok(prusalink_read_version(&x.p, v), "version of Prusa-Link");
	json_object_put(v);
	status(&x, 0, STATUS("IDLE", ""));
	json_is(&x, REC_FIRMWARE,
	    "{\"version\":\"3.14\",\"modules\":[{\"name\":\"prusalink\",\"version\":\"0.8.1\"},{\"name\":\"api\",\"version\":\"2.0.0\"}]}",
	    "firmware");
	is_z(x.r.extra.product, "I3MK3S", "product");
	v = prusalink_parse(STR("{\"hello\":1}"));
	ok(!prusalink_read_version(&x.p, v), "no PrusaLink");
	ok(!prusalink_read_serial(v, text, sizeof(text)), "no serial number");
	json_object_put(v);
	prusalink_read_problem(
	    STR("{\"title\":\"T\",\"message\":\"File is\\nbusy\"}"), text, sizeof(text));
	is_z(text, "File isbusy", "an error's words, cleaned");
	prusalink_read_problem(STR("{\"title\":\"T\"}"), text, sizeof(text));
	is_z(text, "T", "or its title");
	prusalink_read_problem(STR("<html>"), text, sizeof(text));
	is_z(text, "", "or nothing");
	record_fini(&x.r);
}

int
main(void)
{
	test_states();
	test_unseen_ends();
	test_recalled();
	test_names();
	test_recorded();
	test_storages();
	test_errors();
	test_hostile();
	test_others();
	return tap_done();
}
