#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "media/gcode.h"
#include "media/threemf.h"

enum {
	GCODE_HEAD = 1 << 20,  /* of one plate */
	GCODE_MOST = 32 << 20, /* of all plates */
	KEPT_MOST = 4 << 20,   /* bytes of texts */
	ID_MOST = 32
};

/* What one slot gives, in a plate or in all. */
struct filament {
	int slot; /* from 1; 0: unused */
	struct str material, color;
	double g, m;
};

struct plate {
	int index; /* from 1; 0: unused */
	struct str name, bed_type;
	double time_s, weight_g;
	bool has_time, has_weight, has_gcode;
	struct filament filaments[THREEMF_SLOTS_MOST];
	size_t n_filaments;
	struct json_object *objects;
	int thumbnail; /* -1: none */
};

struct plates {
	struct threemf *t;
	struct plate list[THREEMF_PLATES_MOST];
	size_t n;
	struct plate *plate;       /* the one being read */
	struct str object_id;      /* of the object being read */
	struct json_object *names; /* of objects, by their id */
	size_t n_objects;
	struct str printer_id, nozzles;
	size_t kept, gcode_left;
	int depth;
};

/* Bambu Lab's codes for its printers. */
static const struct {
	struct str id, name;
} printers[] = {
    {STR_INIT("BL-P001"), STR_INIT("Bambu Lab X1 Carbon")},
    {STR_INIT("BL-P002"), STR_INIT("Bambu Lab X1")},
    {STR_INIT("C13"), STR_INIT("Bambu Lab X1E")},
    {STR_INIT("C11"), STR_INIT("Bambu Lab P1P")},
    {STR_INIT("C12"), STR_INIT("Bambu Lab P1S")},
    {STR_INIT("N7"), STR_INIT("Bambu Lab P2S")},
    {STR_INIT("N1"), STR_INIT("Bambu Lab A1 mini")},
    {STR_INIT("N2S"), STR_INIT("Bambu Lab A1")},
    {STR_INIT("O1D"), STR_INIT("Bambu Lab H2D")},
    {STR_INIT("O1C"), STR_INIT("Bambu Lab H2C")},
    {STR_INIT("O1S"), STR_INIT("Bambu Lab H2S")},
};

static struct plate *
plate_of(struct plates *s, int64_t index)
{
	if (index < 1 || index > 9999)
		return NULL;
	for (size_t i = 0; i < s->n; i++)
		if (s->list[i].index == index)
			return &s->list[i];
	if (s->n == THREEMF_PLATES_MOST)
		return NULL;
	s->list[s->n] = (struct plate){
	    .index = (int)index, .objects = json_object_new_array(), .thumbnail = -1};
	return &s->list[s->n++];
}

/* A finite number that is not negative. */
static bool
amount(struct str s, double *out)
{
	char *end;

	if (!s.n)
		return false;
	*out = strtod(s.p, &end); /* attributes end with a NUL */
	return end == s.p + s.n && *out >= 0 && *out < 1e9;
}

static struct str
keep(struct plates *s, struct str text)
{
	if (text.n > MEDIA_TEXT_MOST)
		text.n = MEDIA_TEXT_MOST;
	s->kept += text.n + 1;
	return text.n && s->kept <= KEPT_MOST ? str_dup(s->t->m->arena, text) : STR_NONE;
}

static void
add_object(struct plates *s, struct plate *p, struct json_object *name)
{
	struct json_object *o;

	if (s->n_objects++ >= THREEMF_NAMES_MOST || !name)
		return;
	o = json_object_new_object();
	json_object_object_add(o, "name", name);
	json_object_object_add(o, "plate", json_object_new_int(p->index));
	json_object_array_add(p->objects, o);
}

/* --- model_settings.config -------------------------------------------------------------------- */

static void
plate_setting(struct plates *s, struct str key, struct str value)
{
	struct json_object *name = NULL;
	int64_t index;

	if (str_eq(key, STR("plater_id")))
		s->plate = str_to_i64(value, &index) ? plate_of(s, index) : NULL;
	if (!s->plate)
		return;
	if (str_eq(key, STR("plater_name")))
		s->plate->name = keep(s, value);
	else if (str_eq(key, STR("bed_type")))
		s->plate->bed_type = keep(s, value);
	else if (str_eq(key, STR("object_id")) && value.n <= ID_MOST &&
	    json_object_object_get_ex(s->names, str_z(s->t->m->arena, value), &name))
		add_object(s, s->plate, json_object_get(name));
}

