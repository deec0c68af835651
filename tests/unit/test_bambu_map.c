/* Mapping: states, outcomes, packed temperatures, slots, errors; and a real printer's report. */
#include <stdlib.h>

#include "base/arena.h"
#include "base/config.h"
#include "gateway/bambu_report.h"
#include "gateway/reading.h"

#include "tap.h"

static struct json_tokener *tokener;
static struct bambu_when now;

struct printer {
	struct bambu_state b;
	struct record r;
};

static void
setup(struct printer *p)
{
	bambu_state_init(&p->b);
	record_init(&p->r);
	now = (struct bambu_when){.mono_ms = 1000, .unix_ms = 1700000000000, .no_chamber = false};
}

static void
done(struct printer *p)
{
	bambu_state_fini(&p->b);
	record_fini(&p->r);
}

static uint32_t
push(struct printer *p, const char *members)
{
	char text[8192];
	struct json_object *v;
	uint32_t parts = 0;

	snprintf(text, sizeof(text), "{\"print\":{\"command\":\"push_status\",%s}}", members);
	v = reading_object(tokener, str_from(text));
	ok(v && bambu_take(&p->b, v, &parts), "taken: %.60s", members);
	json_object_put(v);
	return bambu_map(&p->b, parts, &now, &p->r);
}

static bool
json_is(const struct printer *p, uint32_t section, const char *want)
{
	struct buf b;
	bool good;

	buf_init(&b, 65536);
	record_json(&b, &p->r, section);
	good = is_str(buf_view(&b), str_from(want), "as JSON");
	buf_fini(&b);
	return good;
}

static void
test_states(void)
{
	static const struct {
		const char *members;
		enum printer_state want;
	} cases[] = {
	    {"\"msg\":0,\"gcode_state\":\"IDLE\",\"stg_cur\":-1,\"layer_num\":0,\"print_error\":0,\"hms\":[]",
		PRINTER_IDLE},
	    {"\"gcode_state\":\"PREPARE\"", PRINTER_PREPARING},
	    {"\"gcode_state\":\"SLICING\"", PRINTER_PREPARING},
	    {"\"gcode_state\":\"RUNNING\",\"stg_cur\":2", PRINTER_PREPARING},
	    {"\"stg_cur\":0", PRINTER_PRINTING},
	    {"\"stg_cur\":255", PRINTER_PRINTING},
	    {"\"layer_num\":3,\"stg_cur\":4", PRINTER_PRINTING},
	    {"\"gcode_state\":\"PAUSE\",\"stg_cur\":6,\"print_error\":117473297", PRINTER_PAUSED},
	    {"\"gcode_state\":\"\"", PRINTER_PAUSED},
	    {"\"gcode_state\":\"UNKNOWN\"", PRINTER_PAUSED},
	    {"\"gcode_state\":\"RUNNING\",\"print_error\":0", PRINTER_PRINTING},
	    {"\"gcode_state\":\"FINISH\"", PRINTER_FINISHED},
	    {"\"hms\":[{\"attr\":50331904,\"code\":131073}]", PRINTER_FINISHED},
	    {"\"hms\":[{\"attr\":50331904,\"code\":65537}]", PRINTER_ERROR},
	    {"\"hms\":[{\"attr\":83887360,\"code\":65543}]", PRINTER_FINISHED},
	    {"\"gcode_state\":\"OFFLINE\"", PRINTER_OFFLINE},
	};
	struct printer p;

	setup(&p);
	TAP_EACH(cases, c)
	{
		push(&p, c->members);
		is_z(printer_state_name(p.r.state), printer_state_name(c->want), c->members);
	}
	done(&p);
}

static void
run_job(struct printer *p)
{
	push(p, "\"msg\":0,\"gcode_state\":\"IDLE\",\"print_error\":0,\"hms\":[],\"mc_percent\":0");
	push(p,
	    "\"gcode_state\":\"RUNNING\",\"stg_cur\":0,\"gcode_file\":\"a.3mf\",\"subtask_name\":\"a\","
	    "\"mc_percent\":42,\"mc_remaining_time\":3,\"layer_num\":5,\"total_layer_num\":9,\"task_id\":\"77\"");
}

