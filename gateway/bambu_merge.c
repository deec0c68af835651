/* Merging of Bambu reports: objects deep, scalars replace, AMS units and trays by id, other lists
 * as a whole. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/bambu_state.h"
#include "gateway/reading.h"

enum field_kind {
	K_INT,    /* int32_t */
	K_BITS,   /* the low 32 bits of a number, as int32_t */
	K_TENTHS, /* a number, kept as tenths in int32_t */
	K_TEXT,   /* char[size] */
	K_CUSTOM  /* take() decides */
};

/* A key that is understood. Tables are sorted by name; other keys of a report are passed over. */
struct field {
	const char *name;
	enum field_kind kind;
	size_t offset, size;
	uint32_t parts;
	uint32_t (*take)(void *base, struct json_object *v);
};

#define AT(type, member) offsetof(type, member), sizeof(((type *)0)->member)
#define S(member) AT(struct bambu_state, member)
#define N_OF(table) (sizeof(table) / sizeof((table)[0]))

static int
by_name(const void *name, const void *f)
{
	return strcmp(name, ((const struct field *)f)->name);
}

static uint32_t
put_i32(void *at, int32_t v, uint32_t parts)
{
	if (memcmp(at, &v, sizeof(v)) == 0)
		return 0;
	memcpy(at, &v, sizeof(v));
	return parts;
}

static uint32_t
take_int(const struct field *f, void *at, struct json_object *v)
{
	int64_t n;

	if (!reading_i64(v, &n))
		return 0;
	if (f->kind == K_BITS)
		return n < INT32_MIN || n > UINT32_MAX
		    ? 0
		    : put_i32(at, (int32_t)(uint32_t)n, f->parts);
	return n <= INT32_MIN || n > INT32_MAX ? 0 : put_i32(at, (int32_t)n, f->parts);
}

static uint32_t
take_tenths(const struct field *f, void *at, struct json_object *v)
{
	double d;

	if (!reading_double(v, &d) || fabs(d) > 10000)
		return 0;
	return put_i32(at, (int32_t)lround(d * 10), f->parts);
}

static uint32_t
take_text(const struct field *f, void *at, struct json_object *v)
{
	char text[256];

	must(f->size <= sizeof(text));
	if (!reading_text(v, text, f->size) || memcmp(at, text, f->size) == 0)
		return 0;
	memcpy(at, text, f->size);
	return f->parts;
}

static uint32_t
take_field(const struct field *f, void *base, struct json_object *v)
{
	void *at = (char *)base + f->offset;

	switch (f->kind) {
	case K_INT:
	case K_BITS:
		return take_int(f, at, v);
	case K_TENTHS:
		return take_tenths(f, at, v);
	case K_TEXT:
		return take_text(f, at, v);
	case K_CUSTOM:
		return f->take(base, v);
	}
	return 0;
}

static uint32_t
merge_object(const struct field *table, size_t n, void *base, struct json_object *v)
{
	uint32_t parts = 0;

	if (!json_object_is_type(v, json_type_object))
		return 0;
	json_object_object_foreach(v, name, value) {
		const struct field *f = bsearch(name, table, n, sizeof(*table), by_name);

		if (f && value)
			parts |= take_field(f, base, value);
	}
	return parts;
}

/* --- trays and units: merged by id ------------------------------------------------------------ */

static bool
hex_color(struct json_object *v, char out[12])
{
	uint64_t n;

	if (!reading_hex(v, &n) || json_object_get_string_len(v) != 8)
		return false;
	memset(out, 0, 12);
	out[0] = '#';
	memcpy(out + 1, json_object_get_string(v), 8);
	return true;
}

static uint32_t
take_color(void *base, struct json_object *v)
{
	struct bambu_tray *t = base;
	char color[12];

	if (!hex_color(v, color) || memcmp(color, t->color, sizeof(color)) == 0)
		return 0;
	memcpy(t->color, color, sizeof(color));
	return BAMBU_AMS;
}

static uint32_t
take_cols(void *base, struct json_object *v)
{
	struct bambu_tray *t = base;
	char cols[REC_COLORS][12] = {{0}};
	int32_t n = 0;

	if (!json_object_is_type(v, json_type_array))
		return 0;
	for (size_t i = 0; i < json_object_array_length(v) && n < REC_COLORS; i++)
		n += hex_color(json_object_array_get_idx(v, i), cols[n]);
	if (n == t->n_cols && memcmp(cols, t->cols, sizeof(cols)) == 0)
		return 0;
	memcpy(t->cols, cols, sizeof(cols));
	t->n_cols = n;
	return BAMBU_AMS;
}

