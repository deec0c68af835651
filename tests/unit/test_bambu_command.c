/* What is said to a Bambu printer: every command, starts with their filaments, names, and which
 * answers are whose. */
#include "base/arena.h"
#include "gateway/bambu_command.h"
#include "gateway/bambu_report.h"
#include "gateway/bambu_text.h"
#include "gateway/reading.h"

#include "tap.h"

static struct json_tokener *tokener;

struct printer {
	struct bambu_state b;
	struct record r;
	uint32_t sequence;
};

static void
setup(struct printer *p)
{
	bambu_state_init(&p->b);
	record_init(&p->r);
	p->sequence = 99;
}

static void
done(struct printer *p)
{
	bambu_state_fini(&p->b);
	record_fini(&p->r);
}

static void
push(struct printer *p, const char *members)
{
	struct bambu_when now = {.mono_ms = 1000, .unix_ms = 1700000000000};
	char text[4096];
	struct json_object *v;
	uint32_t parts = 0;

	snprintf(text, sizeof(text), "{\"print\":{\"command\":\"push_status\",%s}}", members);
	v = reading_object(tokener, str_from(text));
	ok(v && bambu_take(&p->b, v, &parts), "taken: %.60s", members);
	json_object_put(v);
	bambu_map(&p->b, BAMBU_ALL & ~BAMBU_FIRMWARE, &now, &p->r);
}

/* --- commands --------------------------------------------------------------------------------- */

struct said {
	const char *asked; /* as the contract has it */
	const char *model;
	enum answer want;
	const char *message; /* without its first three members; NULL: none */
	const char *section, *command;
	int n, awaited, qos;
};

#define GCODE(param) ",\"param\":\"" param "\"}}", "print", "gcode_line"
#define LED(node, mode)                                                                            \
	",\"led_node\":\"" node "\",\"led_mode\":\"" mode                                          \
	"\",\"led_on_time\":500,\"led_off_time\":500,\"loop_times\":0,\"interval_time\":0}}",      \
	    "system", "ledctrl"
#define NONE NULL, NULL, NULL, 0, 0, 0

static void
say(struct printer *p, const struct said *c)
{
	struct bambu_about about = {bambu_model("", c->model, ""), &p->b, &p->r, &p->sequence};
	struct json_object *v = json_tokener_parse(c->asked);
	struct bambu_messages out;
	struct command cmd;
	char want[512];
	const char *words;
	enum answer a;

	p->sequence = 99;
	ok(command_parse(v, &cmd), "a command: %s", c->asked);
	a = bambu_command_messages(&cmd, &about, &out, &words);
	is_int(a, c->want, c->asked);
	is_int(out.n, c->n, "messages");
	if (c->message && out.n > 0) {
		const struct bambu_message *m = &out.m[out.awaited];

		snprintf(want, sizeof(want), "{\"%s\":{\"sequence_id\":\"%d\",\"command\":\"%s\"%s",
		    c->section, 100 + out.awaited, c->command, c->message);
		is_str(buf_view(&m->json), str_from(want), "the message");
		is_int(out.awaited, c->awaited, "the awaited one");
		is_int(m->qos, c->qos, "its quality of service");
		ok(strcmp(m->section, c->section) == 0 && strcmp(m->command, c->command) == 0 &&
			m->sequence == (uint32_t)(100 + out.awaited),
		    "and how its answer is known");
	}
	bambu_messages_fini(&out);
	command_fini(&cmd);
	json_object_put(v);
}

