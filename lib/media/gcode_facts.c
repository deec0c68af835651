#include <math.h>

#include "base/arena.h"
#include "media/gcode_parts.h"

#define NONE NAN

static struct str
text(const struct gcode *g, enum gcode_field f, size_t slot)
{
	return slot < g->n[f] ? g->item[f][slot] : STR_NONE;
}

/* The number at the start of the slot's value; brackets around it do not count. */
static double
number(const struct gcode *g, enum gcode_field f, size_t slot)
{
	struct str s = text(g, f, slot);
	double v;

	while (s.n && (s.p[0] == '[' || s.p[0] == ' '))
		s.p++, s.n--;
	return gcode_number(&s, &v) ? v : NONE;
}

/* A number that says nothing when it is not positive. */
static double
amount(const struct gcode *g, enum gcode_field f, size_t slot)
{
	double v = number(g, f, slot);

	return v > 0 ? v : NONE;
}

static double
or_else(double a, double b)
{
	return isnan(a) ? b : a;
}

static struct json_object *
whole(double v)
{
	return v >= 0 && v < 1e15 ? json_object_new_int64(llround(v)) : NULL;
}

static void
add(struct json_object *o, const char *name, struct json_object *v)
{
	if (v)
		json_object_object_add(o, name, v);
}

static struct json_object *
as_text(const struct gcode *g, enum gcode_field f)
{
	struct str s = text(g, f, 0);

	return s.n ? media_text(s) : NULL;
}

static struct json_object *
as_duration(const struct gcode *g, enum gcode_field f)
{
	double seconds;

	return gcode_duration(text(g, f, 0), &seconds) ? whole(seconds) : NULL;
}

/* All of them, or nothing: their places are what they are of. */
static struct json_object *
as_numbers(const struct gcode *g, enum gcode_field f)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < g->n[f]; i++) {
		struct json_object *v = media_number(number(g, f, i));

		if (v)
			json_object_array_add(list, v);
	}
	if (g->n[f] && json_object_array_length(list) == g->n[f])
		return list;
	json_object_put(list);
	return NULL;
}

static struct json_object *
as_positive(const struct gcode *g, enum gcode_field f)
{
	return media_number(amount(g, f, 0));
}

static const struct {
	const char *name;
	enum gcode_field field;
	struct json_object *(*make)(const struct gcode *g, enum gcode_field f);
} members[] = {
    {"printer_model", F_PRINTER_MODEL, as_text},
    {"printer_profile", F_PRINTER_PROFILE, as_text},
    {"print_profile", F_PRINT_PROFILE, as_text},
    {"estimated_time_s", F_TIME, as_duration},
    {"layer_height_mm", F_LAYER_HEIGHT, as_positive},
    {"nozzle_diameters_mm", F_NOZZLE, as_numbers},
    {"bed_type", F_BED_TYPE, as_text},
};

/* In mm, or as a share of the layer height: "75%". */
static double
first_layer_height(const struct gcode *g)
{
	struct str s = text(g, F_FIRST_LAYER_HEIGHT, 0);
	double v = amount(g, F_FIRST_LAYER_HEIGHT, 0);

	if (s.n && s.p[s.n - 1] == '%')
		v = v / 100 * amount(g, F_LAYER_HEIGHT, 0);
	return v;
}

static void
heights(const struct gcode *g, struct json_object *into)
{
	const struct gcode_moves *v = &g->moves;
	bool moved = !g->gap && v->any;
	double layers = amount(g, F_LAYER_COUNT, 0), first = first_layer_height(g);
	double top = or_else(amount(g, F_MAX_Z, 0), amount(g, F_BOX_MAX_Z, 0));

	if (moved) {
		layers = or_else(layers, v->layers ? v->layers : v->z_layers);
		first = or_else(first, v->z_first > 0 ? v->z_first : NONE);
		top = or_else(top, v->max[2] > 0 ? v->max[2] : NONE);
	}
	if (!g->n[F_LAYER_HEIGHT] && moved && v->z_layers > 1)
		add(into, "layer_height_mm", media_number(v->z_second - v->z_first));
	add(into, "first_layer_height_mm", media_number(first));
	add(into, "layer_count", whole(layers));
	add(into, "max_z_mm", media_number(top));
}