#define T(member) AT(struct bambu_tray, member)
static const struct field tray_fields[] = {
    {"cols", K_CUSTOM, 0, 0, BAMBU_AMS, take_cols},
    {"nozzle_temp_max", K_INT, T(nozzle_max), BAMBU_AMS, NULL},
    {"nozzle_temp_min", K_INT, T(nozzle_min), BAMBU_AMS, NULL},
    {"remain", K_INT, T(remain), BAMBU_AMS, NULL},
    {"state", K_INT, T(state), BAMBU_AMS, NULL},
    {"tag_uid", K_TEXT, T(tag), BAMBU_AMS, NULL},
    {"tray_color", K_CUSTOM, 0, 0, BAMBU_AMS, take_color},
    {"tray_info_idx", K_TEXT, T(idx), BAMBU_AMS, NULL},
    {"tray_sub_brands", K_TEXT, T(brand), BAMBU_AMS, NULL},
    {"tray_type", K_TEXT, T(type), BAMBU_AMS, NULL},
};

static struct bambu_tray
empty_tray(int32_t id)
{
	struct bambu_tray t;

	memset(&t, 0, sizeof(t));
	t.id = id;
	t.remain = t.nozzle_min = t.nozzle_max = t.state = REC_NONE;
	return t;
}

/* The id of a list's element, between 0 and most; -1 when it has none. */
static int32_t
element_id(struct json_object *v, int64_t most)
{
	int64_t id;

	if (!reading_i64(reading_member(v, "id"), &id) || id < 0 || id > most)
		return -1;
	return (int32_t)id;
}

static struct bambu_tray *
find_tray(struct bambu_tray *trays, int32_t *n, int32_t most, int32_t id)
{
	int32_t at = 0;

	while (at < *n && trays[at].id < id)
		at++;
	if (at < *n && trays[at].id == id)
		return &trays[at];
	if (*n == most)
		return NULL;
	memmove(&trays[at + 1], &trays[at], (size_t)(*n - at) * sizeof(*trays));
	trays[at] = empty_tray(id);
	++*n;
	return &trays[at];
}

static uint32_t
take_trays(void *base, struct json_object *v)
{
	struct bambu_unit *u = base;
	uint32_t parts = 0;

	if (!json_object_is_type(v, json_type_array))
		return 0;
	for (size_t i = 0; i < json_object_array_length(v) && i < REC_SLOTS; i++) {
		struct json_object *tray = json_object_array_get_idx(v, i);
		int32_t id = element_id(tray, 254), before = u->n_trays;
		struct bambu_tray *t = id < 0 ? NULL
					      : find_tray(u->trays, &u->n_trays, REC_SLOTS, id);

		if (t)
			parts |= merge_object(tray_fields, N_OF(tray_fields), t, tray);
		if (u->n_trays != before)
			parts |= BAMBU_AMS;
	}
	return parts;
}

#define U(member) AT(struct bambu_unit, member)
static const struct field unit_fields[] = {
    {"dry_time", K_INT, U(dry_min), BAMBU_AMS, NULL},
    {"humidity", K_INT, U(humidity), BAMBU_AMS, NULL},
    {"humidity_raw", K_INT, U(humidity_raw), BAMBU_AMS, NULL},
    {"temp", K_TENTHS, U(temp_dc), BAMBU_AMS, NULL},
    {"tray", K_CUSTOM, 0, 0, BAMBU_AMS, take_trays},
};

static struct bambu_unit *
find_unit(struct bambu_state *b, int32_t id)
{
	int32_t at = 0;

	while (at < b->n_units && b->units[at].id < id)
		at++;
	if (at < b->n_units && b->units[at].id == id)
		return &b->units[at];
	if (b->n_units == REC_UNITS)
		return NULL;
	b->units = realloc(b->units, (size_t)(b->n_units + 1) * sizeof(*b->units));
	must(b->units != NULL);
	memmove(&b->units[at + 1], &b->units[at], (size_t)(b->n_units - at) * sizeof(*b->units));
	memset(&b->units[at], 0, sizeof(*b->units));
	b->units[at].id = id;
	b->units[at].humidity = b->units[at].humidity_raw = REC_NONE;
	b->units[at].temp_dc = b->units[at].dry_min = REC_NONE;
	b->n_units++;
	return &b->units[at];
}