static void
test_job(void)
{
	struct printer p;

	setup(&p);
	run_job(&p);
	json_is(&p, REC_JOB,
	    "{\"file\":\"a.3mf\",\"name\":\"a\",\"progress\":42,\"remaining_s\":180,\"layer\":5,\"total_layers\":9,"
	    "\"outcome\":null,\"stage\":null,\"started_at\":\"2023-11-14T22:13:20.000Z\",\"task_id\":\"77\"}");
	push(&p, "\"gcode_state\":\"FINISH\",\"mc_percent\":100,\"mc_remaining_time\":0");
	is_int(p.r.job.outcome, OUTCOME_COMPLETED, "completed");
	push(&p, "\"gcode_state\":\"IDLE\"");
	json_is(&p, REC_JOB, "null");
	done(&p);
}

static void
test_cancel(void)
{
	struct printer p;

	setup(&p);
	run_job(&p);
	push(&p, "\"gcode_state\":\"FAILED\",\"mc_percent\":0");
	is_int(p.r.state, PRINTER_FAILED, "failed at once");
	is_int(p.r.job.outcome, OUTCOME_NONE, "the outcome waits");
	is_int(p.r.job.progress, 42, "progress stays where it was");
	is_int(bambu_decide_at(&p.b), 11000, "for ten seconds");
	now.mono_ms += 4000;
	push(&p, "\"print_error\":50348044");
	is_int(p.r.job.outcome, OUTCOME_CANCELLED, "the code came: cancelled");
	is_int(bambu_decide_at(&p.b), 0, "decided");
	is_int(p.r.errors.n, 0, "a cancel is no error");
	done(&p);
}

static void
test_failure(void)
{
	struct printer p;

	setup(&p);
	run_job(&p);
	push(&p, "\"gcode_state\":\"FAILED\",\"print_error\":50364424");
	is_int(p.r.job.outcome, OUTCOME_NONE, "a cancel may still follow another error");
	now.mono_ms += 10000;
	ok(bambu_map(&p.b, BAMBU_STATE, &now, &p.r) & REC_JOB, "time is up");
	is_int(p.r.job.outcome, OUTCOME_FAILED, "failed");
	json_is(&p, REC_ERRORS,
	    "[{\"code\":\"0300_8008\",\"severity\":\"serious\",\"module\":\"motion_controller\","
	    "\"source\":\"print_error\",\"message\":\"paused: the nozzle's temperature is not as it should be\",\"url\":null}]");
	push(&p, "\"gcode_state\":\"PREPARE\",\"print_error\":0");
	is_int(p.r.job.outcome, OUTCOME_NONE, "a new job has none");
	done(&p);
}

/* What was FAILED when we came was not seen failing. */
static void
test_found_failed(void)
{
	struct printer p;

	setup(&p);
	push(&p, "\"msg\":0,\"gcode_state\":\"FAILED\",\"print_error\":83902478");
	is_int(p.r.job.outcome, OUTCOME_CANCELLED, "cancelled by its code");
	done(&p);
	setup(&p);
	push(&p, "\"msg\":0,\"gcode_state\":\"FAILED\",\"print_error\":0");
	is_int(p.r.job.outcome, OUTCOME_FAILED, "failed without one");
	done(&p);
}

static void
test_reconnect_during_failure(void)
{
	struct printer p;

	setup(&p);
	run_job(&p);
	bambu_state_forget(&p.b);
	push(&p, "\"msg\":0,\"gcode_state\":\"FAILED\",\"print_error\":0");
	is_int(p.r.job.outcome, OUTCOME_NONE, "the course of the job outlives a connection");
	push(&p, "\"print_error\":50348044");
	is_int(p.r.job.outcome, OUTCOME_CANCELLED, "cancelled");
	done(&p);
}

