/* Merging: what a partial report changes, and what it must leave alone. */
#include "gateway/bambu_report.h"
#include "gateway/reading.h"

#include "tap.h"

static struct json_tokener *tokener;

/* Takes one message; the parts that changed, or -1 when it was refused. */
static int64_t
take(struct bambu_state *b, const char *text)
{
	struct json_object *v = reading_object(tokener, str_from(text));
	uint32_t parts = 0;
	bool good = v && bambu_take(b, v, &parts);

	json_object_put(v);
	return good ? (int64_t)parts : -1;
}

static int64_t
push(struct bambu_state *b, const char *members)
{
	char text[8192];

	snprintf(text, sizeof(text), "{\"print\":{\"command\":\"push_status\",%s}}", members);
	return take(b, text);
}

#define TRAY(id, type)                                                                             \
	"{\"id\":\"" id "\",\"tray_type\":\"" type "\",\"tray_color\":\"DE4343FF\",\"remain\":50}"
#define FULL                                                                                       \
	"\"msg\":0,\"gcode_state\":\"IDLE\",\"nozzle_temper\":26.5,\"nozzle_target_temper\":0,"    \
	"\"bed_temper\":\"25\",\"hms\":[{\"attr\":1,\"code\":131072}],\"mc_percent\":\"7\","       \
	"\"ams\":{\"ams\":[{\"id\":\"0\",\"humidity\":\"4\",\"tray\":[" TRAY("0", "PLA") "," TRAY( \
	    "1", "PETG") "]},{\"id\":\"1\",\"humidity\":\"2\",\"tray\":[" TRAY("0",                \
	    "ABS") "]}],"                                                                          \
		   "\"tray_exist_bits\":\"13\",\"tray_now\":\"255\",\"power_on_flag\":true}"

static void
test_full(void)
{
	struct bambu_state b;

	bambu_state_init(&b);
	is_int(push(&b, "\"msg\":1,\"nozzle_temper\":30"), BAMBU_TEMPS,
	    "a change before the full report is kept");
	ok(!b.full, "but the state is not complete");
	is_int(push(&b, FULL) & BAMBU_STATE, BAMBU_STATE, "a full report touches everything");
	ok(b.full, "now it is");
	is_int(b.nozzle_dc, 265, "tenths of a degree");
	is_int(b.bed_dc, 250, "a number as string");
	is_int(b.percent, 7, "a percentage as string");
	is_int(b.n_units, 2, "units");
	is_int(b.units[0].n_trays, 2, "trays");
	is_z(b.units[0].trays[1].type, "PETG", "tray");
	is_int(push(&b, FULL), 0, "the same again changes nothing");
	bambu_state_fini(&b);
}

static void
test_deltas(void)
{
	struct bambu_state b;

	bambu_state_init(&b);
	push(&b, FULL);
	is_int(push(&b, "\"msg\":1,\"ams\":{\"tray_now\":\"0\",\"version\":7}"), BAMBU_AMS,
	    "nested and partial");
	is_int(b.tray_now, 0, "the scalar is replaced");
	is_int(b.n_units, 2, "units stay");
	is_int(
	    push(&b,
		"\"msg\":1,\"ams\":{\"ams\":[{\"id\":\"1\",\"tray\":[{\"id\":\"0\",\"remain\":12}]}]}"),
	    BAMBU_AMS, "one tray of one unit");
	is_int(b.units[1].trays[0].remain, 12, "merged by id");
	is_z(b.units[1].trays[0].type, "ABS", "its other members stay");
	is_int(b.units[0].trays[0].remain, 50, "the other unit stays");
	is_int(b.units[1].humidity, 2, "and its own members");
	is_int(push(&b, "\"msg\":1,\"ams\":{\"ams\":[{\"id\":128,\"tray\":[{\"id\":0}]}]}"),
	    BAMBU_AMS, "a new unit");
	is_int(b.n_units, 3, "comes last");
	is_int(push(&b, "\"msg\":1,\"hms\":[]"), BAMBU_ERRORS | BAMBU_STATE, "lists are replaced");
	is_int(b.n_hms, 0, "as a whole");
	is_int(push(&b, "\"msg\":1,\"wifi_signal\":\"-61dBm\""), BAMBU_WIFI,
	    "the most frequent change");
	is_int(push(&b, "\"msg\":1,\"nozzle_temper\":26.51"), 0, "below the resolution");
	bambu_state_fini(&b);
}

static void
test_hms_absent(void)
{
	struct bambu_state b;

	bambu_state_init(&b);
	push(&b, FULL);
	push(&b, "\"msg\":1,\"mc_percent\":8");
	is_int(b.n_hms, 1, "a change without hms keeps them");
	push(&b, "\"msg\":0,\"gcode_state\":\"IDLE\"");
	is_int(b.n_hms, 0, "a full report without clears them");
	is_int(b.n_units, 2, "units are not reset because they are absent");
	push(&b, "\"hms\":[{\"attr\":2,\"code\":3}]");
	push(&b, "\"gcode_state\":\"IDLE\"");
	is_int(b.n_hms, 1, "nor by a report that does not say what it is");
	bambu_state_fini(&b);
}