static void
test_commands(void)
{
	static const struct said cases[] = {
	    {"{\"command\":\"pause\"}", "A1", 0, ",\"param\":\"\"}}", "print", "pause", 1, 0, 1},
	    {"{\"command\":\"resume\"}", "A1", 0, ",\"param\":\"\"}}", "print", "resume", 1, 0, 1},
	    {"{\"command\":\"stop\"}", "A1", 0, ",\"param\":\"\"}}", "print", "stop", 1, 0, 1},
	    {"{\"command\":\"gcode\",\"lines\":[\"M400\",\"M117 \\\"a\\\"\"]}", "A1", 0,
		GCODE("M400\\nM117 \\\"a\\\"\\n"), 1, 0, 0},
	    {"{\"command\":\"set_temperatures\",\"nozzle_c\":219.5,\"bed_c\":60}", "A1", 0,
		GCODE("M104 S219.5\\nM140 S60\\n"), 1, 0, 0},
	    {"{\"command\":\"set_temperatures\",\"chamber_c\":45}", "X1E", 0, GCODE("M141 S45\\n"),
		1, 0, 0},
	    {"{\"command\":\"set_temperatures\",\"chamber_c\":45}", "X1C", ANSWER_UNSUPPORTED,
		NONE},
	    {"{\"command\":\"set_temperatures\",\"nozzle\":1,\"nozzle_c\":200}", "A1",
		ANSWER_UNSUPPORTED, NONE},
	    {"{\"command\":\"fans\",\"part_cooling_pct\":50,\"auxiliary_pct\":100,\"chamber_pct\":0}",
		"X1C", 0, GCODE("M106 P1 S127\\nM106 P2 S255\\nM106 P3 S0\\n"), 1, 0, 0},
	    {"{\"command\":\"fans\",\"part_cooling_pct\":50}", "A1 mini", 0,
		GCODE("M106 P1 S127\\n"), 1, 0, 0},
	    {"{\"command\":\"fans\",\"auxiliary_pct\":50}", "A1 mini", ANSWER_UNSUPPORTED, NONE},
	    {"{\"command\":\"home\"}", "A1", 0, GCODE("G28\\n"), 1, 0, 0},
	    {"{\"command\":\"home\",\"axes\":[\"x\",\"z\"]}", "A1", 0, GCODE("G28 X Z\\n"), 1, 0,
		0},
	    {"{\"command\":\"jog\",\"x_mm\":-10.25,\"y_mm\":5}", "A1", 0,
		GCODE("G91\\nG1 X-10.250 Y5 F3000\\nG90\\n"), 1, 0, 0},
	    {"{\"command\":\"jog\",\"z_mm\":0.05}", "A1", 0, GCODE("G91\\nG1 Z0.050 F600\\nG90\\n"),
		1, 0, 0},
	    {"{\"command\":\"jog\",\"e_mm\":3,\"feed_mm_min\":100}", "A1", 0,
		GCODE("G91\\nM83\\nG1 E3 F100\\nG90\\n"), 1, 0, 0},
	    {"{\"command\":\"speed\",\"level\":\"ludicrous\"}", "A1", 0, ",\"param\":\"4\"}}",
		"print", "print_speed", 1, 0, 0},
	    {"{\"command\":\"speed\",\"percent\":120}", "A1", ANSWER_UNSUPPORTED, NONE},
	    {"{\"command\":\"skip_objects\",\"object_ids\":[7,12]}", "A1", 0,
		",\"obj_list\":[7,12]}}", "print", "skip_objects", 1, 0, 0},
	    {"{\"command\":\"skip_objects\",\"objects\":[\"cube\"]}", "A1", ANSWER_UNSUPPORTED,
		NONE},
	    {"{\"command\":\"light\",\"on\":true}", "A1", 0, LED("chamber_light", "on"), 1, 0, 0},
	    {"{\"command\":\"light\",\"node\":\"work_light\",\"on\":false}", "X1C", 0,
		LED("work_light", "off"), 1, 0, 0},
	    {"{\"command\":\"clear_error\"}", "A1", 0, "}}", "print", "clean_print_error", 1, 0, 0},
	    {"{\"command\":\"emergency_stop\"}", "A1", 0, GCODE("M112\\n"), 2, 0, 0},
	    {"{\"command\":\"firmware_restart\"}", "A1", ANSWER_UNSUPPORTED, NONE},
	    {"{\"command\":\"load_filament\",\"length_mm\":50}", "A1", ANSWER_UNSUPPORTED, NONE},
	};
	struct printer p;

	TAP_EACH(cases, c)
	{
		setup(&p);
		say(&p, c);
		done(&p);
	}
}

