/* Klipper's own terms → the common record. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gateway/moonraker_state.h"
#include "gateway/reading.h"

enum {
	GRACE_MS = 10000 /* Klipper restarts in less: not worth an event */
};

void
moonraker_state_init(struct moonraker_state *m)
{
	memset(m, 0, sizeof(*m));
	m->last_percent = REC_NONE;
	moonraker_state_forget(m);
}

static void
forget_values(struct moonraker_state *m)
{
	static const struct moonraker_heater none = {REC_NONE, REC_NONE};

	m->layer = m->total_layers = m->meta_layers = REC_NONE;
	m->fan_pct = m->fan_aux_pct = m->fan_chamber_pct = m->speed_pct = REC_NONE;
	m->bed = m->chamber = none;
	for (int i = 0; i < REC_NOZZLES; i++)
		m->nozzle[i] = none;
	for (int i = 0; i < REC_LIGHTS_MOST; i++)
		m->lit[i] = REC_NONE;
}

void
moonraker_state_forget(struct moonraker_state *m)
{
	struct moonraker_state keep = *m;

	memset(m, 0, sizeof(*m));
	m->last = keep.last;
	m->seen_state = keep.seen_state;
	m->outcome = keep.outcome;
	m->undecided = keep.undecided;
	m->started_ms = keep.started_ms;
	m->last_percent = keep.last_percent;
	snprintf(m->job_file, sizeof(m->job_file), "%s", keep.job_file);
	forget_values(m);
}

/* --- state and outcome ------------------------------------------------------------------------ */

static bool
is_down(const struct moonraker_state *m)
{
	return m->klippy == KLIPPY_DISCONNECTED || m->klippy == KLIPPY_STARTUP ||
	    m->klippy == KLIPPY_UNKNOWN;
}

static bool
has_extruder(const struct moonraker_state *m)
{
	for (int i = 0; i < REC_NOZZLES; i++)
		if (m->objects.extruder[i])
			return true;
	return false;
}

/* Klipper counts print_duration from the first extrusion; without an extruder it stays 0. */
static enum printer_state
of_print(const struct moonraker_state *m)
{
	static const enum printer_state states[] = {
	    [KPRINT_STANDBY] = PRINTER_IDLE,
	    [KPRINT_PRINTING] = PRINTER_PRINTING,
	    [KPRINT_PAUSED] = PRINTER_PAUSED,
	    [KPRINT_COMPLETE] = PRINTER_FINISHED,
	    [KPRINT_CANCELLED] = PRINTER_IDLE,
	    [KPRINT_ERROR] = PRINTER_FAILED,
	};

	if (m->print == KPRINT_PRINTING && m->print_s <= 0 && has_extruder(m))
		return PRINTER_PREPARING;
	return states[m->print];
}

/* While Klipper is away a short time the last state stays, but for a job's: that is lost. */
static enum printer_state
own_state(struct moonraker_state *m, const struct moonraker_when *now)
{
	if (!is_down(m)) {
		m->down_ms = 0;
		if (m->klippy == KLIPPY_SHUTDOWN || m->klippy == KLIPPY_ERROR)
			return PRINTER_ERROR;
		return of_print(m);
	}
	if (!m->seen_state || m->last == PRINTER_OFFLINE)
		return PRINTER_OFFLINE;
	if (m->down_ms == 0)
		m->down_ms = now->mono_ms;
	if (now->mono_ms - m->down_ms >= GRACE_MS)
		return PRINTER_OFFLINE;
	return printer_state_busy(m->last) ? PRINTER_ERROR : m->last;
}

static void
begin_job(struct moonraker_state *m, const struct moonraker_when *now, bool known)
{
	if (!known || m->started_ms == 0)
		m->started_ms = now->unix_ms - (int64_t)(m->total_s * 1000);
	if (!known)
		m->last_percent = REC_NONE;
	snprintf(m->job_file, sizeof(m->job_file), "%s", m->filename);
	m->outcome = OUTCOME_NONE;
	m->undecided = false;
}

/* The same job as before: of the same name, or of a time when its name was not known. */
static bool
is_same_job(const struct moonraker_state *m)
{
	return printer_state_busy(m->last) &&
	    (!m->job_file[0] || strcmp(m->job_file, m->filename) == 0);
}

/* What Klipper itself says of a job's end. */
static enum job_outcome
told_outcome(const struct moonraker_state *m, enum printer_state to)
{
	if (to == PRINTER_FINISHED)
		return OUTCOME_COMPLETED;
	if (to == PRINTER_FAILED)
		return OUTCOME_FAILED;
	return to == PRINTER_IDLE && m->print == KPRINT_CANCELLED ? OUTCOME_CANCELLED
								  : OUTCOME_NONE;
}

