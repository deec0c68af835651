/* What a Moonraker says → plain values. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gateway/moonraker_state.h"
#include "gateway/reading.h"

enum { OBJECTS_MOST = 2000 };

/* --- what there is ---------------------------------------------------------------------------- */

static bool
starts(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool
mentions(const char *name, const char *const *words)
{
	const char *own = strchr(name, ' ');

	for (; own && *words; words++)
		if (strcasestr(own, *words))
			return true;
	return false;
}

/* Klipper has no objects for lights: these are what people call them. */
static bool
is_light(const char *name)
{
	static const char *const words[] = {"light", "lamp", "case", "chamber", NULL};
	static const char *const pins[] = {"light", "lamp", "led", NULL};

	if (starts(name, "output_pin "))
		return mentions(name, pins);
	return (starts(name, "led ") || starts(name, "neopixel ") || starts(name, "dotstar ") ||
		   starts(name, "pca9533 ") || starts(name, "pca9632 ")) &&
	    mentions(name, words);
}

static void
keep(char *out, const char *name)
{
	if (!out[0])
		snprintf(out, MOONRAKER_NAME, "%s", name);
}

static void
take_sensor(struct moonraker_objects *o, const char *name)
{
	static const char *const chamber[] = {"chamber", "enclosure", NULL};
	static const char *const aux[] = {"aux", NULL};
	static const char *const exhaust[] = {"exhaust", "chamber", "filter", NULL};

	if (starts(name, "heater_generic ") && mentions(name, chamber)) {
		snprintf(o->chamber, sizeof(o->chamber), "%s", name);
		snprintf(o->chamber_heater, sizeof(o->chamber_heater), "%s", name);
	} else if ((starts(name, "temperature_sensor ") || starts(name, "temperature_fan ")) &&
	    mentions(name, chamber)) {
		keep(o->chamber, name);
	} else if (starts(name, "fan_generic ") && mentions(name, aux)) {
		keep(o->fan_aux, name);
	} else if (starts(name, "fan_generic ") && mentions(name, exhaust)) {
		keep(o->fan_chamber, name);
	} else if (is_light(name) && o->n_lights < REC_LIGHTS_MOST) {
		keep(o->light[o->n_lights++], name);
	}
}

static void
take_object(struct moonraker_objects *o, const char *name)
{
	static const struct {
		const char *name;
		size_t flag;
	} plain[] = {
	    {"extruder", offsetof(struct moonraker_objects, extruder[0])},
	    {"extruder1", offsetof(struct moonraker_objects, extruder[1])},
	    {"extruder2", offsetof(struct moonraker_objects, extruder[2])},
	    {"extruder3", offsetof(struct moonraker_objects, extruder[3])},
	    {"heater_bed", offsetof(struct moonraker_objects, bed)},
	    {"fan", offsetof(struct moonraker_objects, fan)},
	    {"virtual_sdcard", offsetof(struct moonraker_objects, sdcard)},
	    {"display_status", offsetof(struct moonraker_objects, display)},
	    {"exclude_object", offsetof(struct moonraker_objects, exclude_object)},
	    {"gcode_macro LOAD_FILAMENT", offsetof(struct moonraker_objects, load)},
	    {"gcode_macro UNLOAD_FILAMENT", offsetof(struct moonraker_objects, unload)},
	};

	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		if (strcasecmp(plain[i].name, name) != 0)
			continue;
		*(bool *)((char *)o + plain[i].flag) = true;
		return;
	}
	take_sensor(o, name);
}

bool
moonraker_take_objects(struct moonraker_state *m, struct json_object *result)
{
	struct json_object *list = reading_member(result, "objects");
	char name[MOONRAKER_NAME];
	size_t n;

	if (!json_object_is_type(list, json_type_array))
		return false;
	memset(&m->objects, 0, sizeof(m->objects));
	m->objects.known = true;
	n = json_object_array_length(list);
	for (size_t i = 0; i < n && i < OBJECTS_MOST; i++) {
		struct json_object *v = json_object_array_get_idx(list, i);

		if (json_object_get_string_len(v) < MOONRAKER_NAME &&
		    reading_text(v, name, sizeof(name)) && !strpbrk(name, "\"\\"))
			take_object(&m->objects, name);
	}
	return true;
}

/* --- values ----------------------------------------------------------------------------------- */