/* What depends on what the printer has reported. */
static void
test_commands_by_state(void)
{
	static const char dual[] = "\"device\":{\"extruder\":{\"info\":[{\"id\":0,\"temp\":20},"
				   "{\"id\":1,\"temp\":20}],\"state\":2}}";
	static const struct {
		const char *report;
		struct said said;
	} cases[] = {
	    {dual,
		{"{\"command\":\"set_temperatures\",\"nozzle\":1,\"nozzle_c\":200,\"chamber_c\":50}",
		    "H2D", 0, GCODE("M104 T1 S200\\nM141 S50\\n"), 1, 0, 0}},
	    {dual,
		{"{\"command\":\"set_temperatures\",\"nozzle\":2,\"nozzle_c\":200}", "H2D",
		    ANSWER_UNSUPPORTED, NONE}},
	    {"\"lights_report\":[{\"node\":\"chamber_light\",\"mode\":\"on\"},"
	     "{\"node\":\"chamber_light2\",\"mode\":\"on\"}]",
		{"{\"command\":\"light\",\"on\":false}", "H2D", 0, LED("chamber_light2", "off"), 2,
		    1, 0}},
	    {"\"lights_report\":[{\"node\":\"chamber_light\",\"mode\":\"on\"}]",
		{"{\"command\":\"light\",\"node\":\"laser\",\"on\":true}", "A1", ANSWER_UNSUPPORTED,
		    NONE}},
	    {"\"gcode_state\":\"RUNNING\",\"layer_num\":4",
		{"{\"command\":\"emergency_stop\"}", "A1", 0, ",\"param\":\"\"}}", "print", "stop",
		    2, 1, 1}},
	};
	struct printer p;

	TAP_EACH(cases, c)
	{
		setup(&p);
		push(&p, "\"msg\":0,\"gcode_state\":\"IDLE\"");
		push(&p, c->report);
		say(&p, &c->said);
		done(&p);
	}
}

static void
test_filament(void)
{
	static const char unit[] =
	    "\"ams\":{\"tray_now\":\"1\",\"power_on_flag\":true,\"tray_exist_bits\":\"10003\",\"ams\":["
	    "{\"id\":\"0\",\"tray\":[{\"id\":\"0\",\"tray_type\":\"PLA\"},{\"id\":\"1\","
	    "\"tray_type\":\"PLA\",\"nozzle_temp_min\":\"190\",\"nozzle_temp_max\":\"230\"}]},"
	    "{\"id\":\"128\",\"tray\":[{\"id\":\"0\",\"tray_type\":\"PA\"}]}]}";
#define CHANGE(target, c, unit, slot)                                                              \
	",\"target\":" target ",\"curr_temp\":" c ",\"tar_temp\":" c ",\"ams_id\":" unit           \
	",\"slot_id\":" slot "}}",                                                                 \
	    "print", "ams_change_filament", 1, 0, 0
	static const struct said cases[] = {
	    {"{\"command\":\"load_filament\",\"unit\":0,\"slot\":1}", "A1", 0,
		CHANGE("1", "210", "0", "1")},
	    {"{\"command\":\"load_filament\",\"unit\":128,\"nozzle_c\":260}", "H2D", 0,
		CHANGE("128", "260", "128", "0")},
	    {"{\"command\":\"load_filament\"}", "A1", 0, CHANGE("254", "220", "255", "0")},
	    {"{\"command\":\"load_filament\",\"unit\":3,\"slot\":1}", "A1", ANSWER_REFUSED, NONE},
	    {"{\"command\":\"unload_filament\"}", "A1", 0, CHANGE("255", "210", "0", "255")},
	};
	struct printer p;

	setup(&p);
	push(&p, "\"msg\":0,\"gcode_state\":\"IDLE\"");
	push(&p, unit);
	TAP_EACH(cases, c)
	say(&p, c);
	done(&p);
}