static bool
on_model_setting(void *ctx, struct str name, const char *const *attributes)
{
	struct plates *s = ctx;
	struct str key = xml_attribute(attributes, STR("key"));
	struct str value = xml_attribute(attributes, STR("value"));

	s->depth++;
	if (str_eq(name, STR("object"))) {
		s->object_id = keep(s, xml_attribute(attributes, STR("id")));
	} else if (str_eq(name, STR("plate"))) {
		s->object_id = STR_NONE;
		s->plate = NULL;
	} else if (!str_eq(name, STR("metadata"))) {
		return true;
	} else if (!s->object_id.n) {
		plate_setting(s, key, value);
	} else if (s->depth == 3 && str_eq(key, STR("name")) &&
	    json_object_object_length(s->names) < THREEMF_NAMES_MOST) {
		json_object_object_add(
		    s->names, str_z(s->t->m->arena, s->object_id), media_text(value));
	}
	return true;
}

static void
on_model_setting_end(void *ctx, struct str name)
{
	struct plates *s = ctx;

	s->depth--;
	if (str_eq(name, STR("object")))
		s->object_id = STR_NONE;
}

/* --- slice_info.config ------------------------------------------------------------------------ */

static void
slice_setting(struct plates *s, struct str key, struct str value)
{
	int64_t index;

	if (str_eq(key, STR("index")))
		s->plate = str_to_i64(value, &index) ? plate_of(s, index) : NULL;
	else if (str_eq(key, STR("printer_model_id")))
		s->printer_id = keep(s, value);
	else if (str_eq(key, STR("nozzle_diameters")))
		s->nozzles = keep(s, value);
	else if (s->plate && str_eq(key, STR("prediction")))
		s->plate->has_time = amount(value, &s->plate->time_s);
	else if (s->plate && str_eq(key, STR("weight")))
		s->plate->has_weight = amount(value, &s->plate->weight_g);
}

static void
slice_filament(struct plates *s, const char *const *attributes)
{
	struct plate *p = s->plate;
	struct filament f = {.slot = 0};
	int64_t slot;

	if (!p || p->n_filaments == THREEMF_SLOTS_MOST ||
	    !str_to_i64(xml_attribute(attributes, STR("id")), &slot) || slot < 1 ||
	    slot > THREEMF_SLOTS_MOST)
		return;
	f.slot = (int)slot;
	f.material = keep(s, xml_attribute(attributes, STR("type")));
	f.color = keep(s, xml_attribute(attributes, STR("color")));
	if (!amount(xml_attribute(attributes, STR("used_g")), &f.g))
		f.g = 0;
	if (!amount(xml_attribute(attributes, STR("used_m")), &f.m))
		f.m = 0;
	p->filaments[p->n_filaments++] = f;
}

static bool
on_slice_info(void *ctx, struct str name, const char *const *attributes)
{
	struct plates *s = ctx;

	if (str_eq(name, STR("plate")))
		s->plate = NULL;
	else if (str_eq(name, STR("metadata")))
		slice_setting(s, xml_attribute(attributes, STR("key")),
		    xml_attribute(attributes, STR("value")));
	else if (str_eq(name, STR("filament")))
		slice_filament(s, attributes);
	return true;
}

/* --- each plate's own entries ----------------------------------------------------------------- */

struct head {
	struct gcode *g;
	size_t left;
};

static bool
feed_head(void *ctx, struct str bytes)
{
	struct head *h = ctx;
	size_t n = bytes.n < h->left ? bytes.n : h->left;

	gcode_feed(h->g, (struct str){bytes.p, n});
	h->left -= n;
	return h->left > 0;
}

/* The G-code says what the slicer's other parts leave out: layers, temperatures. */
static void
read_gcode(struct plates *s, struct plate *p)
{
	struct str name = str_fmt(s->t->m->arena, "Metadata/plate_%d.gcode", p->index);
	ptrdiff_t i = threemf_part(s->t, name);
	struct json_object *found, *v = NULL;
	struct head h = {.left = GCODE_HEAD < s->gcode_left ? GCODE_HEAD : s->gcode_left};

	if (i < 0)
		return;
	s->gcode_left -= h.left;
	p->has_gcode = true;
	found = json_object_new_object();
	h.g = gcode_new(s->t->m, p->index);
	if (!h.left || !unzip_each(s->t->z, i, feed_head, &h))
		gcode_gap(h.g);
	gcode_end(h.g, found);
	if (!p->has_time && json_object_object_get_ex(found, "estimated_time_s", &v) && v) {
		p->time_s = json_object_get_double(v);
		p->has_time = true;
	}
	if (!p->has_weight && json_object_object_get_ex(found, "filament_weight_mg", &v) && v) {
		p->weight_g = json_object_get_double(v) / 1000;
		p->has_weight = true;
	}
	/* These are of the plate, not of the file. */
	json_object_object_del(found, "estimated_time_s");
	json_object_object_del(found, "filament_weight_mg");
	json_object_object_del(found, "filament_length_mm");
	json_object_object_del(found, "filaments");
	json_object_object_del(found, "objects");
	json_object_object_del(found, "plates");
	threemf_merge(s->t, found);
}

