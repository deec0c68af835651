/* The sections of a record as JSON, in the shapes of the contract's PrinterStatus. */
#include "base/clock.h"
#include "gateway/record.h"

static void
key(struct buf *b, const char *name)
{
	char last = b->n ? b->p[b->n - 1] : '{';

	if (last != '{' && last != '[')
		buf_char(b, ',');
	buf_char(b, '"');
	buf_str(b, str_from(name));
	buf_str(b, STR("\":"));
}

static void
put_text(struct buf *b, const char *name, const char *z)
{
	key(b, name);
	if (z && *z)
		buf_json_str(b, str_from(z));
	else
		buf_str(b, STR("null"));
}

static void
put_bool(struct buf *b, const char *name, bool v)
{
	key(b, name);
	buf_str(b, v ? STR("true") : STR("false"));
}

static void
put_int(struct buf *b, const char *name, int32_t v)
{
	key(b, name);
	if (v == REC_NONE)
		buf_str(b, STR("null"));
	else
		buf_json_i64(b, v);
}

/* Tenths, "26.5". */
static void
put_tenths(struct buf *b, const char *name, int32_t v)
{
	if (v == REC_NONE || v % 10 == 0) {
		put_int(b, name, v == REC_NONE ? v : v / 10);
		return;
	}
	key(b, name);
	if (v < 0)
		buf_char(b, '-');
	buf_json_i64(b, v < 0 ? -(v / 10) : v / 10);
	buf_char(b, '.');
	buf_char(b, (char)('0' + (v < 0 ? -(v % 10) : v % 10)));
}

static void
put_yes_no(struct buf *b, const char *name, int32_t v)
{
	if (v == REC_NONE)
		put_int(b, name, v);
	else
		put_bool(b, name, v != 0);
}

static void
put_time(struct buf *b, const char *name, int64_t unix_ms)
{
	char text[40] = "";

	if (unix_ms)
		clock_rfc3339_to(text, unix_ms);
	put_text(b, name, text);
}

/* Begins element i of a list of objects. */
static void
element(struct buf *b, int32_t i)
{
	buf_str(b, i ? STR(",{") : STR("{"));
}

static void
json_job(struct buf *b, const struct record *r)
{
	const struct rec_job *j = &r->job;

	put_text(b, "file", j->file);
	put_text(b, "name", j->name);
	put_int(b, "progress", j->progress);
	put_int(b, "remaining_s", j->remaining_s);
	put_int(b, "layer", j->layer);
	put_int(b, "total_layers", j->total_layers);
	put_text(b, "outcome", job_outcome_name(j->outcome));
	put_text(b, "stage", j->stage);
	put_time(b, "started_at", j->started_ms);
	put_text(b, "task_id", j->task_id);
}

static void
json_temp(struct buf *b, const struct rec_temp *t)
{
	put_tenths(b, "actual_c", t->actual_dc);
	put_tenths(b, "target_c", t->target_dc);
}

static void
json_temperatures(struct buf *b, const struct record *r)
{
	const struct rec_temperatures *t = &r->temperatures;

	key(b, "nozzles");
	buf_char(b, '[');
	for (int32_t i = 0; i < t->n_nozzles; i++) {
		element(b, i);
		put_int(b, "id", t->nozzles[i].id);
		json_temp(b, &t->nozzles[i].t);
		buf_char(b, '}');
	}
	buf_char(b, ']');
	key(b, "bed");
	buf_char(b, '{');
	json_temp(b, &t->bed);
	buf_char(b, '}');
	key(b, "chamber");
	if (!t->has_chamber) {
		buf_str(b, STR("null"));
		return;
	}
	buf_char(b, '{');
	json_temp(b, &t->chamber);
	buf_char(b, '}');
}

static void
json_fans(struct buf *b, const struct record *r)
{
	put_int(b, "part_cooling_pct", r->fans.part_cooling_pct);
	put_int(b, "auxiliary_pct", r->fans.auxiliary_pct);
	put_int(b, "chamber_pct", r->fans.chamber_pct);
	put_int(b, "heatbreak_pct", r->fans.heatbreak_pct);
}

static void
json_speed(struct buf *b, const struct record *r)
{
	static const char *const levels[] = {NULL, "silent", "standard", "sport", "ludicrous"};
	int32_t level = r->speed.level;

	put_text(b, "level", level >= 1 && level <= 4 ? levels[level] : NULL);
	put_int(b, "percent", r->speed.percent);
}

static void
json_lights(struct buf *b, const struct record *r)
{
	static const char *const modes[] = {"off", "on", "flashing"};

	for (int32_t i = 0; i < r->lights.n; i++) {
		element(b, i);
		key(b, "node");
		buf_json_str(b, str_from(r->lights.light[i].node));
		put_text(b, "mode", modes[r->lights.light[i].mode]);
		buf_char(b, '}');
	}
}

static void
json_colors(struct buf *b, const struct rec_slot *s)
{
	key(b, "colors");
	buf_char(b, '[');
	for (int32_t i = 0; s->present && i < s->n_colors; i++) {
		if (i)
			buf_char(b, ',');
		buf_json_str(b, str_from(s->colors[i]));
	}
	buf_char(b, ']');
}