/* --- starts ----------------------------------------------------------------------------------- */

static struct transfer
transfer(const char *filename, const char *kind)
{
	struct transfer t;

	memset(&t, 0, sizeof(t));
	snprintf(t.filename, sizeof(t.filename), "%s", filename);
	snprintf(t.kind, sizeof(t.kind), "%s", kind);
	t.task_id = 2147483647;
	t.plate = 2;
	t.bed_leveling = true;
	return t;
}

static enum answer
start(struct printer *p, const char *model, const struct transfer *t, char *out, size_t size)
{
	struct bambu_about about = {bambu_model("", model, ""), &p->b, &p->r, &p->sequence};
	struct bambu_messages messages;
	const char *words;
	enum answer a;

	p->sequence = 99;
	a = bambu_start_messages(t, &about, &messages, &words);
	snprintf(out, size, "%.*s", messages.n ? (int)messages.m[0].json.n : 0,
	    messages.n ? messages.m[0].json.p : "");
	is_int(messages.n, a == ANSWER_ACCEPTED, "one message, or none");
	if (messages.n)
		is_int(messages.m[0].qos, 1, "quality of service");
	bambu_messages_fini(&messages);
	return a;
}

static void
test_names(void)
{
	static const struct {
		const char *filename, *kind, *want;
	} cases[] = {
	    {"Benchy.gcode.3mf", "gcode_3mf", "Benchy-2147483647.gcode.3mf"},
	    {"plate 1 (2).3mf", "gcode_3mf", "plate_1_2-2147483647.gcode.3mf"},
	    {"\xC3\xBC"
	     "ber.gcode",
		"gcode", "ber-2147483647.gcode"},
	    {"../../etc/passwd", "gcode", "etc_passwd-2147483647.gcode"},
	    {"...", "gcode", "print-2147483647.gcode"},
	    {"a\"b\\c\r\nDELE x.gcode", "gcode", "a_b_c_DELE_x-2147483647.gcode"},
	    {"0123456789012345678901234567890123456789012345678901234567890123456789.gcode",
		"gcode",
		"0123456789012345678901234567890123456789012345678901234567890123-2147483647.gcode"},
	};
	struct transfer t;

	TAP_EACH(cases, c)
	{
		t = transfer(c->filename, c->kind);
		ok(bambu_remote_name(&t, t.remote, sizeof(t.remote)), "a name");
		is_z(t.remote, c->want, c->filename);
	}
	t = transfer("a.bgcode", "bgcode");
	ok(!bambu_remote_name(&t, t.remote, sizeof(t.remote)), "binary G-code is not printed");
}

