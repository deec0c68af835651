/* A Bambu printer's own terms → the common record. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/bambu_state.h"
#include "gateway/bambu_text.h"

enum {
	DECIDE_MS = 10000, /* a cancel's code follows the state FAILED by some 4 s */
	PACKED_FROM = 500, /* a chamber temperature above is packed */
	SLOT_NONE = 0xFFFF,
	HOME_STORAGE = 1 << 8,
	HOME_STORAGE_BAD = 1 << 9,
	HOME_DOOR_OPEN = 1 << 23,
};

#define FUN_SIGNED 0x20000000u /* commands must be signed */
#define CANCEL_BY_USER 0x0300400Cu
#define CANCEL_BY_CLOUD 0x0500400Eu

static const struct bambu_hms hms_unsigned = {0x05000500, 0x00010007};

void
bambu_state_init(struct bambu_state *b)
{
	memset(b, 0, sizeof(*b));
	bambu_state_forget(b);
}

void
bambu_state_forget(struct bambu_state *b)
{
	struct bambu_state keep = *b;

	free(b->units);
	free(b->firmware);
	memset(b, 0, sizeof(*b));
	b->last = keep.last;
	b->seen_state = keep.seen_state;
	b->outcome = keep.outcome;
	b->deciding = keep.deciding;
	b->decide_at_ms = keep.decide_at_ms;
	b->started_ms = keep.started_ms;
	b->last_percent = keep.last_percent;
	b->stage = b->percent = b->remaining_min = REC_NONE;
	b->layer = b->layer_3d = b->total_layers = b->total_layers_3d = REC_NONE;
	b->nozzle_dc = b->nozzle_target_dc = b->bed_dc = b->bed_target_dc = b->chamber_dc =
	    REC_NONE;
	b->bed_packed = b->bed_info_packed = b->ctc_packed = REC_NONE;
	b->fan_part = b->fan_aux = b->fan_chamber = b->fan_heatbreak = REC_NONE;
	b->speed_level = b->speed_percent = b->storage = REC_NONE;
	b->tray_now = 255;
}

void
bambu_state_fini(struct bambu_state *b)
{
	free(b->units);
	free(b->firmware);
	memset(b, 0, sizeof(*b));
}

/* --- state and outcome ------------------------------------------------------------------------ */

static bool
fatal_message(const struct bambu_state *b)
{
	for (int32_t i = 0; i < b->n_hms; i++)
		if (b->hms[i].code >> 16 == SEVERITY_FATAL &&
		    memcmp(&b->hms[i], &hms_unsigned, sizeof(hms_unsigned)) != 0)
			return true;
	return false;
}

static int32_t
layer_of(const struct bambu_state *b)
{
	return b->layer != REC_NONE ? b->layer : b->layer_3d;
}

/* The stage, 0 for none: -1 and 255 say so too, and P1 sends a wrong one while idle. */
static int32_t
stage_of(const struct bambu_state *b)
{
	if (b->stage == REC_NONE || b->stage <= 0 || b->stage == 255)
		return 0;
	return strcmp(b->print_type, "idle") == 0 ? 0 : b->stage;
}

/* As the printer's own state says; `last` for a text that says nothing. */
static enum printer_state
own_state(const struct bambu_state *b)
{
	static const struct {
		const char *name;
		enum printer_state state;
	} names[] = {
	    {"FAILED", PRINTER_FAILED},
	    {"FINISH", PRINTER_FINISHED},
	    {"IDLE", PRINTER_IDLE},
	    {"INIT", PRINTER_PREPARING},
	    {"OFFLINE", PRINTER_OFFLINE},
	    {"PAUSE", PRINTER_PAUSED},
	    {"PREPARE", PRINTER_PREPARING},
	    {"RUNNING", PRINTER_PRINTING},
	    {"SLICING", PRINTER_PREPARING},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(b->gcode_state, names[i].name) != 0)
			continue;
		if (names[i].state == PRINTER_PRINTING && layer_of(b) <= 0 && stage_of(b) != 0)
			return PRINTER_PREPARING;
		return names[i].state;
	}
	return b->last;
}

static bool
cancelled(const struct bambu_state *b)
{
	uint32_t error = (uint32_t)b->error;

	return error == CANCEL_BY_USER || error == CANCEL_BY_CLOUD;
}

