#include "base/arena.h"
#include "media/gcode_parts.h"

/* The configuration and statistics of Slic3r and its descendants. */
static const struct gcode_key slic3r_keys[] = {
    {STR_INIT("estimated printing time (normal mode)"), F_TIME, 0},
    {STR_INIT("estimated printing time"), F_TIME, 0},
    {STR_INIT("printer_model"), F_PRINTER_MODEL, 0},
    {STR_INIT("printer_settings_id"), F_PRINTER_PROFILE, 0},
    {STR_INIT("print_settings_id"), F_PRINT_PROFILE, 0},
    {STR_INIT("layer_height"), F_LAYER_HEIGHT, 0},
    {STR_INIT("first_layer_height"), F_FIRST_LAYER_HEIGHT, 0},
    {STR_INIT("total layers count"), F_LAYER_COUNT, 0},
    {STR_INIT("max_layer_z"), F_MAX_Z, 0},
    {STR_INIT("nozzle_diameter"), F_NOZZLE, ','},
    {STR_INIT("temperature"), F_NOZZLE_C, ','},
    {STR_INIT("first_layer_temperature"), F_NOZZLE_FIRST_C, ','},
    {STR_INIT("bed_temperature"), F_BED_C, ','},
    {STR_INIT("first_layer_bed_temperature"), F_BED_FIRST_C, ','},
    {STR_INIT("chamber_temperature"), F_CHAMBER_C, ','},
    {STR_INIT("filament_type"), F_TYPE, ';'},
    {STR_INIT("filament_colour"), F_COLOR, ';'},
    {STR_INIT("extruder_colour"), F_EXTRUDER_COLOR, ';'},
    {STR_INIT("filament_vendor"), F_VENDOR, ';'},
    {STR_INIT("filament_settings_id"), F_PROFILE, ';'},
    {STR_INIT("filament_density"), F_DENSITY, ','},
    {STR_INIT("filament_diameter"), F_DIAMETER, ','},
    {STR_INIT("filament used [mm]"), F_LENGTH_MM, ','},
    {STR_INIT("filament used [cm3]"), F_VOLUME_CM3, ','},
    {STR_INIT("filament used [g]"), F_WEIGHT_G, ','},
    {STR_INIT("total filament used [g]"), F_TOTAL_WEIGHT_G, 0},
    {STR_INIT("objects_info"), F_OBJECTS_INFO, 0},
    {{NULL, 0}, FIELDS, 0},
};

/* What Bambu Studio and OrcaSlicer have beside or instead. */
static const struct gcode_key bambu_keys[] = {
    {STR_INIT("total estimated time"), F_TIME, 0},
    {STR_INIT("total layer number"), F_LAYER_COUNT, 0},
    {STR_INIT("max_z_height"), F_MAX_Z, 0},
    {STR_INIT("initial_layer_print_height"), F_FIRST_LAYER_HEIGHT, 0},
    {STR_INIT("curr_bed_type"), F_BED_TYPE, 0},
    {STR_INIT("nozzle_temperature"), F_NOZZLE_C, ','},
    {STR_INIT("nozzle_temperature_initial_layer"), F_NOZZLE_FIRST_C, ','},
    {STR_INIT("cool_plate_temp"), F_COOL_PLATE_C, ','},
    {STR_INIT("cool_plate_temp_initial_layer"), F_COOL_PLATE_FIRST_C, ','},
    {STR_INIT("hot_plate_temp"), F_HOT_PLATE_C, ','},
    {STR_INIT("hot_plate_temp_initial_layer"), F_HOT_PLATE_FIRST_C, ','},
    {STR_INIT("eng_plate_temp"), F_ENG_PLATE_C, ','},
    {STR_INIT("eng_plate_temp_initial_layer"), F_ENG_PLATE_FIRST_C, ','},
    {STR_INIT("textured_plate_temp"), F_TEXTURED_PLATE_C, ','},
    {STR_INIT("textured_plate_temp_initial_layer"), F_TEXTURED_PLATE_FIRST_C, ','},
    {STR_INIT("supertack_plate_temp"), F_SUPERTACK_PLATE_C, ','},
    {STR_INIT("supertack_plate_temp_initial_layer"), F_SUPERTACK_PLATE_FIRST_C, ','},
    {STR_INIT("chamber_temperatures"), F_CHAMBER_C, ','},
    {STR_INIT("filament"), F_USED, ','},
    {STR_INIT("total filament length [mm]"), F_LENGTH_MM, ','},
    {STR_INIT("total filament weight [g]"), F_WEIGHT_G, ','},
    {{NULL, 0}, FIELDS, 0},
};