static bool
take_double(struct json_object *o, const char *name, double least, double most, double *out)
{
	double d;

	if (!reading_double(reading_member(o, name), &d) || d < least || d > most || d == *out)
		return false;
	*out = d;
	return true;
}

/* A number times `scale`, rounded. */
static bool
take_scaled(struct json_object *o, const char *name, double scale, double most, int32_t *out)
{
	double d;
	int32_t v;

	if (!reading_double(reading_member(o, name), &d) || fabs(d) > most)
		return false;
	v = (int32_t)lround(d * scale);
	if (v == *out)
		return false;
	*out = v;
	return true;
}

/* A count, or null. */
static bool
take_count(struct json_object *o, const char *name, int32_t *out)
{
	struct json_object *v;
	int64_t n = REC_NONE;

	if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, name, &v))
		return false;
	if (v && (!reading_i64(v, &n) || n < 0 || n > 1000000))
		return false;
	if (n == *out)
		return false;
	*out = (int32_t)n;
	return true;
}

static bool
take_text(struct json_object *o, const char *name, char *out, size_t size)
{
	char text[160] = "";

	if (!reading_text(reading_member(o, name), text, size) || strcmp(text, out) == 0)
		return false;
	memcpy(out, text, size);
	return true;
}

static bool
take_heater(struct json_object *o, struct moonraker_heater *h)
{
	bool changed = take_scaled(o, "temperature", 10, 2000, &h->actual_dc);

	changed |= take_scaled(o, "target", 10, 2000, &h->target_dc);
	return changed;
}

enum klippy
moonraker_klippy(struct json_object *text)
{
	static const struct {
		const char *name;
		enum klippy klippy;
	} names[] = {
	    {"ready", KLIPPY_READY},
	    {"startup", KLIPPY_STARTUP},
	    {"initializing", KLIPPY_STARTUP},
	    {"shutdown", KLIPPY_SHUTDOWN},
	    {"error", KLIPPY_ERROR},
	    {"disconnected", KLIPPY_DISCONNECTED},
	};
	char name[16] = "";

	reading_text(text, name, sizeof(name));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i].name, name) == 0)
			return names[i].klippy;
	return KLIPPY_UNKNOWN;
}

static uint32_t
take_webhooks(struct moonraker_state *m, struct json_object *o)
{
	enum klippy k = moonraker_klippy(reading_member(o, "state"));

	if (k == KLIPPY_UNKNOWN || k == m->klippy)
		return 0;
	m->klippy = k;
	return MOONRAKER_STATE;
}

static bool
take_print_state(struct moonraker_state *m, struct json_object *text)
{
	static const char *const names[] = {
	    [KPRINT_STANDBY] = "standby",
	    [KPRINT_PRINTING] = "printing",
	    [KPRINT_PAUSED] = "paused",
	    [KPRINT_COMPLETE] = "complete",
	    [KPRINT_CANCELLED] = "cancelled",
	    [KPRINT_ERROR] = "error",
	};
	char name[16] = "";

	if (!text || !reading_text(text, name, sizeof(name)))
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i], name) != 0 || m->print == (enum klipper_print)i)
			continue;
		m->print = (enum klipper_print)i;
		return true;
	}
	return false;
}

static uint32_t
take_print_stats(struct moonraker_state *m, struct json_object *o)
{
	struct json_object *info = reading_member(o, "info");
	bool changed = take_print_state(m, reading_member(o, "state"));

	changed |= take_text(o, "filename", m->filename, sizeof(m->filename));
	changed |= take_double(o, "print_duration", 0, 1e9, &m->print_s);
	changed |= take_count(info, "total_layer", &m->total_layers);
	changed |= take_count(info, "current_layer", &m->layer);
	take_double(o, "total_duration", 0, 1e9, &m->total_s);
	return changed ? MOONRAKER_STATE : 0;
}

static uint32_t
take_sdcard(struct moonraker_state *m, struct json_object *o)
{
	return take_double(o, "progress", 0, 1, &m->progress) ? MOONRAKER_STATE : 0;
}

static uint32_t
take_gcode_move(struct moonraker_state *m, struct json_object *o)
{
	return take_scaled(o, "speed_factor", 100, 100, &m->speed_pct) ? MOONRAKER_SPEED : 0;
}