/* A job that was being worked on, or whose end was not explained, and now this. */
static void
end_job(struct moonraker_state *m, enum printer_state to, bool was_busy)
{
	enum job_outcome told = told_outcome(m, to);

	if (told != OUTCOME_NONE) {
		m->outcome = told;
		m->undecided = false;
		if (m->filename[0])
			memcpy(m->job_file, m->filename, sizeof(m->job_file));
	} else if (was_busy && to == PRINTER_IDLE) {
		m->undecided = true;
	} else if (was_busy || (m->undecided && to == PRINTER_ERROR)) {
		m->outcome = OUTCOME_FAILED;
		m->undecided = false;
	}
}

static void
enter(struct moonraker_state *m, enum printer_state to, const struct moonraker_when *now)
{
	bool was_busy = m->seen_state && printer_state_busy(m->last);

	if (!printer_state_busy(to))
		end_job(m, to, was_busy);
	else if (!was_busy || !is_same_job(m))
		begin_job(m, now, false);
	else if (!m->job_file[0])
		begin_job(m, now, true);
}

static uint32_t
map_state(struct moonraker_state *m, const struct moonraker_when *now, struct record *r)
{
	enum printer_state to = own_state(m, now);

	enter(m, to, now);
	m->last = to;
	m->seen_state = true;
	if (r->state == to)
		return 0;
	r->state = to;
	return REC_STATE;
}

int64_t
moonraker_decide_at(const struct moonraker_state *m)
{
	return m->down_ms && m->last != PRINTER_OFFLINE ? m->down_ms + GRACE_MS : 0;
}

enum conn_reason
moonraker_limits(const struct moonraker_state *m)
{
	if (m->klippy == KLIPPY_STARTUP)
		return REASON_STARTING;
	return m->klippy == KLIPPY_DISCONNECTED ? REASON_PRINTER_NOT_CONNECTED : REASON_NONE;
}

/* --- the job ---------------------------------------------------------------------------------- */

static void
name_of(const char *file, char *out, size_t size)
{
	const char *base = strrchr(file, '/');
	struct str name = str_from(base ? base + 1 : file);
	const char *dot = strrchr(name.p, '.');

	if (dot && dot > name.p)
		name.n = (size_t)(dot - name.p);
	reading_clean(name, out, size);
}

static int32_t
percent(struct moonraker_state *m)
{
	if (m->outcome == OUTCOME_COMPLETED)
		m->last_percent = 100;
	else if (printer_state_busy(m->last))
		m->last_percent = (int32_t)floor(m->progress * 100);
	return m->last_percent;
}

/* By the slicer's estimate when there is one, else as it went so far. */
static int32_t
remaining(const struct moonraker_state *m)
{
	double left;

	if (m->last == PRINTER_FINISHED)
		return 0;
	if (!printer_state_busy(m->last))
		return REC_NONE;
	if (m->meta_s > 0 && strcmp(m->meta_file, m->filename) == 0)
		left = m->meta_s - m->print_s;
	else if (m->progress > 0.01 && m->print_s > 60)
		left = m->print_s * (1 - m->progress) / m->progress;
	else
		return REC_NONE;
	if (left < 0)
		left = 0;
	return left > 1e8 ? REC_NONE : (int32_t)(left / 60) * 60; /* no news every second */
}

static uint32_t
map_job(struct moonraker_state *m, struct record *r)
{
	struct rec_job j;
	bool own = m->filename[0] && strcmp(m->filename, m->job_file) == 0;

	memset(&j, 0, sizeof(j));
	j.present = m->job_file[0] &&
	    (printer_state_busy(m->last) || m->outcome != OUTCOME_NONE || m->undecided);
	j.progress = j.remaining_s = j.layer = j.total_layers = REC_NONE;
	if (j.present) {
		reading_clean(str_from(m->job_file), j.file, sizeof(j.file));
		name_of(m->job_file, j.name, sizeof(j.name));
		j.progress = percent(m);
		j.remaining_s = remaining(m);
		j.layer = own ? m->layer : REC_NONE;
		j.total_layers = own ? m->total_layers : REC_NONE;
		if (j.total_layers == REC_NONE && strcmp(m->meta_file, m->job_file) == 0)
			j.total_layers = m->meta_layers;
		j.outcome = m->outcome;
		j.started_ms = m->started_ms;
	}
	return RECORD_SET(r, job, &j, REC_JOB);
}