/* The headers of CuraEngine, Griffin's among them, and what Cura users write into start G-code for
 * Klipper's front ends. */
static const struct gcode_key cura_keys[] = {
    {STR_INIT("TIME"), F_TIME, 0},
    {STR_INIT("PRINT.TIME"), F_TIME, 0},
    {STR_INIT("GENERATOR.VERSION"), F_SLICER_VERSION, 0},
    {STR_INIT("TARGET_MACHINE.NAME"), F_PRINTER_MODEL, 0},
    {STR_INIT("Layer height"), F_LAYER_HEIGHT, 0},
    {STR_INIT("LAYER_COUNT"), F_LAYER_COUNT, 0},
    {STR_INIT("EXTRUDER_TRAIN.#.NOZZLE.DIAMETER"), F_NOZZLE, 0},
    {STR_INIT("EXTRUDER_TRAIN.#.INITIAL_TEMPERATURE"), F_NOZZLE_FIRST_C, 0},
    {STR_INIT("EXTRUDER_TRAIN.#.MATERIAL.VOLUME_USED"), F_VOLUME_MM3, 0},
    {STR_INIT("BUILD_PLATE.INITIAL_TEMPERATURE"), F_BED_FIRST_C, 0},
    {STR_INIT("BUILD_VOLUME.TEMPERATURE"), F_CHAMBER_C, 0},
    {STR_INIT("Filament used"), F_LENGTH_M, ','},
    {STR_INIT("Filament type"), F_TYPE, ','},
    {STR_INIT("Filament name"), F_PROFILE, ','},
    {STR_INIT("Filament weight"), F_WEIGHT_G, ','},
    {STR_INIT("Nozzle diameter"), F_NOZZLE, ','},
    {STR_INIT("MINX"), F_MIN_X, 0},
    {STR_INIT("MINY"), F_MIN_Y, 0},
    {STR_INIT("MINZ"), F_MIN_Z, 0},
    {STR_INIT("MAXX"), F_MAX_X, 0},
    {STR_INIT("MAXY"), F_MAX_Y, 0},
    {STR_INIT("MAXZ"), F_BOX_MAX_Z, 0},
    {STR_INIT("PRINT.SIZE.MIN.X"), F_MIN_X, 0},
    {STR_INIT("PRINT.SIZE.MIN.Y"), F_MIN_Y, 0},
    {STR_INIT("PRINT.SIZE.MIN.Z"), F_MIN_Z, 0},
    {STR_INIT("PRINT.SIZE.MAX.X"), F_MAX_X, 0},
    {STR_INIT("PRINT.SIZE.MAX.Y"), F_MAX_Y, 0},
    {STR_INIT("PRINT.SIZE.MAX.Z"), F_BOX_MAX_Z, 0},
    {{NULL, 0}, FIELDS, 0},
};

/* Simplify3D: the settings' names are followed by a comma, those of its summary by a colon. */
static const struct gcode_key simplify3d_keys[] = {
    {STR_INIT("Build time"), F_TIME, 0},
    {STR_INIT("Build Time"), F_TIME, 0},
    {STR_INIT("profileName"), F_PRINTER_PROFILE, 0},
    {STR_INIT("printQuality"), F_PRINT_PROFILE, 0},
    {STR_INIT("layerHeight"), F_LAYER_HEIGHT, 0},
    {STR_INIT("extruderDiameter"), F_NOZZLE, ','},
    {STR_INIT("printMaterial"), F_TYPE, 0},
    {STR_INIT("filamentDiameters"), F_DIAMETER, '|'},
    {STR_INIT("filamentDensities"), F_DENSITY, '|'},
    {STR_INIT("Filament length"), F_TOTAL_LENGTH_MM, 0},
    {STR_INIT("Material Length"), F_TOTAL_LENGTH_MM, 0},
    {STR_INIT("Plastic weight"), F_TOTAL_WEIGHT_G, 0},
    {STR_INIT("Material Weight"), F_TOTAL_WEIGHT_G, 0},
    {{NULL, 0}, FIELDS, 0},
};

#define DESCENDANT slic3r_keys, bambu_keys

/* A longer mark before one that it begins with. */
static const struct gcode_slicer slicers[] = {
    {STR_INIT("generated by PrusaSlicer "), "PrusaSlicer", {slic3r_keys}},
    {STR_INIT("generated by SuperSlicer "), "SuperSlicer", {slic3r_keys}},
    {STR_INIT("generated by OrcaSlicer "), "OrcaSlicer", {DESCENDANT}},
    {STR_INIT("generated by Slic3r Prusa Edition "), "Slic3r PE", {slic3r_keys}},
    {STR_INIT("generated by BambuStudio "), "Bambu Studio", {DESCENDANT}},
    {STR_INIT("BambuStudio "), "Bambu Studio", {DESCENDANT}},
    {STR_INIT("Generated with Cura_SteamEngine "), "Cura", {cura_keys}},
    {STR_INIT("GENERATOR.NAME:Cura_SteamEngine"), "Cura", {cura_keys}},
    {STR_INIT("G-Code generated by Simplify3D(R) Version "), "Simplify3D", {simplify3d_keys}},
    {STR_INIT("generated by "), NULL, {DESCENDANT}},
};

