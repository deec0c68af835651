/* Moonraker's messages → the common record: recorded sessions, deltas, states, outcomes. */
#include <json-c/json.h>
#include <stdlib.h>

#include "gateway/moonraker_state.h"
#include "gateway/reading.h"

#include "tap.h"

#define RECORDINGS "tests/printers/recordings/moonraker/"

static struct moonraker_state st;
static struct record rec;
static int64_t now_ms = 1000000;
static char path[512];

static void
begin(void)
{
	moonraker_state_init(&st);
	record_init(&rec);
	path[0] = '\0';
}

static void
end(void)
{
	record_fini(&rec);
}

static uint32_t
map(uint32_t parts)
{
	struct moonraker_when now = {now_ms, 1700000000000 + now_ms};
	uint32_t changed = moonraker_map(&st, parts, &now, &rec);
	size_t n = strlen(path);

	if (changed & REC_STATE)
		snprintf(path + n, sizeof(path) - n, "%s%s", n ? " " : "",
		    printer_state_name(rec.state));
	return changed;
}

static struct json_object *
json(const char *text)
{
	struct json_object *v = json_tokener_parse(text);

	if (!v)
		printf("# no JSON: %s\n", text);
	return v;
}

static uint32_t
status(const char *text)
{
	struct json_object *v = json(text);
	uint32_t parts = moonraker_take_status(&st, v);

	json_object_put(v);
	return map(parts);
}

static void
objects(const char *list)
{
	struct json_object *v = json(list);

	ok(moonraker_take_objects(&st, v), "the list of objects is taken");
	json_object_put(v);
}

static void
whole(const char *text)
{
	struct json_object *v = json(text);

	moonraker_take_status(&st, v);
	st.full = true;
	map(MOONRAKER_ALL);
	json_object_put(v);
}

#define OBJECTS                                                                                     \
	"{\"objects\":[\"webhooks\",\"print_stats\",\"virtual_sdcard\",\"extruder\",\"extruder1\"," \
	"\"heater_bed\",\"fan\",\"temperature_sensor Chamber_Air\",\"output_pin caselight\","       \
	"\"neopixel status\",\"fan_generic aux\",\"gcode_macro load_filament\"]}"
#define IDLE                                                                                       \
	"{\"webhooks\":{\"state\":\"ready\"},\"print_stats\":{\"state\":\"standby\",\"filename\":" \
	"\"\",\"print_duration\":0.0,\"total_duration\":0.0,\"info\":{\"total_layer\":null,"       \
	"\"current_layer\":null}},\"virtual_sdcard\":{\"progress\":0.0},\"extruder\":{"            \
	"\"temperature\":24.96,\"target\":0.0},\"heater_bed\":{\"temperature\":23,\"target\":0},"  \
	"\"fan\":{\"speed\":0.0},\"gcode_move\":{\"speed_factor\":1.0},"                           \
	"\"temperature_sensor Chamber_Air\":{\"temperature\":31.2},\"output_pin caselight\":{"     \
	"\"value\":0.0}}"
#define PRINTING                                                                                   \
	"{\"print_stats\":{\"state\":\"printing\",\"filename\":\"sub/a b.gcode\","                 \
	"\"total_duration\":0.2}}"