/* Bed temperatures by the plate that lies on it. */
static const struct {
	struct str bed_type;
	enum gcode_field rest, first;
} plates[] = {
    {STR_INIT("Cool Plate"), F_COOL_PLATE_C, F_COOL_PLATE_FIRST_C},
    {STR_INIT("Engineering Plate"), F_ENG_PLATE_C, F_ENG_PLATE_FIRST_C},
    {STR_INIT("High Temp Plate"), F_HOT_PLATE_C, F_HOT_PLATE_FIRST_C},
    {STR_INIT("Smooth PEI Plate"), F_HOT_PLATE_C, F_HOT_PLATE_FIRST_C},
    {STR_INIT("Textured PEI Plate"), F_TEXTURED_PLATE_C, F_TEXTURED_PLATE_FIRST_C},
    {STR_INIT("Supertack Plate"), F_SUPERTACK_PLATE_C, F_SUPERTACK_PLATE_FIRST_C},
};

static void
bed_fields(const struct gcode *g, enum gcode_field *rest, enum gcode_field *first)
{
	struct str type = text(g, F_BED_TYPE, 0);

	*rest = F_BED_C;
	*first = F_BED_FIRST_C;
	for (size_t i = 0; i < sizeof(plates) / sizeof(plates[0]); i++) {
		if (str_ieq(type, plates[i].bed_type)) {
			*rest = plates[i].rest;
			*first = plates[i].first;
		}
	}
}

/* The slots' settings, else what the commands asked of each tool; 0: nothing. */
static struct json_object *
nozzle_list(const struct gcode *g, enum gcode_field f, const double asked[GCODE_TOOLS_MOST])
{
	struct json_object *list = as_numbers(g, f);
	int n = 0;

	if (list)
		return list;
	for (int i = 0; i < GCODE_TOOLS_MOST; i++)
		n = asked[i] > 0 ? i + 1 : n;
	if (n == 0)
		return NULL;
	list = json_object_new_array();
	for (int i = 0; i < n; i++)
		json_object_array_add(list, media_number(asked[i]));
	return list;
}

static double
positive(double v)
{
	return v > 0 ? v : NONE;
}

static void
temperatures(const struct gcode *g, struct json_object *into)
{
	const struct gcode_moves *v = &g->moves;
	struct json_object *o = json_object_new_object();
	enum gcode_field rest, first;

	bed_fields(g, &rest, &first);
	add(o, "nozzle_c", nozzle_list(g, F_NOZZLE_C, v->nozzle));
	add(o, "nozzle_first_layer_c", nozzle_list(g, F_NOZZLE_FIRST_C, v->nozzle_first));
	add(o, "bed_c", media_number(or_else(number(g, rest, 0), positive(v->bed))));
	add(o, "bed_first_layer_c",
	    media_number(or_else(number(g, first, 0), positive(v->bed_first))));
	add(o, "chamber_c", media_number(or_else(number(g, F_CHAMBER_C, 0), positive(v->chamber))));
	if (json_object_object_length(o))
		json_object_object_add(into, "temperatures", o);
	else
		json_object_put(o);
}

struct usage {
	double length_mm, weight_g;
};

/* Amounts are listed for all slots, or for those that F_USED names (from 1 on). */
static size_t
place_of(const struct gcode *g, size_t slot)
{
	size_t amounts = g->n[F_LENGTH_MM] > g->n[F_WEIGHT_G] ? g->n[F_LENGTH_MM]
							      : g->n[F_WEIGHT_G];

	if (!g->n[F_USED] || g->n[F_USED] != amounts)
		return slot;
	for (size_t i = 0; i < g->n[F_USED]; i++)
		if (number(g, F_USED, i) == (double)(slot + 1))
			return i;
	return GCODE_SLOTS_MOST;
}

static double
diameter(const struct gcode *g, size_t slot)
{
	return or_else(amount(g, F_DIAMETER, slot), or_else(amount(g, F_DIAMETER, 0), 1.75));
}