/* Values that are not what they should be leave the old ones alone. */
static void
test_wrong_types(void)
{
	static const char *const cases[] = {
	    "\"nozzle_temper\":\"hot\"",
	    "\"nozzle_temper\":1e308",
	    "\"nozzle_temper\":null",
	    "\"mc_percent\":[]",
	    "\"mc_percent\":99999999999999999999",
	    "\"gcode_state\":{}",
	    "\"ams\":\"none\"",
	    "\"ams\":{\"ams\":[null,1,\"x\",[],{\"id\":-1,\"tray\":5}]}",
	    "\"ams\":{\"tray_exist_bits\":\"zz\",\"tray_now\":{}}",
	    "\"hms\":{\"attr\":1}",
	    "\"lights_report\":\"on\"",
	    "\"device\":[1,2]",
	    "\"vt_tray\":3",
	    "\"print_error\":18446744073709551616",
	    "\"fun\":\"not hex\"",
	};
	struct bambu_state b;

	bambu_state_init(&b);
	push(&b, FULL);
	TAP_EACH(cases, c)
	is_int(push(&b, *c), 0, *c);
	is_int(b.nozzle_dc, 265, "temperature");
	is_int(b.percent, 7, "percentage");
	is_z(b.gcode_state, "IDLE", "state");
	is_int(b.n_hms, 1, "health messages");
	bambu_state_fini(&b);
}

static void
test_messages(void)
{
	static const struct {
		const char *text;
		bool taken;
	} cases[] = {
	    {"{\"print\":{\"command\":\"push_status\"}}", true},
	    {"{\"print\":{\"command\":\"pause\",\"result\":\"success\"}}", true},
	    {"{\"info\":{\"command\":\"get_version\",\"module\":[]}}", true},
	    {"{\"print\":null,\"info\":{\"module\":\"x\"}}", false},
	    {"{\"system\":{\"command\":\"ledctrl\"}}", false},
	    {"[1,2,3]", false},
	    {"42", false},
	    {"", false},
	    {"{print: nonsense", false},
	    {"{\"print\":{\"command\":\"push_status\"}} more", false},
	    {"{\"print\":{\"command\":\"push_status\",\"subtask_name\":\"\xff\xfe\"}}", false},
	};
	struct bambu_state b;

	bambu_state_init(&b);
	TAP_EACH(cases, c)
	ok((take(&b, c->text) >= 0) == c->taken, "%s", c->text);
	bambu_state_fini(&b);
}

static void
test_bounds(void)
{
	char deep[4096] = "{\"print\":";
	struct bambu_state b;
	struct buf many;

	bambu_state_init(&b);
	memset(deep + 9, '[', 2000);
	is_int(take(&b, deep), -1, "depth");
	buf_init(&many, 1 << 20);
	buf_str(&many, STR("{\"print\":{\"command\":\"push_status\",\"ams\":{\"ams\":["));
	for (int i = 0; i < 5000; i++)
		buf_fmt(&many, "%s{\"id\":%d,\"tray\":[{\"id\":0}]}", i ? "," : "", i);
	buf_add(&many, "]}}}", 5);
	ok(take(&b, many.p) >= 0, "many units");
	is_int(b.n_units, REC_UNITS, "are capped");
	buf_fini(&many);
	bambu_state_fini(&b);
}

static void
test_text(void)
{
	struct bambu_state b;
	char out[6];

	bambu_state_init(&b);
	push(&b, "\"subtask_name\":\"a\\u0000b\\n\\u007fc \\u00e9\"");
	is_z(b.name, "abc \xC3\xA9", "control characters are taken out");
	reading_clean(STR("abcd\xC3\xA9"), out, sizeof(out));
	is_z(out, "abcd", "cut at a character's border");
	bambu_state_fini(&b);
}

static void
test_version(void)
{
	struct bambu_state b;

	bambu_state_init(&b);
	is_int(
	    take(&b,
		"{\"info\":{\"command\":\"get_version\",\"module\":["
		"{\"name\":\"ota\",\"sw_ver\":\"01.07.02.00\",\"product_name\":\"Bambu Lab A1 mini\"},"
		"{\"name\":\"mc\",\"sw_ver\":\"00.01\"},{\"name\":7},null]}}"),
	    BAMBU_FIRMWARE | BAMBU_EXTRA, "versions");
	is_z(b.firmware->version, "01.07.02.00", "firmware");
	is_int(b.firmware->n, 2, "modules");
	is_z(b.product, "Bambu Lab A1 mini", "product");
	bambu_state_fini(&b);
}

int
main(void)
{
	tokener = reading_tokener(BAMBU_DEPTH);
	test_full();
	test_deltas();
	test_hms_absent();
	test_wrong_types();
	test_messages();
	test_bounds();
	test_text();
	test_version();
	json_tokener_free(tokener);
	return tap_done();
}