static void
test_start(void)
{
	struct transfer t = transfer("cube.gcode.3mf", "gcode_3mf");
	struct printer p;
	char text[2048];

	setup(&p);
	bambu_remote_name(&t, t.remote, sizeof(t.remote));
	is_int(start(&p, "X1C", &t, text, sizeof(text)), ANSWER_ACCEPTED, "a 3MF");
	is_z(text,
	    "{\"print\":{\"sequence_id\":\"100\",\"command\":\"project_file\","
	    "\"param\":\"Metadata/plate_2.gcode\",\"url\":\"ftp:///cube-2147483647.gcode.3mf\","
	    "\"file\":\"cube-2147483647.gcode.3mf\",\"md5\":\"\",\"subtask_name\":\"cube-2147483647\","
	    "\"subtask_id\":\"2147483647\",\"task_id\":\"2147483647\",\"project_id\":\"2147483647\","
	    "\"profile_id\":\"0\",\"bed_type\":\"auto\",\"timelapse\":false,\"bed_leveling\":true,"
	    "\"flow_cali\":false,\"vibration_cali\":false,\"layer_inspect\":false,\"use_ams\":false,"
	    "\"ams_mapping\":[-1],\"ams_mapping2\":[{\"ams_id\":255,\"slot_id\":0}]}}",
	    "as it is said");
	start(&p, "A1", &t, text, sizeof(text));
	ok(strstr(text, "\"url\":\"ftp://cube-2147483647.gcode.3mf\"") != NULL, "the A1's URL");
	t = transfer("cube.gcode", "gcode");
	bambu_remote_name(&t, t.remote, sizeof(t.remote));
	is_int(start(&p, "A1", &t, text, sizeof(text)), ANSWER_UNSUPPORTED, "G-code on an A1");
	is_int(start(&p, "P1S", &t, text, sizeof(text)), ANSWER_ACCEPTED, "G-code on a P1S");
	ok(strstr(text, "\"command\":\"gcode_file\",\"param\":\"/cube-2147483647.gcode\"") != NULL,
	    "its command");
	done(&p);
}

#define N REC_NONE
static void
test_mapping(void)
{
	static const char two[] =
	    "\"ams\":{\"tray_now\":\"255\",\"ams\":[{\"id\":\"0\",\"tray\":[]},"
	    "{\"id\":\"1\",\"tray\":[]}]}";
	static const char loaded[] =
	    "\"ams\":{\"tray_now\":\"6\",\"ams\":[{\"id\":\"1\",\"tray\":[]}]}";
	static const char external[] =
	    "\"ams\":{\"tray_now\":\"254\",\"ams\":[{\"id\":\"0\",\"tray\":[]}]}";
	static const char dual[] =
	    "\"device\":{\"extruder\":{\"info\":[{\"id\":0},{\"id\":1}]}},\"ams\":{\"ams\":[]}";
	static const struct {
		const char *report;
		int n;
		bool mapped;
		struct transfer_slot slots[3];
		const char *want;
	} cases[] = {
	    {two, 3, true, {{0, 0}, {N, N}, {1, 2}},
		"\"use_ams\":true,\"ams_mapping\":[0,-1,6],\"ams_mapping2\":[{\"ams_id\":0,\"slot_id\":0},"
		"{\"ams_id\":255,\"slot_id\":255},{\"ams_id\":1,\"slot_id\":2}]"},
	    {two, 1, true, {{129, 0}},
		"\"use_ams\":true,\"ams_mapping\":[129],\"ams_mapping2\":[{\"ams_id\":129,\"slot_id\":0}]"},
	    {two, 1, true, {{N, 254}},
		"\"use_ams\":false,\"ams_mapping\":[-1],\"ams_mapping2\":[{\"ams_id\":255,\"slot_id\":0}]"},
	    {dual, 2, true, {{N, 254}, {N, 255}},
		"\"use_ams\":false,\"ams_mapping\":[-1,-1],\"ams_mapping2\":[{\"ams_id\":254,\"slot_id\":0},"
		"{\"ams_id\":255,\"slot_id\":0}]"},
	    {two, 0, false, {{0, 0}},
		"\"use_ams\":true,\"ams_mapping\":[0],\"ams_mapping2\":[{\"ams_id\":0,\"slot_id\":0}]"},
	    {loaded, 0, false, {{0, 0}},
		"\"use_ams\":true,\"ams_mapping\":[6],\"ams_mapping2\":[{\"ams_id\":1,\"slot_id\":2}]"},
	    {external, 0, false, {{0, 0}},
		"\"use_ams\":false,\"ams_mapping\":[-1],\"ams_mapping2\":[{\"ams_id\":255,\"slot_id\":0}]"},
	};
	struct printer p;

	TAP_EACH(cases, c)
	{
		struct transfer t = transfer("a.gcode.3mf", "gcode_3mf");
		char text[2048];

		setup(&p);
		push(&p, "\"msg\":0,\"gcode_state\":\"IDLE\"");
		push(&p, c->report);
		bambu_remote_name(&t, t.remote, sizeof(t.remote));
		t.n_slots = c->n;
		t.has_mapping = c->mapped;
		memcpy(t.slots, c->slots, sizeof(c->slots));
		start(&p, "H2D", &t, text, sizeof(text));
		if (!ok(strstr(text, c->want) != NULL, "%s", c->want))
			printf("# got %s\n", text);
		done(&p);
	}
}

