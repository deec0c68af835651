#include "media/preset_fields.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"

/* How a value is written in the file, and what it becomes. */
enum field_kind {
	TEXT,
	NUMBER,
	MINOR, /* money: "36.29" is 3629 */
	COLOR, /* "#RRGGBB" is "#RRGGBBFF" */
	NOZZLES,
	BED /* corners under the first key, the height under the second */
};

struct preset_field {
	const char *attribute;
	enum field_kind kind;
	const char *orca, *prusa;
	const char *orca_height, *prusa_height;
	bool list; /* OrcaSlicer has one value per extruder */
};

static const struct preset_field filament_fields[] = {
    {"vendor", TEXT, "filament_vendor", "filament_vendor", NULL, NULL, true},
    {"material", TEXT, "filament_type", "filament_type", NULL, NULL, true},
    {"color", COLOR, "default_filament_colour", "filament_colour", NULL, NULL, true},
    {"density_g_cm3", NUMBER, "filament_density", "filament_density", NULL, NULL, true},
    {"diameter_mm", NUMBER, "filament_diameter", "filament_diameter", NULL, NULL, true},
    {"cost_per_kg", MINOR, "filament_cost", "filament_cost", NULL, NULL, true},
    {"nozzle_temperature_c", NUMBER, "nozzle_temperature", "temperature", NULL, NULL, true},
    {"first_layer_nozzle_temperature_c", NUMBER, "nozzle_temperature_initial_layer",
	"first_layer_temperature", NULL, NULL, true},
    {"bed_temperature_c", NUMBER, "hot_plate_temp", "bed_temperature", NULL, NULL, true},
    {"first_layer_bed_temperature_c", NUMBER, "hot_plate_temp_initial_layer",
	"first_layer_bed_temperature", NULL, NULL, true},
    {"max_volumetric_speed_mm3_s", NUMBER, "filament_max_volumetric_speed",
	"filament_max_volumetric_speed", NULL, NULL, true},
    {NULL, TEXT, NULL, NULL, NULL, NULL, false},
};

static const struct preset_field printer_fields[] = {
    {"vendor", TEXT, "printer_vendor", "printer_vendor", NULL, NULL, false},
    {"model", TEXT, "printer_model", "printer_model", NULL, NULL, false},
    {"bed_volume", BED, "printable_area", "bed_shape", "printable_height", "max_print_height",
	true},
    {"nozzles", NOZZLES, "nozzle_diameter", "nozzle_diameter", NULL, NULL, true},
    {"gcode_flavor", TEXT, "gcode_flavor", "gcode_flavor", NULL, NULL, false},
    {NULL, TEXT, NULL, NULL, NULL, NULL, false},
};

static const struct preset_field *
fields_of(enum preset_kind kind)
{
	return kind == PRESET_FILAMENT ? filament_fields : printer_fields;
}

static void
put_object(void *p)
{
	json_object_put(p);
}

struct json_object *
preset_object(struct arena *a, struct json_object *o)
{
	arena_defer(a, put_object, o);
	return o;
}

struct str
preset_unquote(struct str s)
{
	s = str_trim(s);
	if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
		return (struct str){s.p + 1, s.n - 2};
	return s;
}

/* --- reading ---------------------------------------------------------------------------------- */

enum { NUMBER_MOST = 100000, TEXT_MOST = 120, NOZZLES_MOST = 16 };

/* A number that begins the text and is followed by its end or by one of `ends`. */
static bool
read_number(struct arena *a, struct str s, const char *ends, double *out)
{
	char *z = str_z(a, str_trim(s)), *end;

	*out = strtod(z, &end);
	while (*end == ' ')
		end++;
	for (const char *e = ends; *e && *end; e++) {
		if (*end == *e)
			return end > z && isfinite(*out) && *out >= 0 && *out <= NUMBER_MOST;
	}
	return end > z && !*end && isfinite(*out) && *out >= 0 && *out <= NUMBER_MOST;
}

/* Whole numbers as such, so that equal values are equal objects. */
static struct json_object *
number(double v)
{
	char text[40];

	if (v == floor(v))
		return json_object_new_int64((int64_t)v);
	snprintf(text, sizeof(text), "%.10g", v);
	return json_object_new_double_s(v, text);
}

static struct json_object *
read_text(struct str s)
{
	struct str first = s;

	first = preset_unquote(str_cut(&first, ';'));
	return first.n && first.n <= TEXT_MOST ? json_object_new_string_len(first.p, (int)first.n)
					       : NULL;
}

static struct json_object *
read_color(struct str s)
{
	char out[9] = "#000000FF";

	s = preset_unquote(s);
	if ((s.n != 7 && s.n != 9) || s.p[0] != '#')
		return NULL;
	for (size_t i = 1; i < s.n; i++) {
		char c = s.p[i];

		if (c >= 'a' && c <= 'f')
			c = (char)(c - 'a' + 'A');
		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F')))
			return NULL;
		out[i] = c;
	}
	return json_object_new_string_len(out, (int)sizeof(out));
}

static struct json_object *
read_nozzles(struct arena *a, struct str s)
{
	struct json_object *all = json_object_new_array();

	while (s.n && json_object_array_length(all) < NOZZLES_MOST) {
		double mm;
		struct json_object *one;

		if (!read_number(a, str_cut(&s, ','), "", &mm) || mm < 0.05 || mm > 10)
			continue;
		one = json_object_new_object();
		json_object_object_add(one, "diameter_mm", number(mm));
		json_object_array_add(all, one);
	}
	if (json_object_array_length(all))
		return all;
	json_object_put(all);
	return NULL;
}