/* While nobody has said which slicer it was. */
static const struct gcode_slicer anyone = {
    {NULL, 0}, NULL, {slic3r_keys, bambu_keys, cura_keys, simplify3d_keys}};

static void
found(struct gcode *g, const struct gcode_slicer *s, struct str rest)
{
	struct str first = str_cut(&rest, ' ');

	g->slicer = s;
	g->slicer_name = s->name ? str_from(s->name) : str_dup(g->m->arena, first);
	if (!s->name)
		first = str_cut(&rest, ' ');
	if (first.n && !g->slicer_version.n)
		g->slicer_version = str_dup(g->m->arena, first);
}

bool
gcode_slicer_mark(struct gcode *g, struct str comment)
{
	for (size_t i = 0; !g->slicer && i < sizeof(slicers) / sizeof(slicers[0]); i++) {
		struct str mark = slicers[i].mark;

		if (str_starts(comment, mark)) {
			found(g, &slicers[i], (struct str){comment.p + mark.n, comment.n - mark.n});
			return true;
		}
	}
	return false;
}

void
gcode_producer(struct gcode *g, struct str producer)
{
	gcode_slicer_mark(g, str_fmt(g->m->arena, "generated by %.*s ", STR_ARG(producer)));
}

/* Takes `name`, and a number where it has '#', off the start. */
static bool
take_name(struct str name, struct str *s, size_t *slot)
{
	size_t i = 0;

	*slot = 0;
	for (size_t k = 0; k < name.n; k++) {
		if (name.p[k] != '#') {
			if (i >= s->n || s->p[i++] != name.p[k])
				return false;
			continue;
		}
		for (; i < s->n && s->p[i] >= '0' && s->p[i] <= '9' && *slot < 1000; i++)
			*slot = *slot * 10 + (size_t)(s->p[i] - '0');
	}
	*s = (struct str){s->p + i, s->n - i};
	return *slot < GCODE_SLOTS_MOST;
}

/* " = value", ": value" or ",value". */
static bool
take_separator(struct str *s)
{
	*s = gcode_trim(*s);
	if (s->n == 0 || (s->p[0] != '=' && s->p[0] != ':' && s->p[0] != ','))
		return false;
	*s = gcode_trim((struct str){s->p + 1, s->n - 1});
	return true;
}

/* Settings in the configuration count more than what looks like one elsewhere; else the first does.
 */
static void
store(struct gcode *g, const struct gcode_key *k, size_t slot, struct str value, uint8_t rank)
{
	struct arena *a = g->m->arena;
	bool indexed = str_index(k->name, '#') >= 0;

	if (indexed ? g->item[k->field][slot].p != NULL : g->rank[k->field] >= rank)
		return;
	g->rank[k->field] = rank;
	g->settings++;
	if (indexed) {
		g->item[k->field][slot] = str_dup(a, value);
		g->n[k->field] = (uint8_t)(slot >= g->n[k->field] ? slot + 1 : g->n[k->field]);
	} else if (k->list) {
		g->n[k->field] = (uint8_t)gcode_list(
		    a, value, k->list, g->item[k->field], GCODE_SLOTS_MOST);
	} else {
		g->n[k->field] = (uint8_t)gcode_list(a, value, '\n', g->item[k->field], 1);
	}
}

bool
gcode_comment_setting(struct gcode *g, struct str comment)
{
	const struct gcode_slicer *s = g->slicer ? g->slicer : &anyone;
	size_t slot;

	for (size_t t = 0; t < sizeof(s->keys) / sizeof(s->keys[0]) && s->keys[t]; t++) {
		for (const struct gcode_key *k = s->keys[t]; k->name.p; k++) {
			struct str value = comment;

			if (comment.p[0] == k->name.p[0] && take_name(k->name, &value, &slot) &&
			    take_separator(&value)) {
				store(g, k, slot, value, g->in_config ? 2 : 1);
				return true;
			}
		}
	}
	return false;
}

void
gcode_setting(struct gcode *g, struct str key, struct str value)
{
	struct str line = str_fmt(g->m->arena, "%.*s = %.*s", STR_ARG(key), STR_ARG(value));

	gcode_comment_setting(g, line);
}