static uint32_t
map_errors(const struct moonraker_state *m, struct record *r)
{
	static const struct {
		enum klippy klippy;
		const char *code;
	} codes[] = {
	    {KLIPPY_SHUTDOWN, "klippy_shutdown"},
	    {KLIPPY_ERROR, "klippy_error"},
	    {KLIPPY_DISCONNECTED, "klippy_disconnected"},
	};
	struct rec_errors list;

	memset(&list, 0, sizeof(list));
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (m->klippy != codes[i].klippy)
			continue;
		snprintf(list.e[0].code, sizeof(list.e[0].code), "%s", codes[i].code);
		list.e[0].severity = SEVERITY_FATAL;
		list.n = 1;
	}
	if (list.n == 0 && m->klippy == KLIPPY_READY && m->print == KPRINT_ERROR) {
		snprintf(list.e[0].code, sizeof(list.e[0].code), "print_error");
		list.e[0].severity = SEVERITY_SERIOUS;
		list.n = 1;
	}
	return RECORD_SET(r, errors, &list, REC_ERRORS);
}

/* --- the rest --------------------------------------------------------------------------------- */

static uint32_t
map_temperatures(const struct moonraker_state *m, struct record *r)
{
	struct rec_temperatures t;

	memset(&t, 0, sizeof(t));
	t.present = true;
	for (int i = 0; i < REC_NOZZLES; i++) {
		if (!m->objects.extruder[i])
			continue;
		t.nozzles[t.n_nozzles].id = i;
		t.nozzles[t.n_nozzles].t.actual_dc = m->nozzle[i].actual_dc;
		t.nozzles[t.n_nozzles++].t.target_dc = m->nozzle[i].target_dc;
	}
	t.bed.actual_dc = m->objects.bed ? m->bed.actual_dc : REC_NONE;
	t.bed.target_dc = m->objects.bed ? m->bed.target_dc : REC_NONE;
	t.has_chamber = m->objects.chamber[0] != '\0';
	t.chamber.actual_dc = t.has_chamber ? m->chamber.actual_dc : REC_NONE;
	t.chamber.target_dc = m->objects.chamber_heater[0] ? m->chamber.target_dc : REC_NONE;
	return RECORD_SET(r, temperatures, &t, REC_TEMPERATURES);
}

static uint32_t
map_fans(const struct moonraker_state *m, struct record *r)
{
	struct rec_fans f;

	memset(&f, 0, sizeof(f));
	f.present = true;
	f.part_cooling_pct = m->fan_pct;
	f.auxiliary_pct = m->fan_aux_pct;
	f.chamber_pct = m->fan_chamber_pct;
	f.heatbreak_pct = REC_NONE;
	return RECORD_SET(r, fans, &f, REC_FANS);
}

static uint32_t
map_speed(const struct moonraker_state *m, struct record *r)
{
	struct rec_speed s;

	memset(&s, 0, sizeof(s));
	s.present = m->speed_pct != REC_NONE;
	s.level = REC_NONE;
	s.percent = m->speed_pct;
	return RECORD_SET(r, speed, &s, REC_SPEED);
}

static uint32_t
map_lights(const struct moonraker_state *m, struct record *r)
{
	struct rec_lights l;

	memset(&l, 0, sizeof(l));
	l.present = m->objects.n_lights > 0;
	for (int32_t i = 0; i < m->objects.n_lights; i++) {
		const char *own = strchr(m->objects.light[i], ' ');

		if (m->lit[i] == REC_NONE || !own)
			continue;
		reading_clean(str_from(own + 1), l.light[l.n].node, sizeof(l.light[l.n].node));
		l.light[l.n++].mode = m->lit[i] ? LIGHT_ON : LIGHT_OFF;
	}
	return RECORD_SET(r, lights, &l, REC_LIGHTS);
}

static uint32_t
map_firmware(const struct moonraker_state *m, struct record *r)
{
	struct rec_firmware f;

	memset(&f, 0, sizeof(f));
	f.present = m->klipper_version[0] != '\0';
	memcpy(f.version, m->klipper_version, sizeof(f.version));
	if (m->moonraker_version[0]) {
		snprintf(f.module[0].name, sizeof(f.module[0].name), "moonraker");
		memcpy(f.module[0].version, m->moonraker_version, sizeof(f.module[0].version));
		f.n = 1;
	}
	return record_set_firmware(r, &f);
}

uint32_t
moonraker_map(
    struct moonraker_state *m, uint32_t parts, const struct moonraker_when *now, struct record *r)
{
	uint32_t changed = 0;

	if (parts & MOONRAKER_STATE) {
		changed |= map_state(m, now, r);
		changed |= map_job(m, r);
		changed |= map_errors(m, r);
	}
	if (!m->full)
		return changed;
	if (parts & MOONRAKER_TEMPERATURES)
		changed |= map_temperatures(m, r);
	if (parts & MOONRAKER_FANS)
		changed |= map_fans(m, r);
	if (parts & MOONRAKER_SPEED)
		changed |= map_speed(m, r);
	if (parts & MOONRAKER_LIGHTS)
		changed |= map_lights(m, r);
	if (parts & MOONRAKER_FIRMWARE)
		changed |= map_firmware(m, r);
	return changed;
}