static void
enter(struct bambu_state *b, enum printer_state to, const struct bambu_when *now)
{
	bool was_busy = b->seen_state && printer_state_busy(b->last);

	b->deciding = false;
	if (printer_state_busy(to)) {
		if (b->seen_state && !was_busy)
			b->started_ms = now->unix_ms;
		b->outcome = OUTCOME_NONE;
	} else if (to == PRINTER_FINISHED) {
		b->outcome = OUTCOME_COMPLETED;
	} else if (to == PRINTER_FAILED) {
		b->outcome = b->seen_state ? OUTCOME_NONE : OUTCOME_FAILED;
		b->deciding = b->seen_state;
		b->decide_at_ms = now->mono_ms + DECIDE_MS;
	} else {
		b->outcome = OUTCOME_NONE;
		b->started_ms = 0;
	}
	b->last = to;
	b->seen_state = true;
}

/* Follows the printer's state and decides about the job's outcome. */
static void
follow(struct bambu_state *b, const struct bambu_when *now)
{
	enum printer_state to = own_state(b);

	if (b->gcode_state[0] == '\0')
		return;
	if (!b->seen_state || to != b->last)
		enter(b, to, now);
	if (to != PRINTER_FAILED)
		return;
	if (!b->deciding && b->outcome == OUTCOME_NONE) { /* taken over while it was undecided */
		b->deciding = true;
		b->decide_at_ms = now->mono_ms + DECIDE_MS;
	}
	if (cancelled(b))
		b->outcome = OUTCOME_CANCELLED;
	else if (b->deciding && now->mono_ms >= b->decide_at_ms)
		b->outcome = OUTCOME_FAILED;
	if (b->outcome != OUTCOME_NONE)
		b->deciding = false;
}

int64_t
bambu_decide_at(const struct bambu_state *b)
{
	return b->deciding ? b->decide_at_ms : 0;
}

bool
bambu_developer_mode_off(const struct bambu_state *b)
{
	if (b->has_fun && (b->fun & FUN_SIGNED))
		return true;
	for (int32_t i = 0; i < b->n_hms; i++)
		if (memcmp(&b->hms[i], &hms_unsigned, sizeof(hms_unsigned)) == 0)
			return true;
	return b->refused;
}

static uint32_t
map_state(struct bambu_state *b, const struct bambu_when *now, struct record *r)
{
	enum printer_state s;

	follow(b, now);
	if (!b->seen_state)
		return 0;
	s = b->last;
	if ((s == PRINTER_IDLE || s == PRINTER_FINISHED) && fatal_message(b))
		s = PRINTER_ERROR;
	if (s == r->state)
		return 0;
	r->state = s;
	return REC_STATE;
}

/* --- job -------------------------------------------------------------------------------------- */

static const char *
stage_name(int32_t stage)
{
	static const char *const names[] = {NULL, "auto_bed_leveling", "heatbed_preheating",
	    "sweeping_xy_mech_mode", "changing_filament", "m400_pause", "paused_filament_runout",
	    "heating_hotend", "calibrating_extrusion", "scanning_bed_surface",
	    "inspecting_first_layer", "identifying_build_plate_type", "calibrating_micro_lidar",
	    "homing_toolhead", "cleaning_nozzle_tip", "checking_extruder_temperature",
	    "paused_user", "paused_front_cover_falling", "calibrating_lidar",
	    "calibrating_extrusion_flow", "paused_nozzle_temperature_malfunction",
	    "paused_heat_bed_temperature_malfunction", "filament_unloading", "paused_skipped_step",
	    "filament_loading", "calibrating_motor_noise", "paused_ams_lost",
	    "paused_low_fan_speed_heat_break", "paused_chamber_temperature_control_error",
	    "cooling_chamber", "paused_user_gcode", "motor_noise_showoff",
	    "paused_nozzle_filament_covered_detected", "paused_cutter_error",
	    "paused_first_layer_error", "paused_nozzle_clog"};
	static const size_t n = sizeof(names) / sizeof(names[0]);

	if (stage <= 0)
		return NULL;
	return (size_t)stage < n ? names[stage] : "other";
}

static int32_t
positive(int32_t v)
{
	return v != REC_NONE && v > 0 ? v : REC_NONE;
}

static int32_t
percent_of(struct bambu_state *b)
{
	int32_t p = b->percent;

	if (p == REC_NONE || p < 0 || p > 100)
		return b->last_percent;
	if (b->last == PRINTER_FAILED && p == 0) /* a cancel resets it: keep how far it came */
		return b->last_percent;
	b->last_percent = p;
	return p;
}