static void
test_job(void)
{
	static const struct {
		const char *report;
		bool want;
	} cases[] = {
	    {"\"gcode_state\":\"PREPARE\",\"task_id\":\"2147483647\"", true},
	    {"\"gcode_state\":\"PREPARE\",\"subtask_id\":2147483647,\"task_id\":\"0\"", true},
	    {"\"gcode_state\":\"PREPARE\",\"task_id\":\"4711\",\"subtask_name\":\"cube-2147483647\"",
		false},
	    {"\"gcode_state\":\"RUNNING\",\"task_id\":\"0\",\"subtask_name\":\"cube-2147483647\"",
		true},
	    {"\"gcode_state\":\"RUNNING\",\"gcode_file\":\"/sd/cube-2147483647.gcode.3mf\"", true},
	    {"\"gcode_state\":\"RUNNING\",\"subtask_name\":\"cube\"", false},
	    {"\"gcode_state\":\"IDLE\",\"task_id\":\"2147483647\"", false},
	};
	struct transfer t = transfer("cube.gcode.3mf", "gcode_3mf");
	struct printer p;

	bambu_remote_name(&t, t.remote, sizeof(t.remote));
	TAP_EACH(cases, c)
	{
		setup(&p);
		push(&p, "\"msg\":0,\"gcode_state\":\"IDLE\"");
		push(&p, c->report);
		ok(bambu_is_job(&p.b, &t, &p.r) == c->want, "%s", c->report);
		done(&p);
	}
}

/* --- answers ---------------------------------------------------------------------------------- */

static void
test_answers(void)
{
	static const struct {
		const char *text;
		bool answer, ours, good, unsigned_, busy;
		const char *words;
	} cases[] = {
	    {"{\"print\":{\"command\":\"pause\",\"sequence_id\":\"77\",\"result\":\"success\"}}",
		true, true, true, false, false, ""},
	    {"{\"print\":{\"command\":\"pause\",\"sequence_id\":77,\"result\":\"SUCCESS\","
	     "\"reason\":\"SUCCESS\"}}",
		true, true, true, false, false, ""},
	    {"{\"print\":{\"command\":\"pause\",\"sequence_id\":\"76\",\"result\":\"success\"}}",
		true, false, true, false, false, ""},
	    {"{\"print\":{\"command\":\"resume\",\"sequence_id\":\"77\",\"result\":\"success\"}}",
		true, false, true, false, false, ""},
	    {"{\"system\":{\"command\":\"pause\",\"sequence_id\":\"77\",\"result\":\"success\"}}",
		true, false, true, false, false, ""},
	    {"{\"print\":{\"command\":\"pause\",\"sequence_id\":\"77\",\"result\":\"fail\","
	     "\"reason\":\"not now\"}}",
		true, true, false, false, false, "not now"},
	    {"{\"print\":{\"command\":\"pause\",\"sequence_id\":\"77\",\"result\":\"failed\","
	     "\"reason\":\"mqtt message verify failed\",\"err_code\":84033543}}",
		true, true, false, true, false, "mqtt message verify failed"},
	    {"{\"print\":{\"command\":\"pause\",\"sequence_id\":\"77\",\"result\":\"failed\","
	     "\"err_code\":84033545}}",
		true, true, false, true, false, ""},
	    {"{\"print\":{\"command\":\"pause\",\"sequence_id\":\"77\",\"result\":\"fail\","
	     "\"err_code\":83902468}}",
		true, true, false, false, true, ""},
	    {"{\"print\":{\"command\":\"push_status\",\"sequence_id\":\"77\",\"result\":\"x\"}}",
		false, false, false, false, false, ""},
	    {"{\"print\":{\"command\":\"pause\",\"sequence_id\":\"77\"}}", false, false, false,
		false, false, ""},
	    {"{\"print\":[],\"system\":7}", false, false, false, false, false, ""},
	};
	struct bambu_answer a;

	TAP_EACH(cases, c)
	{
		struct json_object *v = reading_object(tokener, str_from(c->text));

		ok(bambu_answer_read(v, &a) == c->answer, "%s", c->text);
		json_object_put(v);
		if (!c->answer)
			continue;
		ok(bambu_answer_is_of(&a, "print", "pause", 77) == c->ours, "whose it is");
		ok(a.good == c->good && a.unsigned_ == c->unsigned_ && a.busy == c->busy,
		    "what it says");
		is_z(a.words, c->words, "in words");
	}
}