static uint32_t
take_units(void *base, struct json_object *v)
{
	struct bambu_state *b = base;
	uint32_t parts = 0;

	if (!json_object_is_type(v, json_type_array))
		return 0;
	for (size_t i = 0; i < json_object_array_length(v) && i < 4 * REC_UNITS; i++) {
		struct json_object *unit = json_object_array_get_idx(v, i);
		int32_t id = element_id(unit, 254), before = b->n_units;
		struct bambu_unit *u = id < 0 ? NULL : find_unit(b, id);

		if (u)
			parts |= merge_object(unit_fields, N_OF(unit_fields), u, unit);
		if (b->n_units != before)
			parts |= BAMBU_AMS;
	}
	return parts;
}

static uint32_t
take_tray_bits(void *base, struct json_object *v)
{
	struct bambu_state *b = base;
	uint64_t bits;

	if (!reading_hex(v, &bits) || (b->has_tray_bits && b->tray_bits == bits))
		return 0;
	b->has_tray_bits = true;
	b->tray_bits = bits;
	return BAMBU_AMS;
}

static uint32_t
take_power_on(void *base, struct json_object *v)
{
	struct bambu_state *b = base;
	bool on;

	if (!reading_bool(v, &on) || on == b->power_on)
		return 0;
	b->power_on = on;
	return BAMBU_AMS;
}

static const struct field ams_fields[] = {
    {"ams", K_CUSTOM, 0, 0, BAMBU_AMS, take_units},
    {"power_on_flag", K_CUSTOM, 0, 0, BAMBU_AMS, take_power_on},
    {"tray_exist_bits", K_CUSTOM, 0, 0, BAMBU_AMS, take_tray_bits},
    {"tray_now", K_INT, S(tray_now), BAMBU_AMS, NULL},
};

static uint32_t
take_ams(void *base, struct json_object *v)
{
	return merge_object(ams_fields, N_OF(ams_fields), base, v);
}

static uint32_t
take_external_tray(void *base, struct json_object *v)
{
	struct bambu_state *b = base;
	int32_t id = element_id(v, 255), before = b->n_external;
	struct bambu_tray *t;

	if (!json_object_is_type(v, json_type_object))
		return 0;
	t = find_tray(b->external, &b->n_external, REC_EXTERNAL, id < 0 ? 254 : id);
	if (!t)
		return 0;
	return merge_object(tray_fields, N_OF(tray_fields), t, v) |
	    (b->n_external != before ? BAMBU_AMS : 0);
}

/* Replaced as a whole. */
static uint32_t
take_external_list(void *base, struct json_object *v)
{
	struct bambu_state *b = base;
	struct bambu_tray trays[REC_EXTERNAL];
	int32_t n = 0;

	if (!json_object_is_type(v, json_type_array))
		return 0;
	memset(trays, 0, sizeof(trays));
	for (size_t i = 0; i < json_object_array_length(v) && i < 8; i++) {
		struct json_object *tray = json_object_array_get_idx(v, i);
		int32_t id = element_id(tray, 255);
		struct bambu_tray *t = id < 0 ? NULL : find_tray(trays, &n, REC_EXTERNAL, id);

		if (t)
			merge_object(tray_fields, N_OF(tray_fields), t, tray);
	}
	if (n == b->n_external && memcmp(trays, b->external, sizeof(trays)) == 0)
		return 0;
	b->n_external = n;
	memcpy(b->external, trays, sizeof(trays));
	return BAMBU_AMS;
}

/* --- device: temperatures of the newer models --------------------------------------------------
 */

static const struct field extruder_fields[] = {
    {"id", K_INT, AT(struct bambu_extruder, id), BAMBU_TEMPS, NULL},
    {"snow", K_INT, AT(struct bambu_extruder, slot_now), BAMBU_AMS, NULL},
    {"temp", K_INT, AT(struct bambu_extruder, temp), BAMBU_TEMPS, NULL},
};

