/* Slicer presets: reading, and writing them as they were. */
#include <stdlib.h>

#include "base/arena.h"
#include "base/config.h"
#include "base/log.h"
#include "media/preset.h"
#include "tap.h"

static const struct {
	const char *name, *text, *error; /* error: what it begins with */
} broken[] = {
    {"JSON that ends early", "{\"name\": \"x\"", "This is not JSON"},
    {"a list with a number", "[{},1]", "A preset is a JSON object."},
    {"a nested setting", "{\"name\":\"x\",\"filament_type\":[\"PLA\"],\"a\":{}}",
	"A setting is neither"},
    {"a list of lists", "{\"name\":\"x\",\"filament_type\":[\"PLA\"],\"a\":[[]]}",
	"A setting is neither"},
    {"a key without a value", "filament_type\n", "This is not a preset"},
    {"bytes", "filament_type = \xff\n", "A preset is UTF-8 text."},
    {"no name", "[filament:]\nfilament_type = PLA\n", "Preset 1 has no usable name."},
    {"a name with a control character", "{\"name\":\"a\\nb\",\"filament_type\":[\"PLA\"]}",
	"Preset 1 has no"},
};

static const char orca[] =
    "{\"type\":\"filament\",\"name\":\"My PLA\",\"inherits\":\"Generic PLA\",\"from\":\"User\","
    "\"filament_type\":[\"PLA\"],\"filament_vendor\":[\"Acme\"],\"filament_density\":[\"1.24\"],"
    "\"filament_diameter\":[\"1.75\"],\"filament_cost\":[\"36.29\"],\"nozzle_temperature\":[\"215\"],"
    "\"hot_plate_temp\":[\"60\"],\"default_filament_colour\":[\"#ff8000\"],"
    "\"unheard_of\":[\"a\",\"b\"],\"version\":\"1.9.0.2\"}";

static const char bundle[] =
    "; made by hand\n[vendor]\nname = Acme\n\n"
    "[filament:*common*]\nfilament_diameter = 1.75\ntemperature = 200\n"
    "[filament:*PLA*]\ninherits = *common*\nfilament_type = PLA\ntemperature = 210\n"
    "[filament:Acme PLA]\ninherits = *PLA*\nfilament_cost = 25.5\nfilament_retract_lift = nil\n"
    "start_filament_gcode = \"M900 K0.05 ; LA\\nG4\"\n"
    "[filament:Loop]\ninherits = Loop; Loop\n"
    "[printer:Acme One]\nbed_shape = 0x0,250x0,250x210,0x210\nmax_print_height = 200\n"
    "nozzle_diameter = 0.4,0.6\ngcode_flavor = marlin2\nprinter_model = ONE\nprinter_vendor =\n"
    "[print:Fast]\nlayer_height = 0.3\n";

static struct str
attribute(const struct preset *p, const char *name)
{
	struct json_object *v = json_object_object_get(p->attributes, name);

	return v ? str_from(json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN)) : STR("-");
}

static bool
same_settings(
    struct arena *a, const struct preset *p, const struct presets *from, enum preset_format wanted)
{
	struct presets again;
	struct str text = preset_write(a, p, from->format, p->attributes, wanted);

	presets_read(a, p->kind, STR("again.ini"), text, &again);
	return again.n == 1 && json_object_equal(again.v[0].settings, p->settings);
}

static void
test_orca(struct arena *a)
{
	struct presets in;
	struct str text;

	presets_read(a, PRESET_FILAMENT, STR("x.json"), str_from(orca), &in);
	if (!ok(!in.error.p && in.n == 1, "one filament"))
		return;
	is_str(in.v[0].name, STR("My PLA"), "its name");
	is_str(in.v[0].inherits, STR("Generic PLA"), "what it inherits");
	is_str(attribute(&in.v[0], "material"), STR("\"PLA\""), "material");
	is_str(attribute(&in.v[0], "density_g_cm3"), STR("1.24"), "density");
	is_str(attribute(&in.v[0], "cost_per_kg"), STR("3629"), "cost in minor units");
	is_str(attribute(&in.v[0], "nozzle_temperature_c"), STR("215"), "temperature");
	is_str(attribute(&in.v[0], "color"), STR("\"#FF8000FF\""), "color");
	is_str(attribute(&in.v[0], "max_volumetric_speed_mm3_s"), STR("-"), "what it does not say");
	ok(same_settings(a, &in.v[0], &in, PRESET_JSON), "comes back as it was");
	json_object_object_add(
	    in.v[0].attributes, "nozzle_temperature_c", json_object_new_int(222));
	text = preset_write(a, &in.v[0], in.format, in.v[0].attributes, PRESET_INI);
	ok(str_starts(text, STR("[filament:My PLA]\n")), "as PrusaSlicer's: a section");
	presets_read(a, PRESET_FILAMENT, STR("x.ini"), text, &in);
	is_str(attribute(&in.v[0], "nozzle_temperature_c"), STR("222"), "with what was changed");
	is_str(attribute(&in.v[0], "cost_per_kg"), STR("3629"), "and what both know");
	presets_read(a, PRESET_PRINTER, STR("x.json"), str_from(orca), &in);
	ok(!in.error.p && !in.n && in.others == 1, "it is no printer");
}