static uint32_t
map_job(struct bambu_state *b, struct record *r)
{
	struct rec_job j;

	memset(&j, 0, sizeof(j));
	j.present = b->seen_state &&
	    (printer_state_busy(b->last) || b->last == PRINTER_FINISHED ||
		b->last == PRINTER_FAILED);
	if (!j.present) {
		b->last_percent = 0;
		return RECORD_SET(r, job, &j, REC_JOB);
	}
	memcpy(j.file, b->file, sizeof(j.file));
	memcpy(j.name, b->name, sizeof(j.name));
	memcpy(j.task_id, b->task_id, sizeof(j.task_id));
	if (strcmp(j.task_id, "0") == 0)
		memset(j.task_id, 0, sizeof(j.task_id));
	j.progress = b->last == PRINTER_FINISHED ? 100 : percent_of(b);
	j.remaining_s = REC_NONE;
	if (b->remaining_min >= 0 && b->remaining_min < 1000000)
		j.remaining_s = b->remaining_min * 60;
	j.layer = layer_of(b);
	if (j.layer < 0)
		j.layer = REC_NONE;
	j.total_layers = positive(
	    b->total_layers != REC_NONE ? b->total_layers : b->total_layers_3d);
	j.outcome = b->outcome;
	j.stage = stage_name(stage_of(b));
	j.started_ms = b->started_ms;
	return RECORD_SET(r, job, &j, REC_JOB);
}

/* --- temperatures ----------------------------------------------------------------------------- */

static struct rec_temp
unpack(int32_t packed)
{
	uint32_t bits = (uint32_t)packed;

	if (packed == REC_NONE)
		return (struct rec_temp){REC_NONE, REC_NONE};
	return (struct rec_temp){(int16_t)(bits & 0xFFFF) * 10, (int32_t)(bits >> 16) * 10};
}

static void
nozzles(const struct bambu_state *b, struct rec_temperatures *t)
{
	if (b->n_extruders == 0) {
		t->n_nozzles = 1;
		t->nozzles[0].t = (struct rec_temp){b->nozzle_dc, b->nozzle_target_dc};
		return;
	}
	t->n_nozzles = b->n_extruders;
	for (int32_t i = 0; i < b->n_extruders; i++) {
		t->nozzles[i].id = b->extruders[i].id;
		t->nozzles[i].t = unpack(b->extruders[i].temp);
	}
}

static void
chamber(const struct bambu_state *b, bool no_chamber, struct rec_temperatures *t)
{
	if (b->ctc_packed != REC_NONE) {
		t->has_chamber = true;
		t->chamber = (struct rec_temp){b->ctc_packed * 10, REC_NONE};
		if (b->ctc_packed > PACKED_FROM || b->ctc_packed < 0)
			t->chamber = unpack(b->ctc_packed);
	} else if (b->chamber_dc != REC_NONE && !no_chamber) {
		t->has_chamber = true;
		t->chamber = (struct rec_temp){b->chamber_dc, REC_NONE};
	}
}

static uint32_t
map_temperatures(const struct bambu_state *b, bool no_chamber, struct record *r)
{
	int32_t bed = b->bed_info_packed != REC_NONE ? b->bed_info_packed : b->bed_packed;
	struct rec_temperatures t;

	memset(&t, 0, sizeof(t));
	t.present = true;
	nozzles(b, &t);
	t.bed = bed != REC_NONE ? unpack(bed) : (struct rec_temp){b->bed_dc, b->bed_target_dc};
	chamber(b, no_chamber, &t);
	return RECORD_SET(r, temperatures, &t, REC_TEMPERATURES);
}

/* --- fans, speed, lights, wifi, firmware, extra ------------------------------------------------
 */

static int32_t
fan_pct(int32_t gear)
{
	return gear == REC_NONE || gear < 0 || gear > 15 ? REC_NONE : (gear * 100 + 7) / 15;
}

static uint32_t
map_fans(const struct bambu_state *b, struct record *r)
{
	struct rec_fans f;

	memset(&f, 0, sizeof(f));
	f.present = true;
	f.part_cooling_pct = fan_pct(b->fan_part);
	f.auxiliary_pct = fan_pct(b->fan_aux);
	f.chamber_pct = fan_pct(b->fan_chamber);
	f.heatbreak_pct = fan_pct(b->fan_heatbreak);
	return RECORD_SET(r, fans, &f, REC_FANS);
}

static uint32_t
map_speed(const struct bambu_state *b, struct record *r)
{
	struct rec_speed s;

	memset(&s, 0, sizeof(s));
	s.present = b->speed_level != REC_NONE || b->speed_percent != REC_NONE;
	s.level = b->speed_level;
	s.percent = b->speed_percent < 0 || b->speed_percent > 1000 ? REC_NONE : b->speed_percent;
	return RECORD_SET(r, speed, &s, REC_SPEED);
}