static void
test_values(void)
{
	begin();
	objects(OBJECTS);
	whole(IDLE);
	is_z(path, "idle", "idle");
	ok(!rec.job.present, "no job");
	is_int(rec.temperatures.n_nozzles, 2, "two nozzles");
	is_int(rec.temperatures.nozzles[0].t.actual_dc, 250, "rounded to tenths");
	is_int(
	    rec.temperatures.nozzles[1].t.actual_dc, REC_NONE, "the second has not said anything");
	is_int(rec.temperatures.chamber.actual_dc, 312, "a chamber by its name");
	is_int(rec.speed.percent, 100, "speed");
	ok(rec.lights.n == 1 && strcmp(rec.lights.light[0].node, "caselight") == 0 &&
		rec.lights.light[0].mode == LIGHT_OFF,
	    "a pin that is called a light; no other LEDs");
	is_int(status("{\"output_pin caselight\":{\"value\":1.0}}"), REC_LIGHTS, "lit");
	is_int(status("{\"fan\":{\"speed\":0.501,\"rpm\":null}}"), REC_FANS, "fan");
	is_int(rec.fans.part_cooling_pct, 50, "in percent");
	is_int(status("{\"extruder\":{\"target\":200.0}}"), REC_TEMPERATURES, "a target alone");
	ok(rec.temperatures.nozzles[0].t.target_dc == 2000 &&
		rec.temperatures.nozzles[0].t.actual_dc == 250,
	    "leaves what was not mentioned");
	is_int(
	    status("{\"extruder\":{\"temperature\":25.01}}"), 0, "less than a tenth is no change");
	is_int(status("{\"print_stats\":{\"total_duration\":7.5},\"toolhead\":{\"position\":[1]}}"),
	    0, "what is not shown is no change");
	ok(st.objects.load && !st.objects.unload, "macros, in any case of letters");
	end();
}

static void
test_a_print(void)
{
	struct json_object *meta = json(
	    "{\"filename\":\"sub/a b.gcode\",\"estimated_time\":1300,\"layer_count\":9}");

	begin();
	objects(OBJECTS);
	whole(IDLE);
	status(PRINTING);
	ok(rec.state == PRINTER_PREPARING && rec.job.started_ms == 1700000000000 + now_ms - 200,
	    "preparing until something is extruded; its begin");
	is_z(rec.job.file, "sub/a b.gcode", "file");
	is_z(rec.job.name, "a b", "name");
	map(moonraker_take_metadata(&st, meta));
	is_int(rec.job.total_layers, 9, "layers by the slicer");
	status(
	    "{\"print_stats\":{\"print_duration\":100.2},\"virtual_sdcard\":{\"progress\":0.4699}}");
	ok(rec.state == PRINTER_PRINTING && rec.job.progress == 46, "printing, progress");
	is_int(rec.job.remaining_s, 1140, "remaining by the slicer's estimate, in whole minutes");
	status("{\"print_stats\":{\"info\":{\"total_layer\":10,\"current_layer\":3}}}");
	ok(rec.job.layer == 3 && rec.job.total_layers == 10, "layers by the file itself");
	status("{\"print_stats\":{\"state\":\"paused\"}}");
	status("{\"print_stats\":{\"state\":\"printing\"}}");
	status("{\"print_stats\":{\"state\":\"complete\"}}");
	ok(rec.job.outcome == OUTCOME_COMPLETED && rec.job.progress == 100 &&
		rec.job.remaining_s == 0,
	    "completed");
	is_z(path, "idle preparing printing paused printing finished", "its path");
	status(PRINTING);
	ok(rec.job.outcome == OUTCOME_NONE && rec.job.present,
	    "the same file again is another job");
	json_object_put(meta);
	end();
}

static void
test_ends(void)
{
	static const struct {
		const char *text;
		enum printer_state state;
		enum job_outcome outcome;
	} cases[] = {
	    {"{\"print_stats\":{\"state\":\"complete\"}}", PRINTER_FINISHED, OUTCOME_COMPLETED},
	    {"{\"print_stats\":{\"state\":\"cancelled\"}}", PRINTER_IDLE, OUTCOME_CANCELLED},
	    {"{\"print_stats\":{\"state\":\"error\",\"message\":\"x\"}}", PRINTER_FAILED,
		OUTCOME_FAILED},
	    {"{\"webhooks\":{\"state\":\"shutdown\"},\"print_stats\":{\"state\":\"standby\","
	     "\"filename\":\"\"}}",
		PRINTER_ERROR, OUTCOME_FAILED},
	    {"{\"webhooks\":{\"state\":\"error\"}}", PRINTER_ERROR, OUTCOME_FAILED},
	    {"{\"print_stats\":{\"state\":\"standby\",\"filename\":\"\"}}", PRINTER_IDLE,
		OUTCOME_NONE},
	};

	TAP_EACH(cases, c)
	{
		begin();
		objects(OBJECTS);
		whole(IDLE);
		status(PRINTING);
		status(c->text);
		ok(rec.state == c->state && rec.job.outcome == c->outcome, "%s: %s", c->text,
		    printer_state_name(rec.state));
		is_z(rec.job.file, "sub/a b.gcode", "the job is still named");
		end();
	}
}