static void
test_bundle(struct arena *a)
{
	struct presets in;

	presets_read(a, PRESET_FILAMENT, STR("x.ini"), str_from(bundle), &in);
	if (!ok(!in.error.p && in.n == 2, "two filaments"))
		return;
	is_int(in.others, 2, "two presets of other kinds");
	is_str(in.v[0].name, STR("Acme PLA"), "the name");
	is_str(attribute(&in.v[0], "material"), STR("\"PLA\""), "of its parent");
	is_str(attribute(&in.v[0], "nozzle_temperature_c"), STR("210"), "the nearer parent counts");
	is_str(attribute(&in.v[0], "diameter_mm"), STR("1.75"), "of its grandparent");
	is_str(attribute(&in.v[0], "cost_per_kg"), STR("2550"), "its own");
	is_int(
	    json_object_object_length(in.v[0].settings), 4, "only its own keys are its settings");
	ok(same_settings(a, &in.v[0], &in, PRESET_INI), "comes back as it was");
	is_int(json_object_object_length(in.v[1].attributes), 0, "a preset that inherits itself");
	presets_read(a, PRESET_PRINTER, STR("x.ini"), str_from(bundle), &in);
	if (!ok(in.n == 1, "one printer"))
		return;
	is_str(attribute(&in.v[0], "bed_volume"), STR("{\"x_mm\":250,\"y_mm\":210,\"z_mm\":200}"),
	    "bed");
	is_str(attribute(&in.v[0], "nozzles"), STR("[{\"diameter_mm\":0.4},{\"diameter_mm\":0.6}]"),
	    "nozzles");
	is_str(attribute(&in.v[0], "vendor"), STR("-"), "an empty value is none");
	ok(same_settings(a, &in.v[0], &in, PRESET_INI), "comes back as it was");
}

static void
test_single(struct arena *a)
{
	const char *text =
	    "# generated by SuperSlicer 2.3\n\nfilament_settings_id = \"My \xC3\xA9\"\nfilament_type = PETG\n"
	    "temperature = 240,230\nlong = ";
	char big[5000];
	struct presets in;
	struct str whole;

	memset(big, 'x', sizeof(big));
	whole = str_fmt(a, "%s%.*s ; y\r\n", text, (int)sizeof(big), big);
	presets_read(a, PRESET_FILAMENT, STR("dir/f.ini"), whole, &in);
	if (!ok(!in.error.p && in.n == 1, "one preset"))
		return;
	is_str(in.v[0].name, STR("My \xC3\xA9"), "its name");
	is_str(in.slicer, STR("SuperSlicer"), "the slicer");
	is_str(attribute(&in.v[0], "nozzle_temperature_c"), STR("240"), "of the first extruder");
	is_int(json_object_get_string_len(json_object_object_get(in.v[0].settings, "long")),
	    sizeof(big) + 4, "a long line with what looks like a comment");
	ok(same_settings(a, &in.v[0], &in, PRESET_INI), "comes back as it was");
	presets_read(
	    a, PRESET_FILAMENT, STR("C:\\dir\\Some PLA.ini"), STR("filament_type = PLA"), &in);
	is_str(in.v[0].name, STR("Some PLA"), "named by its file");
	ok(same_settings(a, &in.v[0], &in, PRESET_INI), "comes back as it was");
	presets_read(a, PRESET_FILAMENT, STR("x"), STR(""), &in);
	ok(!in.error.p && !in.n, "nothing in, nothing out");
}

/* PrusaSlicer's own bundles, where Debian has them. */
static void
test_shipped(struct arena *a, const char *vendor, size_t least, enum preset_kind kind)
{
	struct str path = str_fmt(a, "/usr/share/PrusaSlicer/profiles/%s.ini", vendor);
	struct str text = config_file(a, path.p, 1 << 20);
	struct presets in;
	size_t same = 0, read = 0;

	if (!text.p) {
		ok(true, "# SKIP %s is not here", vendor);
		return;
	}
	presets_read(a, kind, path, text, &in);
	ok(!in.error.p && in.n >= least, "%s: %zu presets: %.*s", vendor, in.n, STR_ARG(in.error));
	for (size_t i = 0; i < in.n; i++) {
		same += same_settings(a, &in.v[i], &in, PRESET_INI);
		read += json_object_object_length(in.v[i].attributes) >=
		    (kind == PRESET_FILAMENT ? 6 : 2);
	}
	is_int(same, in.n, "each comes back as it was");
	is_int(read, in.n, "each says what it is");
}

int
main(void)
{
	struct arena *a = arena_new(1 << 28);
	struct presets in;

	TAP_EACH(broken, b)
	{
		presets_read(a, PRESET_FILAMENT, STR("x"), str_from(b->text), &in);
		ok(str_starts(in.error, str_from(b->error)) && !in.n, "%s: %.*s", b->name,
		    STR_ARG(in.error));
	}
	test_orca(a);
	test_bundle(a);
	test_single(a);
	arena_reset(a);
	test_shipped(a, "PrusaResearch", 300, PRESET_FILAMENT);
	arena_reset(a);
	test_shipped(a, "PrusaResearch", 40, PRESET_PRINTER);
	arena_reset(a);
	test_shipped(a, "Creality", 10, PRESET_FILAMENT);
	arena_free(a);
	return tap_done();
}