static uint32_t
take_fan(struct json_object *o, int32_t *pct)
{
	return take_scaled(o, "speed", 100, 1, pct) ? MOONRAKER_FANS : 0;
}

static bool
any_color(struct json_object *list)
{
	size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	for (size_t i = 0; i < n && i < 64; i++) {
		struct json_object *led = json_object_array_get_idx(list, i);
		size_t parts =
		    json_object_is_type(led, json_type_array) ? json_object_array_length(led) : 0;

		for (size_t k = 0; k < parts && k < 4; k++) {
			double d = 0;

			if (reading_double(json_object_array_get_idx(led, k), &d) && d > 0)
				return true;
		}
	}
	return false;
}

static uint32_t
take_light(struct json_object *o, int32_t *lit)
{
	struct json_object *colors = reading_member(o, "color_data");
	int32_t now = *lit;
	double d;

	if (colors)
		now = any_color(colors);
	else if (reading_double(reading_member(o, "value"), &d))
		now = d > 0;
	if (now == *lit)
		return 0;
	*lit = now;
	return MOONRAKER_LIGHTS;
}

static uint32_t
take_heaters(struct moonraker_state *m, struct json_object *status)
{
	static const char *const names[REC_NOZZLES] = {
	    "extruder", "extruder1", "extruder2", "extruder3"};
	bool changed = take_heater(reading_member(status, "heater_bed"), &m->bed);

	for (int i = 0; i < REC_NOZZLES; i++)
		changed |= take_heater(reading_member(status, names[i]), &m->nozzle[i]);
	if (m->objects.chamber[0])
		changed |= take_heater(reading_member(status, m->objects.chamber), &m->chamber);
	return changed ? MOONRAKER_TEMPERATURES : 0;
}

uint32_t
moonraker_take_status(struct moonraker_state *m, struct json_object *status)
{
	uint32_t parts = take_webhooks(m, reading_member(status, "webhooks"));

	parts |= take_print_stats(m, reading_member(status, "print_stats"));
	parts |= take_sdcard(m, reading_member(status, "virtual_sdcard"));
	parts |= take_gcode_move(m, reading_member(status, "gcode_move"));
	parts |= take_heaters(m, status);
	parts |= take_fan(reading_member(status, "fan"), &m->fan_pct);
	if (m->objects.fan_aux[0])
		parts |= take_fan(reading_member(status, m->objects.fan_aux), &m->fan_aux_pct);
	if (m->objects.fan_chamber[0])
		parts |= take_fan(
		    reading_member(status, m->objects.fan_chamber), &m->fan_chamber_pct);
	for (int32_t i = 0; i < m->objects.n_lights; i++)
		parts |= take_light(reading_member(status, m->objects.light[i]), &m->lit[i]);
	return parts;
}

uint32_t
moonraker_take_metadata(struct moonraker_state *m, struct json_object *result)
{
	m->meta_s = 0;
	m->meta_layers = REC_NONE;
	if (!reading_text(reading_member(result, "filename"), m->meta_file, sizeof(m->meta_file)))
		return 0;
	take_double(result, "estimated_time", 0, 1e8, &m->meta_s);
	take_count(result, "layer_count", &m->meta_layers);
	return MOONRAKER_STATE;
}

uint32_t
moonraker_take_history(struct moonraker_state *m, struct json_object *job)
{
	static const struct {
		const char *status;
		enum job_outcome outcome;
	} names[] = {
	    {"completed", OUTCOME_COMPLETED},
	    {"cancelled", OUTCOME_CANCELLED},
	    {"error", OUTCOME_FAILED},
	    {"klippy_shutdown", OUTCOME_FAILED},
	    {"klippy_disconnect", OUTCOME_FAILED},
	    {"server_exit", OUTCOME_FAILED},
	    {"interrupted", OUTCOME_FAILED},
	};
	char file[160] = "", status[32] = "";

	reading_text(reading_member(job, "filename"), file, sizeof(file));
	reading_text(reading_member(job, "status"), status, sizeof(status));
	if (!m->undecided || !file[0] || (m->job_file[0] && strcmp(file, m->job_file) != 0))
		return 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i].status, status) != 0)
			continue;
		m->outcome = names[i].outcome;
		m->undecided = false;
		return MOONRAKER_STATE;
	}
	return 0;
}