static void
test_unexplained_ends(void)
{
	struct json_object *other = json("{\"filename\":\"b.gcode\",\"status\":\"completed\"}");
	struct json_object *ours = json(
	    "{\"filename\":\"sub/a b.gcode\",\"status\":\"cancelled\"}");

	begin();
	objects(OBJECTS);
	whole(IDLE);
	status(PRINTING);
	status("{\"print_stats\":{\"state\":\"standby\",\"filename\":\"\"}}");
	ok(st.undecided, "at rest, and nobody said why");
	is_int(moonraker_take_history(&st, other), 0, "another job's history");
	map(moonraker_take_history(&st, ours));
	ok(rec.job.outcome == OUTCOME_CANCELLED && !st.undecided, "its own");
	status(PRINTING);
	status("{\"print_stats\":{\"state\":\"standby\",\"filename\":\"\"}}");
	status("{\"webhooks\":{\"state\":\"shutdown\"}}");
	ok(rec.job.outcome == OUTCOME_FAILED, "a shutdown that is told after the fall to standby");
	is_z(rec.errors.e[0].code, "klippy_shutdown", "an error");
	status("{\"webhooks\":{\"state\":\"ready\"}}");
	ok(rec.state == PRINTER_IDLE && rec.errors.n == 0 && rec.job.outcome == OUTCOME_FAILED,
	    "after the restart");
	json_object_put(other);
	json_object_put(ours);
	end();
}

static void
test_klipper_away(void)
{
	begin();
	objects(OBJECTS);
	whole(IDLE);
	st.klippy = KLIPPY_DISCONNECTED;
	map(MOONRAKER_STATE);
	ok(rec.state == PRINTER_IDLE && moonraker_decide_at(&st) == now_ms + 10000,
	    "away for a moment: the last state stays");
	is_int(moonraker_limits(&st), REASON_PRINTER_NOT_CONNECTED, "the reason says it at once");
	now_ms += 10000;
	map(MOONRAKER_STATE);
	ok(rec.state == PRINTER_OFFLINE && moonraker_decide_at(&st) == 0, "for good: offline");
	st.klippy = KLIPPY_STARTUP;
	map(MOONRAKER_STATE);
	is_int(rec.state, PRINTER_OFFLINE, "starting");
	st.klippy = KLIPPY_READY;
	map(MOONRAKER_STATE);
	is_int(rec.state, PRINTER_IDLE, "back");
	status(PRINTING);
	st.klippy = KLIPPY_DISCONNECTED;
	map(MOONRAKER_STATE);
	ok(rec.state == PRINTER_ERROR && rec.job.outcome == OUTCOME_FAILED,
	    "a job does not outlive it");
	end();
}

/* What this process knew before the connection, or the process before it. */
static void
test_recalled(void)
{
	begin();
	st.last = PRINTER_PRINTING;
	st.seen_state = true;
	st.started_ms = 1234;
	objects(OBJECTS);
	whole(
	    "{\"webhooks\":{\"state\":\"ready\"},\"print_stats\":{\"state\":\"printing\",\"filename\":"
	    "\"a.gcode\",\"print_duration\":5.0,\"total_duration\":90.0}}");
	ok(rec.state == PRINTER_PRINTING && rec.job.started_ms == 1234, "the same job goes on");
	moonraker_state_forget(&st);
	objects(OBJECTS);
	whole(
	    "{\"webhooks\":{\"state\":\"ready\"},\"print_stats\":{\"state\":\"complete\",\"filename\":"
	    "\"a.gcode\"}}");
	ok(rec.job.outcome == OUTCOME_COMPLETED, "it ended while nobody looked");
	end();
	begin();
	objects(OBJECTS);
	whole(
	    "{\"webhooks\":{\"state\":\"ready\"},\"print_stats\":{\"state\":\"printing\",\"filename\":"
	    "\"a.gcode\",\"print_duration\":5.0,\"total_duration\":90.0}}");
	is_int(rec.job.started_ms, 1700000000000 + now_ms - 90000, "one that ran before we came");
	end();
}