/* An empty place has no material, whatever was in it before. */
static void
json_slot(struct buf *b, const struct rec_slot *s, const char *id_name)
{
	put_int(b, id_name, s->id);
	put_bool(b, "present", s->present);
	put_text(b, "material", s->present ? s->material : NULL);
	put_text(b, "name", s->present ? s->name : NULL);
	put_text(b, "color", s->present ? s->color : NULL);
	json_colors(b, s);
	put_int(b, "remaining_pct", s->present ? s->remaining_pct : REC_NONE);
	put_bool(b, "rfid", s->present && s->rfid);
	put_text(b, "filament_id", s->present ? s->filament_id : NULL);
	put_int(b, "nozzle_min_c", s->present ? s->nozzle_min_c : REC_NONE);
	put_int(b, "nozzle_max_c", s->present ? s->nozzle_max_c : REC_NONE);
}

static void
json_slots(
    struct buf *b, const char *name, const struct rec_slot *s, int32_t n, const char *id_name)
{
	key(b, name);
	buf_char(b, '[');
	for (int32_t i = 0; i < n; i++) {
		element(b, i);
		json_slot(b, &s[i], id_name);
		buf_char(b, '}');
	}
	buf_char(b, ']');
}

static void
json_units(struct buf *b, const struct rec_ams *a)
{
	key(b, "units");
	buf_char(b, '[');
	for (int32_t i = 0; i < a->n_units; i++) {
		const struct rec_unit *u = &a->units[i];

		element(b, i);
		put_int(b, "id", u->id);
		put_int(b, "humidity", u->humidity);
		put_int(b, "humidity_pct", u->humidity_pct);
		put_tenths(b, "temperature_c", u->temperature_dc);
		put_int(b, "drying_remaining_s", u->drying_s);
		json_slots(b, "slots", u->slots, u->n_slots, "slot");
		buf_char(b, '}');
	}
	buf_char(b, ']');
}

static void
json_ams(struct buf *b, const struct record *r)
{
	const struct rec_ams *a = &r->ams;

	json_units(b, a);
	key(b, "active");
	if (a->has_active) {
		buf_char(b, '{');
		put_int(b, "unit", a->active_unit);
		put_int(b, "slot", a->active_slot);
		buf_char(b, '}');
	} else {
		buf_str(b, STR("null"));
	}
	json_slots(b, "external", a->external, a->n_external, "id");
}

static void
json_errors(struct buf *b, const struct record *r)
{
	static const char wiki[] = "https://wiki.bambulab.com/en/x1/troubleshooting/hmscode/";

	for (int32_t i = 0; i < r->errors.n; i++) {
		const struct rec_error *e = &r->errors.e[i];

		element(b, i);
		put_text(b, "code", e->code);
		put_text(b, "severity", severity_name(e->severity));
		put_text(b, "module", e->module);
		put_text(b, "source", e->hms ? "hms" : "print_error");
		put_text(b, "message", e->message);
		key(b, "url");
		if (e->hms)
			buf_fmt(b, "\"%s%s\"}", wiki, e->code);
		else
			buf_str(b, STR("null}"));
	}
}

static void
json_wifi(struct buf *b, const struct record *r)
{
	put_int(b, "signal_dbm", r->wifi_dbm);
}

static void
json_firmware(struct buf *b, const struct record *r)
{
	put_text(b, "version", r->firmware->version);
	key(b, "modules");
	buf_char(b, '[');
	for (int32_t i = 0; i < r->firmware->n; i++) {
		element(b, i);
		key(b, "name");
		buf_json_str(b, str_from(r->firmware->module[i].name));
		put_text(b, "version", r->firmware->module[i].version);
		buf_char(b, '}');
	}
	buf_char(b, ']');
}

static void
json_extra(struct buf *b, const struct record *r)
{
	put_text(b, "product", r->extra.product);
	put_yes_no(b, "storage_present", r->extra.storage);
	put_yes_no(b, "door_open", r->extra.door_open);
}

static bool
known_job(const struct record *r)
{
	return r->job.present;
}

static bool
known_temperatures(const struct record *r)
{
	return r->temperatures.present;
}

static bool
known_fans(const struct record *r)
{
	return r->fans.present;
}

static bool
known_speed(const struct record *r)
{
	return r->speed.present;
}

static bool
known_lights(const struct record *r)
{
	return r->lights.present;
}

static bool
known_ams(const struct record *r)
{
	return r->ams.present;
}

static bool
known_wifi(const struct record *r)
{
	return r->wifi_dbm != REC_NONE;
}

static bool
known_firmware(const struct record *r)
{
	return r->firmware != NULL;
}

static bool
known_extra(const struct record *r)
{
	return r->extra.present;
}

void
record_json(struct buf *b, const struct record *r, uint32_t bit)
{
	static const struct {
		uint32_t bit;
		bool list;
		bool (*known)(const struct record *r); /* NULL: always */
		void (*put)(struct buf *b, const struct record *r);
	} sections[] = {
	    {REC_JOB, false, known_job, json_job},
	    {REC_TEMPERATURES, false, known_temperatures, json_temperatures},
	    {REC_FANS, false, known_fans, json_fans},
	    {REC_SPEED, false, known_speed, json_speed},
	    {REC_LIGHTS, true, known_lights, json_lights},
	    {REC_AMS, false, known_ams, json_ams},
	    {REC_ERRORS, true, NULL, json_errors},
	    {REC_WIFI, false, known_wifi, json_wifi},
	    {REC_FIRMWARE, false, known_firmware, json_firmware},
	    {REC_EXTRA, false, known_extra, json_extra},
	};

	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		if (sections[i].bit != bit)
			continue;
		if (sections[i].known && !sections[i].known(r)) {
			buf_str(b, STR("null"));
			return;
		}
		buf_char(b, sections[i].list ? '[' : '{');
		sections[i].put(b, r);
		buf_char(b, sections[i].list ? ']' : '}');
	}
}