/* Replaced as a whole. */
static uint32_t
take_extruders(void *base, struct json_object *v)
{
	struct bambu_state *b = base;
	struct bambu_extruder list[REC_NOZZLES];
	int32_t n = 0;

	if (!json_object_is_type(v, json_type_array))
		return 0;
	memset(list, 0, sizeof(list));
	for (size_t i = 0; i < json_object_array_length(v) && n < REC_NOZZLES; i++) {
		struct json_object *each = json_object_array_get_idx(v, i);

		if (!json_object_is_type(each, json_type_object))
			continue;
		list[n] = (struct bambu_extruder){n, REC_NONE, REC_NONE};
		merge_object(extruder_fields, N_OF(extruder_fields), &list[n++], each);
	}
	if (n == b->n_extruders && memcmp(list, b->extruders, sizeof(list)) == 0)
		return 0;
	b->n_extruders = n;
	memcpy(b->extruders, list, sizeof(list));
	return BAMBU_TEMPS | BAMBU_AMS;
}

static uint32_t
take_extruder(void *base, struct json_object *v)
{
	static const struct field fields[] = {
	    {"info", K_CUSTOM, 0, 0, 0, take_extruders},
	    {"state", K_INT, S(extruder_state), BAMBU_AMS, NULL},
	};

	return merge_object(fields, N_OF(fields), base, v);
}

static uint32_t
take_bed_info(void *base, struct json_object *v)
{
	static const struct field fields[] = {
	    {"temp", K_INT, S(bed_info_packed), BAMBU_TEMPS, NULL}};

	return merge_object(fields, N_OF(fields), base, v);
}

static uint32_t
take_bed(void *base, struct json_object *v)
{
	static const struct field fields[] = {{"info", K_CUSTOM, 0, 0, 0, take_bed_info}};

	return merge_object(fields, N_OF(fields), base, v);
}

static uint32_t
take_ctc_info(void *base, struct json_object *v)
{
	static const struct field fields[] = {{"temp", K_INT, S(ctc_packed), BAMBU_TEMPS, NULL}};

	return merge_object(fields, N_OF(fields), base, v);
}

static uint32_t
take_ctc(void *base, struct json_object *v)
{
	static const struct field fields[] = {{"info", K_CUSTOM, 0, 0, 0, take_ctc_info}};

	return merge_object(fields, N_OF(fields), base, v);
}

static uint32_t
take_device(void *base, struct json_object *v)
{
	static const struct field fields[] = {
	    {"bed", K_CUSTOM, 0, 0, 0, take_bed},
	    {"bed_temp", K_INT, S(bed_packed), BAMBU_TEMPS, NULL},
	    {"ctc", K_CUSTOM, 0, 0, 0, take_ctc},
	    {"extruder", K_CUSTOM, 0, 0, 0, take_extruder},
	    {"info", K_CUSTOM, 0, 0, 0, take_ctc_info},
	};

	return merge_object(fields, N_OF(fields), base, v);
}

/* --- the rest of the report ------------------------------------------------------------------- */

static uint32_t
take_3d(void *base, struct json_object *v)
{
	static const struct field fields[] = {
	    {"layer_num", K_INT, S(layer_3d), BAMBU_JOB | BAMBU_STATE, NULL},
	    {"total_layer_num", K_INT, S(total_layers_3d), BAMBU_JOB, NULL},
	};

	return merge_object(fields, N_OF(fields), base, v);
}

static uint32_t
take_fun(void *base, struct json_object *v)
{
	struct bambu_state *b = base;
	uint64_t fun;

	if (!reading_hex(v, &fun) || (b->has_fun && fun == b->fun))
		return 0;
	b->has_fun = true;
	b->fun = fun;
	return BAMBU_STATE;
}

static uint32_t
take_home_flag(void *base, struct json_object *v)
{
	static const struct field f = {"home_flag", K_BITS, S(home_flag), BAMBU_EXTRA, NULL};
	struct bambu_state *b = base;
	int64_t n;

	if (!reading_i64(v, &n))
		return 0;
	if (!b->has_home_flag) {
		b->has_home_flag = true;
		take_field(&f, base, v);
		return BAMBU_EXTRA;
	}
	return take_field(&f, base, v);
}