static void
test_hostile(void)
{
	static const char *const texts[] = {
	    "{\"print_stats\":7,\"webhooks\":[],\"extruder\":null,\"virtual_sdcard\":\"x\"}",
	    "{\"print_stats\":{\"state\":[],\"filename\":{},\"info\":3,\"print_duration\":-1e300}}",
	    "{\"print_stats\":{\"info\":{\"total_layer\":1e18,\"current_layer\":-3}}}",
	    "{\"virtual_sdcard\":{\"progress\":1e300},\"fan\":{\"speed\":-4}}",
	    "{\"extruder\":{\"temperature\":\"nan\",\"target\":1e12}}",
	    "{\"gcode_move\":{\"speed_factor\":1e9},\"output_pin caselight\":{\"color_data\":[1]}}",
	    "[]",
	    "7",
	    "\"x\"",
	};

	begin();
	objects(OBJECTS);
	whole(IDLE);
	TAP_EACH(texts, t)
	is_int(status(*t), 0, *t);
	end();
}

/* --- recorded sessions ------------------------------------------------------------------------ */

static void
take(struct json_object *msg)
{
	struct json_object *whole_status = reading_member(reading_member(msg, "result"), "status");
	struct json_object *params = reading_member(msg, "params");
	const char *method = json_object_get_string(reading_member(msg, "method"));

	if (whole_status) {
		moonraker_take_status(&st, whole_status);
		st.full = true;
		map(MOONRAKER_ALL);
	} else if (method && strcmp(method, "notify_status_update") == 0) {
		map(moonraker_take_status(&st, json_object_array_get_idx(params, 0)));
	} else if (method && strcmp(method, "notify_klippy_shutdown") == 0) {
		st.klippy = KLIPPY_SHUTDOWN;
		map(MOONRAKER_STATE);
	}
}

static void
replay(const char *folder)
{
	char name[256], *line = NULL;
	size_t size = 0;
	struct json_object *list;
	FILE *f;

	begin();
	snprintf(name, sizeof(name), RECORDINGS "%s/objects_list.json", folder);
	list = json_object_from_file(name);
	ok(moonraker_take_objects(&st, reading_member(reading_member(list, "body"), "result")),
	    "%s", name);
	json_object_put(list);
	snprintf(name, sizeof(name), RECORDINGS "%s/websocket_session.jsonl", folder);
	f = fopen(name, "r");
	while (f && getline(&line, &size, f) > 0) {
		struct json_object *v = json(line);

		now_ms += 250;
		if (strcmp(json_object_get_string(reading_member(v, "dir")), "recv") == 0)
			take(reading_member(v, "msg"));
		json_object_put(v);
	}
	free(line);
	if (f)
		fclose(f);
}

static void
test_recordings(void)
{
	replay("linux-mcu");
	is_z(path, "idle printing paused printing finished printing idle error",
	    "without an extruder there is nothing to wait for");
	is_int(
	    rec.job.outcome, OUTCOME_CANCELLED, "the last job was cancelled, before the shutdown");
	is_z(rec.job.file, "cube2.gcode", "and is still known");
	is_int(rec.job.total_layers, REC_NONE, "its layers went with print_stats");
	end();
	replay("batch-mcu");
	is_z(path, "idle preparing finished preparing finished idle", "prints of an instant");
	ok(rec.temperatures.n_nozzles == 1 && rec.temperatures.has_chamber,
	    "with heaters and a sensor");
	end();
}

int
main(void)
{
	test_values();
	test_a_print();
	test_ends();
	test_unexplained_ends();
	test_klipper_away();
	test_recalled();
	test_hostile();
	test_recordings();
	return tap_done();
}