/* Each plate's own picture first: there may be more pictures than are kept. */
static void
read_pictures(struct plates *s)
{
	struct arena *a = s->t->m->arena;

	for (size_t i = 0; i < s->n; i++) {
		struct plate *p = &s->list[i];
		size_t before = s->t->m->n_thumbnails;

		threemf_picture(s->t, p->index, str_fmt(a, "Metadata/plate_%d.png", p->index));
		if (s->t->m->n_thumbnails > before)
			p->thumbnail = (int)before;
	}
	for (size_t i = 0; i < s->n; i++) {
		int n = s->list[i].index;

		threemf_picture(s->t, n, str_fmt(a, "Metadata/plate_%d_small.png", n));
		threemf_picture(s->t, n, str_fmt(a, "Metadata/top_%d.png", n));
	}
}

static void
read_plate_json(struct plates *s, struct plate *p)
{
	struct json_object *o = threemf_json(
	    s->t, str_fmt(s->t->m->arena, "Metadata/plate_%d.json", p->index));
	struct json_object *list = NULL, *v = NULL;

	if (!json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		return;
	}
	if (!p->bed_type.n && json_object_object_get_ex(o, "bed_type", &v) &&
	    json_object_is_type(v, json_type_string))
		p->bed_type = keep(s, str_from(json_object_get_string(v)));
	if (!json_object_array_length(p->objects) &&
	    json_object_object_get_ex(o, "bbox_objects", &list) &&
	    json_object_is_type(list, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(list); i++)
			if (json_object_object_get_ex(
				json_object_array_get_idx(list, i), "name", &v) &&
			    json_object_is_type(v, json_type_string))
				add_object(s, p, media_text(str_from(json_object_get_string(v))));
	}
	json_object_put(o);
}

/* Plates that only their files tell of: plate_7.gcode, plate_7.png. */
static void
find_plates(struct plates *s)
{
	for (size_t i = 0; i < unzip_count(s->t->z); i++) {
		struct str name = unzip_name(s->t->z, i);
		int64_t index;

		if (!str_starts(name, STR("Metadata/plate_")))
			continue;
		name.p += sizeof("Metadata/plate_") - 1;
		name.n -= sizeof("Metadata/plate_") - 1;
		if (str_to_i64(str_cut(&name, '.'), &index) &&
		    (str_eq(name, STR("gcode")) || str_eq(name, STR("png"))))
			plate_of(s, index);
	}
}

/* --- as JSON ---------------------------------------------------------------------------------- */

static struct json_object *
mg(double g)
{
	return json_object_new_int64(llround(g * 1000));
}

static bool
is_hex(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!((s.p[i] >= '0' && s.p[i] <= '9') ||
			((s.p[i] | 0x20) >= 'a' && (s.p[i] | 0x20) <= 'f')))
			return false;
	return true;
}

/* "#RRGGBB" or "#RRGGBBAA" with alpha, in upper case. */
static struct json_object *
color_json(struct str s)
{
	char text[10] = "#000000FF";

	if ((s.n != 7 && s.n != 9) || s.p[0] != '#' || !is_hex((struct str){s.p + 1, s.n - 1}))
		return NULL;
	for (size_t i = 1; i < s.n; i++)
		text[i] = (char)(s.p[i] >= 'a' ? s.p[i] - 'a' + 'A' : s.p[i]);
	return json_object_new_string(text);
}

static struct json_object *
filaments_json(const struct filament *list, size_t n)
{
	struct json_object *all = json_object_new_array();

	for (size_t i = 0; i < n; i++) {
		const struct filament *f = &list[i];
		struct json_object *o;

		if (!f->slot)
			continue;
		o = json_object_new_object();
		json_object_object_add(o, "slot", json_object_new_int(f->slot - 1));
		json_object_object_add(
		    o, "material", f->material.n ? media_text(f->material) : NULL);
		json_object_object_add(o, "color", color_json(f->color));
		json_object_object_add(o, "weight_mg", mg(f->g));
		json_object_object_add(o, "length_mm", media_number(f->m * 1000));
		json_object_array_add(all, o);
	}
	return all;
}

static struct json_object *
plate_json(const struct plate *p)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "index", json_object_new_int(p->index));
	json_object_object_add(o, "name", p->name.n ? media_text(p->name) : NULL);
	json_object_object_add(
	    o, "estimated_time_s", p->has_time ? json_object_new_int64(llround(p->time_s)) : NULL);
	json_object_object_add(o, "filament_weight_mg", p->has_weight ? mg(p->weight_g) : NULL);
	json_object_object_add(o, "bed_type", p->bed_type.n ? media_text(p->bed_type) : NULL);
	json_object_object_add(o, "filaments", filaments_json(p->filaments, p->n_filaments));
	json_object_object_add(o, "objects", json_object_get(p->objects));
	json_object_object_add(
	    o, "thumbnail", p->thumbnail >= 0 ? json_object_new_int(p->thumbnail) : NULL);
	return o;
}