/* mm² of the filament's section */
static double
section(const struct gcode *g, size_t slot)
{
	double d = diameter(g, slot);

	return M_PI / 4 * d * d;
}

/* What is not said is computed of the other figures. */
static struct usage
usage_of(const struct gcode *g, size_t slot)
{
	size_t i = place_of(g, slot);
	double density = amount(g, F_DENSITY, slot);
	double mm3 = or_else(amount(g, F_VOLUME_MM3, i), amount(g, F_VOLUME_CM3, i) * 1000);
	struct usage u = {
	    or_else(amount(g, F_LENGTH_MM, i), amount(g, F_LENGTH_M, i) * 1000),
	    amount(g, F_WEIGHT_G, i),
	};

	if (isnan(u.length_mm) && g->n[F_DIAMETER])
		u.length_mm = mm3 / section(g, slot);
	if (isnan(u.weight_g))
		u.weight_g = or_else(u.length_mm * section(g, slot), mm3) * density / 1000;
	return u;
}

/* "#RRGGBB" or "#RRGGBBAA", as "#RRGGBBAA". */
static struct json_object *
color(struct str s)
{
	char out[] = "#000000FF";

	if ((s.n != 7 && s.n != 9) || s.p[0] != '#')
		return NULL;
	for (size_t i = 1; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')))
			return NULL;
		out[i] = (char)(c >= 'a' ? c - 0x20 : c);
	}
	return json_object_new_string(out);
}

static struct json_object *
text_at(const struct gcode *g, enum gcode_field f, size_t slot)
{
	struct str s = text(g, f, slot);

	return s.n ? media_text(s) : NULL;
}

static struct json_object *
filament(const struct gcode *g, size_t slot, struct usage u)
{
	struct json_object *o = json_object_new_object(), *c = color(text(g, F_COLOR, slot));

	json_object_object_add(o, "slot", json_object_new_int((int)slot));
	json_object_object_add(o, "material", text_at(g, F_TYPE, slot));
	json_object_object_add(o, "color", c ? c : color(text(g, F_EXTRUDER_COLOR, slot)));
	json_object_object_add(o, "vendor", text_at(g, F_VENDOR, slot));
	json_object_object_add(o, "profile", text_at(g, F_PROFILE, slot));
	json_object_object_add(o, "weight_mg", whole(u.weight_g * 1000));
	json_object_object_add(o, "length_mm", media_number(u.length_mm));
	return o;
}

static size_t
count_slots(const struct gcode *g)
{
	static const enum gcode_field lists[] = {F_LENGTH_MM, F_LENGTH_M, F_VOLUME_MM3,
	    F_VOLUME_CM3, F_WEIGHT_G, F_TYPE, F_COLOR, F_PROFILE};
	size_t n = 0;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		n = g->n[lists[i]] > n ? g->n[lists[i]] : n;
	return n;
}

/* Slots that are used; all when nothing is said of any. A slot's total may be all that is known. */
static void
filaments(const struct gcode *g, struct json_object *into)
{
	struct json_object *list = json_object_new_array();
	struct usage all[GCODE_SLOTS_MOST], sum = {0, 0};
	double weight = amount(g, F_TOTAL_WEIGHT_G, 0), length = amount(g, F_TOTAL_LENGTH_MM, 0);
	size_t n = count_slots(g), used = 0;

	for (size_t i = 0; i < n; i++) {
		all[i] = usage_of(g, i);
		used += all[i].length_mm > 0 || all[i].weight_g > 0;
	}
	if (n == 1 && used == 0)
		all[0] = (struct usage){length, weight};
	for (size_t i = 0; i < n; i++) {
		if (used && !(all[i].length_mm > 0 || all[i].weight_g > 0))
			continue;
		json_object_array_add(list, filament(g, i, all[i]));
		sum.length_mm += all[i].length_mm;
		sum.weight_g += all[i].weight_g;
	}
	if (n)
		json_object_object_add(into, "filaments", list);
	else
		json_object_put(list);
	add(into, "filament_weight_mg", whole(or_else(weight, positive(sum.weight_g)) * 1000));
	add(into, "filament_length_mm", media_number(or_else(length, positive(sum.length_mm))));
}