/* true, false or "HAS_SDCARD_NORMAL" and the like. */
static uint32_t
take_sdcard(void *base, struct json_object *v)
{
	struct bambu_state *b = base;
	bool present;

	if (!reading_bool(v, &present)) {
		if (!json_object_is_type(v, json_type_string))
			return 0;
		present = str_starts(str_from(json_object_get_string(v)), STR("HAS_SDCARD"));
	}
	return put_i32(&b->storage, present, BAMBU_EXTRA);
}

/* The address of its live view, or "disable". */
static uint32_t
take_rtsp(void *base, struct json_object *v)
{
	struct bambu_state *b = base;

	if (json_object_is_type(v, json_type_string))
		b->rtsp = str_starts(str_from(json_object_get_string(v)), STR("rtsp"));
	return 0;
}

static uint32_t
take_ipcam(void *base, struct json_object *v)
{
	static const struct field fields[] = {{"rtsp_url", K_CUSTOM, 0, 0, 0, take_rtsp}};

	return merge_object(fields, N_OF(fields), base, v);
}

static bool
light_mode(struct json_object *v, enum light_mode *out)
{
	static const char *const names[] = {"off", "on", "flashing"};
	char text[16];

	if (!reading_text(v, text, sizeof(text)))
		return false;
	for (int i = LIGHT_OFF; i <= LIGHT_FLASHING; i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		*out = (enum light_mode)i;
		return true;
	}
	return false;
}

static uint32_t
take_lights(void *base, struct json_object *v)
{
	struct bambu_state *b = base;
	struct rec_lights lights;

	if (!json_object_is_type(v, json_type_array))
		return 0;
	memset(&lights, 0, sizeof(lights));
	lights.present = true;
	for (size_t i = 0; i < json_object_array_length(v) && lights.n < REC_LIGHTS_MOST; i++) {
		struct json_object *each = json_object_array_get_idx(v, i);
		enum light_mode mode;

		if (!light_mode(reading_member(each, "mode"), &mode) ||
		    !reading_text(reading_member(each, "node"), lights.light[lights.n].node,
			sizeof(lights.light[0].node)))
			continue;
		lights.light[lights.n++].mode = mode;
	}
	for (int32_t i = lights.n; i < REC_LIGHTS_MOST; i++)
		memset(&lights.light[i], 0, sizeof(lights.light[i]));
	return record_set(&b->lights, &lights, sizeof(lights), BAMBU_LIGHTS);
}

static uint32_t
take_hms(void *base, struct json_object *v)
{
	struct bambu_state *b = base;
	struct bambu_hms list[REC_ERRORS_MOST];
	int32_t n = 0;

	if (!json_object_is_type(v, json_type_array))
		return 0;
	memset(list, 0, sizeof(list));
	for (size_t i = 0; i < json_object_array_length(v) && n < REC_ERRORS_MOST; i++) {
		struct json_object *each = json_object_array_get_idx(v, i);
		int64_t attr, code;

		if (!reading_i64(reading_member(each, "attr"), &attr) ||
		    !reading_i64(reading_member(each, "code"), &code))
			continue;
		list[n++] = (struct bambu_hms){(uint32_t)attr, (uint32_t)code};
	}
	if (n == b->n_hms && memcmp(list, b->hms, sizeof(list)) == 0)
		return 0;
	b->n_hms = n;
	memcpy(b->hms, list, sizeof(list));
	return BAMBU_ERRORS | BAMBU_STATE;
}