static void
test_temperatures(void)
{
	struct printer p;

	setup(&p);
	push(&p,
	    "\"msg\":0,\"gcode_state\":\"IDLE\",\"nozzle_temper\":26.53125,\"nozzle_target_temper\":0,"
	    "\"bed_temper\":-1.25,\"bed_target_temper\":60,\"chamber_temper\":38");
	json_is(&p, REC_TEMPERATURES,
	    "{\"nozzles\":[{\"id\":0,\"actual_c\":26.5,\"target_c\":0}],"
	    "\"bed\":{\"actual_c\":-1.3,\"target_c\":60},\"chamber\":{\"actual_c\":38,\"target_c\":null}}");
	now.no_chamber = true;
	push(&p, "\"chamber_temper\":5");
	ok(!p.r.temperatures.has_chamber, "no sensor");
	done(&p);
	setup(&p);
	push(&p,
	    "\"msg\":0,\"gcode_state\":\"IDLE\",\"device\":{\"extruder\":{\"info\":[{\"id\":0,\"temp\":9175180},"
	    "{\"id\":1,\"temp\":25}],\"state\":2},\"bed\":{\"info\":{\"temp\":3604535}},\"ctc\":{\"info\":{\"temp\":33}}}");
	json_is(&p, REC_TEMPERATURES,
	    "{\"nozzles\":[{\"id\":0,\"actual_c\":140,\"target_c\":140},{\"id\":1,\"actual_c\":25,\"target_c\":0}],"
	    "\"bed\":{\"actual_c\":55,\"target_c\":55},\"chamber\":{\"actual_c\":33,\"target_c\":null}}");
	push(&p, "\"device\":{\"ctc\":{\"info\":{\"temp\":2621480}}}");
	is_int(p.r.temperatures.chamber.target_dc, 400, "a packed chamber temperature");
	done(&p);
}

static void
test_fans_speed_lights(void)
{
	struct printer p;

	setup(&p);
	push(&p,
	    "\"msg\":0,\"gcode_state\":\"IDLE\",\"cooling_fan_speed\":\"15\",\"big_fan1_speed\":\"6\",\"big_fan2_speed\":"
	    "\"4000000000\",\"spd_lvl\":3,\"spd_mag\":124,\"wifi_signal\":\"-71dBm\",\"lights_report\":[{\"node\":"
	    "\"chamber_light\",\"mode\":\"on\"},{\"node\":\"x\",\"mode\":\"purple\"}],\"sdcard\":\"HAS_SDCARD_NORMAL\"");
	json_is(&p, REC_FANS,
	    "{\"part_cooling_pct\":100,\"auxiliary_pct\":40,\"chamber_pct\":null,\"heatbreak_pct\":null}");
	json_is(&p, REC_SPEED, "{\"level\":\"sport\",\"percent\":124}");
	json_is(&p, REC_LIGHTS, "[{\"node\":\"chamber_light\",\"mode\":\"on\"}]");
	json_is(&p, REC_WIFI, "{\"signal_dbm\":-71}");
	json_is(&p, REC_EXTRA, "{\"product\":null,\"storage_present\":true,\"door_open\":null}");
	done(&p);
}

#define UNIT(id)                                                                                   \
	"{\"id\":\"" id                                                                            \
	"\",\"tray\":[{\"id\":\"0\",\"tray_type\":\"PLA\"},{\"id\":\"1\",\"tray_type\":\"PLA\"}]}"

/* Which slots are filled: tray_exist_bits decides, except when an unpowered AMS says nothing. */
static void
test_presence(void)
{
	static const struct {
		const char *bits, *power;
		int32_t unit, slot;
		bool want;
	} cases[] = {
	    {"3", "true", 0, 0, true},
	    {"2", "true", 0, 0, false},
	    {"0", "true", 0, 1, false},
	    {"0", "false", 0, 1, true},
	    {"10000", "false", 3, 0, true},
	    {"1000000", "false", 2, 0, true},
	    {"2000000", "false", 2, 1, true},
	    {"1000000", "false", 2, 1, false},
	};
	struct printer p;
	char text[1024];

	TAP_EACH(cases, c)
	{
		setup(&p);
		snprintf(text, sizeof(text),
		    "\"msg\":0,\"gcode_state\":\"IDLE\",\"ams\":{\"ams\":[" UNIT("0") "," UNIT("1") "," UNIT(
			"16") "," UNIT("128") "],\"tray_exist_bits\":\"%s\",\"power_on_flag\":%s}",
		    c->bits, c->power);
		push(&p, text);
		ok(p.r.ams.units[c->unit].slots[c->slot].present == c->want,
		    "bits %s, unit %d slot %d", c->bits, c->unit, c->slot);
		done(&p);
	}
}