/* The extent of corners "0x0,250x0,250x210,0x210" along one axis; below 1 when there is none. */
static double
extent(struct arena *a, struct str corners, bool second)
{
	double least = HUGE_VAL, most = -HUGE_VAL;

	while (corners.n) {
		struct str y = str_cut(&corners, ','), x = str_cut(&y, 'x');
		char *z = str_z(a, str_trim(second ? y : x)), *end;
		double v = strtod(z, &end);

		if (end == z || *end || !isfinite(v))
			return 0;
		least = fmin(least, v);
		most = fmax(most, v);
	}
	return most - least;
}

static struct json_object *
read_bed(struct arena *a, struct str corners, struct str height)
{
	static const char *const names[] = {"x_mm", "y_mm", "z_mm"};
	double mm[3] = {extent(a, corners, false), extent(a, corners, true), 0};
	struct json_object *bed;

	if (!read_number(a, height, ",", &mm[2]))
		return NULL;
	for (size_t i = 0; i < 3; i++) {
		if (!(mm[i] >= 1 && mm[i] <= 10000))
			return NULL;
	}
	bed = json_object_new_object();
	for (size_t i = 0; i < 3; i++)
		json_object_object_add(bed, names[i], number(mm[i]));
	return bed;
}

static struct json_object *
read_field(const struct preset_field *f, const struct preset_lookup *l)
{
	bool orca = l->format == PRESET_JSON;
	struct str s = l->get(l, orca ? f->orca : f->prusa);
	double v;

	if (!s.p)
		return NULL;
	switch (f->kind) {
	case TEXT:
		return read_text(s);
	case NUMBER:
		return read_number(l->arena, s, ",%", &v) ? number(v) : NULL;
	case MINOR:
		return read_number(l->arena, s, ",", &v) ? number(floor(v * 100 + 0.5)) : NULL;
	case COLOR:
		return read_color(s);
	case NOZZLES:
		return read_nozzles(l->arena, s);
	case BED:
		return read_bed(l->arena, s, l->get(l, orca ? f->orca_height : f->prusa_height));
	}
	return NULL;
}

struct json_object *
preset_attributes(enum preset_kind kind, const struct preset_lookup *l)
{
	struct json_object *out = preset_object(l->arena, json_object_new_object());

	for (const struct preset_field *f = fields_of(kind); f->attribute; f++) {
		struct json_object *v = read_field(f, l);

		if (v)
			json_object_object_add(out, f->attribute, v);
	}
	return out;
}

/* --- writing ---------------------------------------------------------------------------------- */

static double
member(struct json_object *o, const char *name)
{
	return json_object_get_double(json_object_object_get(o, name));
}

static struct str
nozzles_text(struct arena *a, struct json_object *all)
{
	struct str out = STR("");

	for (size_t i = 0; i < json_object_array_length(all); i++)
		out = str_fmt(a, "%.*s%s%.10g", STR_ARG(out), i ? "," : "",
		    member(json_object_array_get_idx(all, i), "diameter_mm"));
	return out;
}

static struct str
field_text(struct arena *a, const struct preset_field *f, struct json_object *v)
{
	struct str s = str_from(json_object_get_string(v));
	double x, y;

	switch (f->kind) {
	case TEXT:
		return s;
	case NUMBER:
		return str_fmt(a, "%.10g", json_object_get_double(v));
	case MINOR:
		return str_fmt(a, "%.2f", json_object_get_double(v) / 100);
	case COLOR:
		return s.n == 9 && str_eq((struct str){s.p + 7, 2}, STR("FF"))
		    ? (struct str){s.p, 7}
		    : s;
	case NOZZLES:
		return nozzles_text(a, v);
	case BED:
		x = member(v, "x_mm");
		y = member(v, "y_mm");
		return str_fmt(a, "0x0,%.10gx0,%.10gx%.10g,0x%.10g", x, x, y, y);
	}
	return STR_NONE;
}

/* OrcaSlicer's lists are lists, PrusaSlicer's are texts with commas. */
static struct json_object *
setting(struct str text, bool list)
{
	struct json_object *out;

	if (!list)
		return json_object_new_string_len(text.p, (int)text.n);
	out = json_object_new_array();
	while (text.n) {
		struct str one = str_cut(&text, ',');

		json_object_array_add(out, json_object_new_string_len(one.p, (int)one.n));
	}
	return out;
}

static void
put_field(struct arena *a, const struct preset_field *f, struct json_object *v, bool orca,
    struct json_object *settings)
{
	struct str text = field_text(a, f, v);
	const char *height = orca ? f->orca_height : f->prusa_height;

	json_object_object_add(settings, orca ? f->orca : f->prusa, setting(text, orca && f->list));
	if (height) {
		text = str_fmt(a, "%.10g", member(v, "z_mm"));
		json_object_object_add(settings, height, setting(text, false));
	}
}

void
preset_put_attributes(struct arena *a, const struct preset *p, struct json_object *unless,
    enum preset_format format, struct json_object *settings)
{
	bool orca = format == PRESET_JSON;

	for (const struct preset_field *f = fields_of(p->kind); f->attribute; f++) {
		struct json_object *now = json_object_object_get(p->attributes, f->attribute);
		struct json_object *then = unless ? json_object_object_get(unless, f->attribute)
						  : NULL;

		if (unless && json_object_equal(now, then))
			continue;
		if (now)
			put_field(a, f, now, orca, settings);
		else if (unless)
			json_object_object_del(settings, orca ? f->orca : f->prusa);
	}
}