/* Others may sign their commands: that theirs are taken says nothing about ours. */
static void
test_refusal_stays(void)
{
	struct json_object *no = json_tokener_parse(
	    "{\"print\":{\"command\":\"pause\",\"sequence_id\":\"1\",\"result\":\"failed\","
	    "\"reason\":\"mqtt message verify failed\"}}");
	struct json_object *yes = json_tokener_parse(
	    "{\"print\":{\"command\":\"pause\",\"sequence_id\":\"2\",\"result\":\"success\"}}");
	struct printer p;
	uint32_t parts;

	setup(&p);
	ok(bambu_take(&p.b, no, &parts) && parts == BAMBU_STATE, "a refusal is news");
	ok(bambu_take(&p.b, yes, &parts) && parts == 0, "another's success is none");
	ok(bambu_developer_mode_off(&p.b), "commands stay refused");
	json_object_put(no);
	json_object_put(yes);
	done(&p);
}

/* --- models and texts ------------------------------------------------------------------------- */

static void
test_models(void)
{
	static const struct {
		const char *product, *configured, *serial, *want;
	} cases[] = {
	    {"Bambu Lab A1 mini", "X1C", "00M1", "A1 mini"},
	    {"", "bambu lab x1 carbon", "", "X1C"},
	    {"", "BL-P001", "", "X1C"},
	    {"", "C12", "", "P1S"},
	    {"", "", "0943C", "H2D"},
	    {"Bambu Lab Z9", "?", "zzz", ""},
	};

	TAP_EACH(cases, c)
	is_z(bambu_model(c->product, c->configured, c->serial)->name, c->want, c->configured);
	ok(bambu_model("", "A1", "")->no_chamber && !bambu_model("", "X1C", "")->no_chamber,
	    "who has a chamber's sensor");
}

static void
test_texts(void)
{
	ok(strstr(bambu_error_text(0x0300400C), "cancelled") != NULL, "a cancel");
	ok(strstr(bambu_error_text(0x07028011), "run out") != NULL, "the third AMS");
	ok(strstr(bambu_error_text(0x07FF8011), "external") != NULL, "the external spool");
	ok(bambu_error_text(0x12345678) == NULL, "an unknown one");
	ok(strstr(bambu_hms_text(0x05000500, 0x00010007), "Developer Mode") != NULL, "signature");
	ok(bambu_hms_text(0x07012300, 0x00020001) != NULL, "another unit and slot");
	ok(bambu_hms_text(0x07012300, 0x00020099) == NULL, "an unknown message");
}

int
main(void)
{
	tokener = reading_tokener(BAMBU_DEPTH);
	test_commands();
	test_commands_by_state();
	test_filament();
	test_names();
	test_start();
	test_mapping();
	test_job();
	test_answers();
	test_refusal_stays();
	test_models();
	test_texts();
	json_tokener_free(tokener);
	return tap_done();
}