static void
test_active(void)
{
	static const struct {
		const char *members;
		bool has;
		int32_t unit, slot;
	} cases[] = {
	    {"\"ams\":{\"tray_now\":\"255\"}", false, 0, 0},
	    {"\"ams\":{\"tray_now\":\"254\"}", true, REC_NONE, 254},
	    {"\"ams\":{\"tray_now\":\"6\"}", true, 1, 2},
	    {"\"ams\":{\"tray_now\":\"129\"}", true, 129, 0},
	    {"\"ams\":{\"tray_now\":\"-5\"}", false, 0, 0},
	    {"\"device\":{\"extruder\":{\"info\":[{\"id\":0,\"snow\":258},{\"id\":1,\"snow\":65535}],\"state\":2}}",
		true, 1, 2},
	    {"\"device\":{\"extruder\":{\"info\":[{\"id\":0,\"snow\":258},{\"id\":1,\"snow\":65535}],\"state\":258}}",
		false, 0, 0},
	    {"\"device\":{\"extruder\":{\"info\":[{\"id\":0,\"snow\":65279}],\"state\":1}}", true,
		REC_NONE, 254},
	};
	struct printer p;

	TAP_EACH(cases, c)
	{
		setup(&p);
		push(&p, "\"msg\":0,\"gcode_state\":\"IDLE\"");
		push(&p, c->members);
		ok(p.r.ams.has_active == c->has && p.r.ams.active_unit == c->unit &&
			p.r.ams.active_slot == c->slot,
		    "%s: %d %d", c->members, p.r.ams.active_unit, p.r.ams.active_slot);
		done(&p);
	}
}

static void
test_developer_mode(void)
{
	struct printer p;

	setup(&p);
	push(&p, "\"msg\":0,\"gcode_state\":\"IDLE\",\"fun\":\"3EC1AFFF9CFF\"");
	ok(bambu_developer_mode_off(&p.b), "signature bit set");
	push(&p, "\"fun\":\"3EC18FFF9CFF\"");
	ok(!bambu_developer_mode_off(&p.b), "signature bit clear");
	push(&p, "\"hms\":[{\"attr\":83887360,\"code\":65543}]");
	ok(bambu_developer_mode_off(&p.b), "health message");
	is_int(p.r.state, PRINTER_IDLE, "which is no fault of the printer");
	done(&p);
}

static void
test_recording(void)
{
	struct arena *a = arena_new(1 << 20);
	struct str text = config_file(
	    a, "tests/printers/recordings/bambu-a1mini/pushall-n1-idle.json", 65536);
	struct json_object *whole = reading_object(tokener, text),
			   *message = reading_member(whole, "message");
	struct printer p;
	uint32_t parts = 0;

	setup(&p);
	now.no_chamber = true;
	ok(bambu_take(&p.b, message, &parts) && p.b.full, "a full report");
	ok(bambu_map(&p.b, parts, &now, &p.r) != 0, "mapped");
	is_int(p.r.state, PRINTER_IDLE, "idle");
	is_int(p.r.temperatures.nozzles[0].t.actual_dc, 272, "nozzle");
	ok(!p.r.temperatures.has_chamber, "no chamber sensor");
	is_int(p.r.ams.n_units, 1, "one unit");
	is_int(p.r.ams.units[0].n_slots, 4, "four slots");
	is_z(p.r.ams.units[0].slots[0].name, "PLA Matte", "name");
	is_z(p.r.ams.units[0].slots[2].color, "#D6ABFF80", "color");
	ok(p.r.ams.units[0].slots[0].present && p.r.ams.units[0].slots[0].rfid,
	    "present, with a tag");
	ok(!p.r.ams.has_active && p.r.ams.n_external == 1 && !p.r.ams.external[0].rfid,
	    "external spool");
	is_int(p.r.errors.n, 0, "no errors");
	is_int(p.r.wifi_dbm, REC_NONE, "a redacted signal is none");
	json_object_put(whole);
	done(&p);
	arena_free(a);
}

int
main(void)
{
	tokener = reading_tokener(BAMBU_DEPTH);
	test_states();
	test_job();
	test_cancel();
	test_failure();
	test_found_failed();
	test_reconnect_during_failure();
	test_temperatures();
	test_fans_speed_lights();
	test_presence();
	test_active();
	test_developer_mode();
	test_recording();
	json_tokener_free(tokener);
	return tap_done();
}