/* Nothing was said: what the moves push through is at least a length. */
static void
extruded(const struct gcode *g, struct json_object *into)
{
	double sum = 0;

	for (int i = 0; i < GCODE_TOOLS_MOST; i++)
		sum += g->moves.extruded[i] > 0 ? g->moves.extruded[i] : 0;
	if (!g->gap && sum > 0 && !json_object_object_get(into, "filament_length_mm"))
		add(into, "filament_length_mm", media_number(sum));
}

static struct json_object *
corner(const double at[3])
{
	static const char *const names[] = {"x_mm", "y_mm", "z_mm"};
	struct json_object *o = json_object_new_object();

	for (int i = 0; i < 3; i++)
		json_object_object_add(o, names[i], media_number(at[i]));
	return o;
}

static void
box(const struct gcode *g, struct json_object *into)
{
	static const enum gcode_field least[] = {F_MIN_X, F_MIN_Y, F_MIN_Z};
	static const enum gcode_field most[] = {F_MAX_X, F_MAX_Y, F_BOX_MAX_Z};
	struct json_object *o;
	double min[3], max[3];
	bool good = true;

	for (int i = 0; i < 3; i++) {
		min[i] = number(g, least[i], 0);
		max[i] = number(g, most[i], 0);
		good = good && min[i] <= max[i] && fabs(min[i]) < 1e5 && fabs(max[i]) < 1e5;
	}
	if (!good && (g->gap || !g->moves.any))
		return;
	o = json_object_new_object();
	json_object_object_add(o, "min", corner(good ? min : g->moves.min));
	json_object_object_add(o, "max", corner(good ? max : g->moves.max));
	json_object_object_add(into, "bounding_box", o);
}

/* Binary G-code names its objects in JSON: {"objects": [{"name": "box.stl"}]} */
static void
objects_info(struct gcode *g)
{
	struct str s = text(g, F_OBJECTS_INFO, 0);
	struct json_tokener *t = json_tokener_new_ex(8);
	struct json_object *o = t && s.n ? json_tokener_parse_ex(t, s.p, (int)s.n) : NULL;
	struct json_object *list = NULL;

	if (json_object_is_type(o, json_type_object))
		list = json_object_object_get(o, "objects");
	for (size_t i = 0;
	     json_object_is_type(list, json_type_array) && i < json_object_array_length(list);
	     i++) {
		struct json_object *one = json_object_array_get_idx(list, i), *name = NULL;

		if (json_object_is_type(one, json_type_object))
			name = json_object_object_get(one, "name");
		if (json_object_is_type(name, json_type_string))
			gcode_object(g, 1, str_fmt(g->m->arena, "%zu", i),
			    str_from(json_object_get_string(name)));
	}
	json_object_put(o);
	if (t)
		json_tokener_free(t);
}

static void
objects(struct gcode *g, struct json_object *into)
{
	struct json_object *list;

	if (g->n[F_OBJECTS_INFO])
		objects_info(g);
	if (!g->n_objects)
		return;
	list = json_object_new_array();
	for (size_t i = 0; i < g->n_objects; i++) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "name", media_text(g->objects[i].name));
		json_object_object_add(o, "plate", g->plate ? json_object_new_int(g->plate) : NULL);
		json_object_array_add(list, o);
	}
	json_object_object_add(into, "objects", list);
}

static void
slicer(const struct gcode *g, struct json_object *into)
{
	struct str version = g->slicer_version.n ? g->slicer_version : text(g, F_SLICER_VERSION, 0);
	struct json_object *o;

	if (!g->slicer)
		return;
	o = json_object_new_object();
	json_object_object_add(o, "name", media_text(g->slicer_name));
	json_object_object_add(o, "version", version.n ? media_text(version) : NULL);
	json_object_object_add(into, "slicer", o);
}

void
gcode_facts(struct gcode *g, struct json_object *into)
{
	slicer(g, into);
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		add(into, members[i].name, members[i].make(g, members[i].field));
	heights(g, into);
	temperatures(g, into);
	filaments(g, into);
	extruded(g, into);
	box(g, into);
	objects(g, into);
}