/* "-71dBm" */
static uint32_t
map_wifi(const struct bambu_state *b, struct record *r)
{
	struct str s = str_from(b->wifi);
	int64_t dbm;

	if (s.n < 4 || memcmp(s.p + s.n - 3, "dBm", 3) != 0 ||
	    !str_to_i64((struct str){s.p, s.n - 3}, &dbm) || dbm < -200 || dbm > 100 ||
	    dbm == r->wifi_dbm)
		return 0;
	r->wifi_dbm = (int32_t)dbm;
	return REC_WIFI;
}

static uint32_t
map_firmware(struct bambu_state *b, struct record *r)
{
	uint32_t changed;

	if (!b->firmware)
		return 0;
	changed = record_set_firmware(r, b->firmware);
	free(b->firmware);
	b->firmware = NULL;
	return changed;
}

static uint32_t
map_extra(const struct bambu_state *b, struct record *r)
{
	struct rec_extra e;

	memset(&e, 0, sizeof(e));
	e.present = true;
	memcpy(e.product, b->product, sizeof(e.product));
	e.storage = b->storage;
	e.door_open = REC_NONE;
	if (b->has_home_flag) {
		e.door_open = (b->home_flag & HOME_DOOR_OPEN) != 0;
		if (e.storage == REC_NONE)
			e.storage = (b->home_flag & HOME_STORAGE) != 0 &&
			    !(b->home_flag & HOME_STORAGE_BAD);
	}
	return RECORD_SET(r, extra, &e, REC_EXTRA);
}

/* --- AMS -------------------------------------------------------------------------------------- */

/* The bit of tray_exist_bits that stands for a slot, -1: there is none. */
static int
presence_bit(int32_t unit, int32_t slot)
{
	int bit = unit * 4 + slot;

	if (unit >= 128)
		bit = 16 + (unit - 128);
	else if (unit == 16)
		bit = 24 + slot;
	return bit < 64 ? bit : -1;
}

static bool
slot_present(const struct bambu_state *b, int32_t unit, const struct bambu_tray *t)
{
	int bit = presence_bit(unit, t->id);

	if (b->has_tray_bits && bit >= 0 && (b->tray_bits != 0 || b->power_on))
		return (b->tray_bits >> bit & 1) != 0;
	return t->type[0] != '\0';
}

static bool
has_tag(const char *tag)
{
	return *tag && strspn(tag, "0") != strlen(tag);
}

static void
map_slot(const struct bambu_tray *t, bool present, struct rec_slot *s)
{
	s->id = t->id;
	s->present = present;
	s->remaining_pct = s->nozzle_min_c = s->nozzle_max_c = REC_NONE;
	if (!present)
		return;
	s->rfid = has_tag(t->tag);
	memcpy(s->material, t->type, sizeof(s->material));
	memcpy(s->name, t->brand, sizeof(s->name));
	memcpy(s->filament_id, t->idx, sizeof(s->filament_id));
	memcpy(s->color, t->color, sizeof(s->color));
	s->n_colors = t->n_cols;
	memcpy(s->colors, t->cols, sizeof(s->colors));
	if (s->rfid && t->remain >= 0 && t->remain <= 100)
		s->remaining_pct = t->remain;
	s->nozzle_min_c = positive(t->nozzle_min);
	s->nozzle_max_c = positive(t->nozzle_max);
}

static void
map_unit(const struct bambu_state *b, const struct bambu_unit *from, struct rec_unit *u)
{
	memset(u, 0, sizeof(*u));
	u->id = from->id;
	u->humidity = from->humidity < 1 || from->humidity > 5 ? REC_NONE : from->humidity;
	u->humidity_pct = from->humidity_raw > 100 ? REC_NONE : positive(from->humidity_raw);
	u->temperature_dc = positive(from->temp_dc); /* an AMS Lite has no sensor and says 0.0 */
	u->drying_s = from->dry_min > 0 && from->dry_min < 100000 ? from->dry_min * 60 : 0;
	u->n_slots = from->n_trays;
	for (int32_t i = 0; i < from->n_trays; i++)
		map_slot(&from->trays[i], slot_present(b, from->id, &from->trays[i]), &u->slots[i]);
}