static const struct field print_fields[] = {
    {"3D", K_CUSTOM, 0, 0, 0, take_3d},
    {"ams", K_CUSTOM, 0, 0, 0, take_ams},
    {"bed_target_temper", K_TENTHS, S(bed_target_dc), BAMBU_TEMPS, NULL},
    {"bed_temper", K_TENTHS, S(bed_dc), BAMBU_TEMPS, NULL},
    {"big_fan1_speed", K_INT, S(fan_aux), BAMBU_FANS, NULL},
    {"big_fan2_speed", K_INT, S(fan_chamber), BAMBU_FANS, NULL},
    {"chamber_temper", K_TENTHS, S(chamber_dc), BAMBU_TEMPS, NULL},
    {"cooling_fan_speed", K_INT, S(fan_part), BAMBU_FANS, NULL},
    {"device", K_CUSTOM, 0, 0, 0, take_device},
    {"fun", K_CUSTOM, 0, 0, 0, take_fun},
    {"gcode_file", K_TEXT, S(file), BAMBU_JOB, NULL},
    {"gcode_state", K_TEXT, S(gcode_state), BAMBU_STATE | BAMBU_JOB, NULL},
    {"heatbreak_fan_speed", K_INT, S(fan_heatbreak), BAMBU_FANS, NULL},
    {"hms", K_CUSTOM, 0, 0, 0, take_hms},
    {"home_flag", K_CUSTOM, 0, 0, 0, take_home_flag},
    {"ipcam", K_CUSTOM, 0, 0, 0, take_ipcam},
    {"layer_num", K_INT, S(layer), BAMBU_JOB | BAMBU_STATE, NULL},
    {"lights_report", K_CUSTOM, 0, 0, 0, take_lights},
    {"mc_percent", K_INT, S(percent), BAMBU_JOB, NULL},
    {"mc_remaining_time", K_INT, S(remaining_min), BAMBU_JOB, NULL},
    {"nozzle_target_temper", K_TENTHS, S(nozzle_target_dc), BAMBU_TEMPS, NULL},
    {"nozzle_temper", K_TENTHS, S(nozzle_dc), BAMBU_TEMPS, NULL},
    {"print_error", K_BITS, S(error), BAMBU_ERRORS | BAMBU_STATE, NULL},
    {"print_type", K_TEXT, S(print_type), BAMBU_STATE | BAMBU_JOB, NULL},
    {"sdcard", K_CUSTOM, 0, 0, 0, take_sdcard},
    {"spd_lvl", K_INT, S(speed_level), BAMBU_SPEED, NULL},
    {"spd_mag", K_INT, S(speed_percent), BAMBU_SPEED, NULL},
    {"stg_cur", K_INT, S(stage), BAMBU_STATE | BAMBU_JOB, NULL},
    {"subtask_id", K_TEXT, S(subtask_id), BAMBU_JOB, NULL},
    {"subtask_name", K_TEXT, S(name), BAMBU_JOB, NULL},
    {"task_id", K_TEXT, S(task_id), BAMBU_JOB, NULL},
    {"total_layer_num", K_INT, S(total_layers), BAMBU_JOB, NULL},
    {"vir_slot", K_CUSTOM, 0, 0, 0, take_external_list},
    {"vt_tray", K_CUSTOM, 0, 0, 0, take_external_tray},
    {"wifi_signal", K_TEXT, S(wifi), BAMBU_WIFI, NULL},
};

uint32_t
bambu_merge(struct bambu_state *b, struct json_object *print, bool full)
{
	uint32_t parts = 0;

	if (full && b->n_hms > 0 && !reading_member(print, "hms")) {
		b->n_hms = 0;
		memset(b->hms, 0, sizeof(b->hms));
		parts = BAMBU_ERRORS | BAMBU_STATE;
	}
	parts |= merge_object(print_fields, N_OF(print_fields), b, print);
	if (!full || b->full)
		return parts;
	b->full = true;
	return BAMBU_ALL & ~(uint32_t)(b->firmware ? 0 : BAMBU_FIRMWARE);
}

/* --- versions --------------------------------------------------------------------------------- */

static void
add_module(struct bambu_state *b, struct json_object *each)
{
	struct rec_firmware *f = b->firmware;
	char name[24], version[24];

	if (f->n == REC_MODULES ||
	    !reading_text(reading_member(each, "name"), name, sizeof(name)) ||
	    !reading_text(reading_member(each, "sw_ver"), version, sizeof(version)))
		return;
	memcpy(f->module[f->n].name, name, sizeof(name));
	memcpy(f->module[f->n++].version, version, sizeof(version));
	if (strcmp(name, "ota") != 0)
		return;
	memcpy(f->version, version, sizeof(version));
	reading_text(reading_member(each, "product_name"), b->product, sizeof(b->product));
}

uint32_t
bambu_merge_version(struct bambu_state *b, struct json_object *info)
{
	struct json_object *list = reading_member(info, "module");

	if (!json_object_is_type(list, json_type_array))
		return 0;
	if (!b->firmware)
		b->firmware = malloc(sizeof(*b->firmware));
	must(b->firmware != NULL);
	memset(b->firmware, 0, sizeof(*b->firmware));
	b->firmware->present = true;
	for (size_t i = 0; i < json_object_array_length(list); i++)
		add_module(b, json_object_array_get_idx(list, i));
	return BAMBU_FIRMWARE | BAMBU_EXTRA;
}