static int
by_index(const void *a, const void *b)
{
	const struct plate *x = a, *y = b;

	return (x->index > y->index) - (x->index < y->index);
}

/* What all plates take together. */
static void
sum_up(struct plates *s, struct json_object *meta)
{
	struct filament sum[THREEMF_SLOTS_MOST] = {{.slot = 0}};
	double time_s = 0, g = 0, m = 0;
	bool has_time = false, has_weight = false, has_filament = false;

	for (size_t i = 0; i < s->n; i++) {
		const struct plate *p = &s->list[i];

		has_time = has_time || p->has_time;
		has_weight = has_weight || p->has_weight;
		time_s += p->time_s;
		g += p->weight_g;
		for (size_t k = 0; k < p->n_filaments; k++) {
			const struct filament *f = &p->filaments[k];
			double before_g = sum[f->slot - 1].g, before_m = sum[f->slot - 1].m;

			sum[f->slot - 1] = *f;
			sum[f->slot - 1].g += before_g;
			sum[f->slot - 1].m += before_m;
			m += f->m;
			has_filament = true;
		}
	}
	if (has_time)
		json_object_object_add(
		    meta, "estimated_time_s", json_object_new_int64(llround(time_s)));
	if (has_weight)
		json_object_object_add(meta, "filament_weight_mg", mg(g));
	if (has_filament) {
		json_object_object_add(meta, "filament_length_mm", media_number(m * 1000));
		json_object_object_add(meta, "filaments", filaments_json(sum, THREEMF_SLOTS_MOST));
	}
}

static void
add_printer(struct plates *s, struct json_object *meta)
{
	struct json_object *list;
	struct str rest = s->nozzles;

	for (size_t i = 0; i < sizeof(printers) / sizeof(printers[0]); i++)
		if (str_eq(s->printer_id, printers[i].id))
			json_object_object_add(meta, "printer_model", media_text(printers[i].name));
	if (!rest.n)
		return;
	list = json_object_new_array();
	while (rest.n && json_object_array_length(list) < THREEMF_SLOTS_MOST) {
		char *text = str_z(s->t->m->arena, str_cut(&rest, ','));
		double d;

		if (amount(str_from(text), &d))
			json_object_array_add(list, media_number(d));
	}
	json_object_object_add(meta, "nozzle_diameters_mm", list);
}

static void
describe(struct plates *s)
{
	struct json_object *meta = media_meta(s->t->m), *list, *objects;

	add_printer(s, meta);
	if (!s->n)
		return;
	list = json_object_new_array();
	objects = json_object_new_array();
	for (size_t i = 0; i < s->n; i++) {
		struct plate *p = &s->list[i];

		json_object_array_add(list, plate_json(p));
		for (size_t k = 0; k < json_object_array_length(p->objects); k++)
			json_object_array_add(
			    objects, json_object_get(json_object_array_get_idx(p->objects, k)));
		if (p->has_gcode)
			s->t->m->kind = "gcode_3mf";
	}
	json_object_object_add(meta, "plates", list);
	if (json_object_array_length(objects))
		json_object_object_add(meta, "objects", json_object_get(objects));
	json_object_put(objects);
	sum_up(s, meta);
}

static void
read_config(struct plates *s, struct str name, const struct xml_events *events)
{
	ptrdiff_t i = threemf_part(s->t, name);

	s->plate = NULL;
	if (i >= 0)
		xml_read(s->t->m, s->t->z, i, events, s);
}

static void
release(void *p)
{
	struct plates *s = p;

	for (size_t i = 0; i < s->n; i++)
		json_object_put(s->list[i].objects);
	json_object_put(s->names);
}

void
threemf_plates(struct threemf *t)
{
	static const struct xml_events model = {on_model_setting, on_model_setting_end, NULL};
	static const struct xml_events slice = {on_slice_info, NULL, NULL};
	struct plates *s = ARENA_NEW(t->m->arena, struct plates);

	s->t = t;
	s->names = json_object_new_object();
	s->gcode_left = GCODE_MOST;
	arena_defer(t->m->arena, release, s);
	read_config(s, STR("Metadata/model_settings.config"), &model);
	read_config(s, STR("Metadata/slice_info.config"), &slice);
	find_plates(s);
	qsort(s->list, s->n, sizeof(s->list[0]), by_index);
	read_pictures(s);
	for (size_t i = 0; i < s->n; i++) {
		read_plate_json(s, &s->list[i]);
		read_gcode(s, &s->list[i]);
	}
	describe(s);
}