/* What feeds the active extruder of the newer models. False: they do not say. */
static bool
extruder_slot(const struct bambu_state *b, struct rec_ams *a)
{
	int32_t active = b->extruder_state >> 8 & 1;

	for (int32_t i = 0; i < b->n_extruders; i++) {
		int32_t now = b->extruders[i].slot_now;

		if (b->extruders[i].id != active || now == REC_NONE || now < 0 || now > SLOT_NONE)
			continue;
		a->has_active = now != SLOT_NONE;
		a->active_unit = now >> 8 >= 254 ? REC_NONE : now >> 8;
		a->active_slot = now >> 8 >= 254 ? now >> 8 : now & 0xFF;
		return true;
	}
	return false;
}

static void
active_slot(const struct bambu_state *b, struct rec_ams *a)
{
	int32_t now = b->tray_now;

	if (!extruder_slot(b, a)) {
		a->has_active = now >= 0 && now < 255;
		a->active_unit = now == 254 ? REC_NONE : now >= 128 ? now : now / 4;
		a->active_slot = now == 254 ? 254 : now >= 128 ? 0 : now % 4;
	}
	if (!a->has_active)
		a->active_unit = a->active_slot = 0;
}

static uint32_t
map_ams(const struct bambu_state *b, struct record *r)
{
	struct rec_unit units[REC_UNITS];
	struct rec_ams a;

	memset(&a, 0, sizeof(a));
	a.present = b->n_units > 0 || b->n_external > 0 || b->has_tray_bits;
	a.units = units;
	a.n_units = b->n_units;
	for (int32_t i = 0; i < b->n_units; i++)
		map_unit(b, &b->units[i], &units[i]);
	a.n_external = b->n_external;
	for (int32_t i = 0; i < b->n_external; i++)
		map_slot(&b->external[i], b->external[i].type[0] != '\0', &a.external[i]);
	active_slot(b, &a);
	return record_set_ams(r, &a);
}

/* --- errors ----------------------------------------------------------------------------------- */

static const char *
module_name(uint32_t number)
{
	switch (number) {
	case 0x03:
		return "motion_controller";
	case 0x05:
		return "mainboard";
	case 0x07:
		return "ams";
	case 0x08:
		return "toolhead";
	case 0x0C:
		return "xcam";
	default:
		return "unknown";
	}
}

static uint32_t
map_errors(const struct bambu_state *b, struct record *r)
{
	uint32_t error = (uint32_t)b->error;
	struct rec_errors list;

	memset(&list, 0, sizeof(list));
	for (int32_t i = 0; i < b->n_hms && list.n < REC_ERRORS_MOST - 1; i++) {
		struct rec_error *e = &list.e[list.n++];
		uint32_t attr = b->hms[i].attr, code = b->hms[i].code, severity = code >> 16;

		snprintf(e->code, sizeof(e->code), "%04X_%04X_%04X_%04X", attr >> 16, attr & 0xFFFF,
		    code >> 16, code & 0xFFFF);
		e->severity = severity >= 1 && severity <= 4 ? (enum severity)severity
							     : SEVERITY_COMMON;
		e->module = module_name(attr >> 24);
		e->message = bambu_hms_text(attr, code);
		e->hms = true;
	}
	if (error != 0 && !cancelled(b)) { /* a cancel is an outcome, not an error */
		struct rec_error *e = &list.e[list.n++];

		snprintf(e->code, sizeof(e->code), "%04X_%04X", error >> 16, error & 0xFFFF);
		e->severity = SEVERITY_SERIOUS;
		e->module = module_name(error >> 24);
		e->message = bambu_error_text(error);
	}
	return RECORD_SET(r, errors, &list, REC_ERRORS);
}

uint32_t
bambu_map(struct bambu_state *b, uint32_t parts, const struct bambu_when *now, struct record *r)
{
	uint32_t changed = 0;

	if (parts & BAMBU_STATE)
		changed |= map_state(b, now, r);
	if (parts & (BAMBU_STATE | BAMBU_JOB))
		changed |= map_job(b, r);
	if (parts & BAMBU_TEMPS)
		changed |= map_temperatures(b, now->no_chamber, r);
	if (parts & BAMBU_FANS)
		changed |= map_fans(b, r);
	if (parts & BAMBU_SPEED)
		changed |= map_speed(b, r);
	if (parts & BAMBU_LIGHTS)
		changed |= RECORD_SET(r, lights, &b->lights, REC_LIGHTS);
	if (parts & BAMBU_AMS)
		changed |= map_ams(b, r);
	if (parts & BAMBU_ERRORS)
		changed |= map_errors(b, r);
	if (parts & BAMBU_WIFI)
		changed |= map_wifi(b, r);
	if (parts & BAMBU_FIRMWARE)
		changed |= map_firmware(b, r);
	if (parts & BAMBU_EXTRA)
		changed |= map_extra(b, r);
	return changed;
}
