/* Commands as messages of a Bambu printer's request topic. */
#include "gateway/bambu_command.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

enum {
	MESSAGE_MOST = 64 * 1024,
	QOS_ONCE = 1, /* of what must not be lost on the way */
	EXTERNAL_SPOOL = 254,
	NO_SPOOL = 255,
	HOT_UNITS = 128, /* AMS HT: one slot each, counted from here */
	FILAMENT_C = 220,
	FEED_XY = 3000, /* mm/min, where none is asked for */
	FEED_Z = 600,
	FEED_E = 300,
};

struct bambu_message *
bambu_message_begin(struct bambu_messages *out, const struct bambu_about *about,
    const char *section, const char *command, int qos)
{
	struct bambu_message *m = &out->m[out->n];

	must(out->n < BAMBU_MESSAGES);
	out->n++;
	buf_init(&m->json, MESSAGE_MOST);
	m->section = section;
	m->command = command;
	m->sequence = ++*about->sequence;
	m->qos = qos;
	buf_fmt(&m->json, "{\"%s\":{\"sequence_id\":\"%u\",\"command\":\"%s\"", section,
	    m->sequence, command);
	return m;
}

void
bambu_message_end(struct bambu_message *m)
{
	buf_str(&m->json, STR("}}"));
	must(!m->json.overflow);
}

void
bambu_messages_fini(struct bambu_messages *m)
{
	for (int i = 0; i < m->n; i++)
		buf_fini(&m->m[i].json);
	m->n = 0;
}

/* --- G-code ----------------------------------------------------------------------------------- */

static void
gcode_message(struct bambu_messages *out, const struct bambu_about *about, struct str lines)
{
	struct bambu_message *m = bambu_message_begin(out, about, "print", "gcode_line", 0);

	buf_str(&m->json, STR(",\"param\":"));
	buf_json_str(&m->json, lines);
	bambu_message_end(m);
}

/* A number with `digits` decimals, none where they are zero. */
static void
add_number(struct buf *b, int32_t v, int32_t unit, int digits)
{
	int64_t size = v < 0 ? -(int64_t)v : v;

	if (v < 0)
		buf_char(b, '-');
	buf_json_i64(b, size / unit);
	if (size % unit)
		buf_fmt(b, ".%0*d", digits, (int)(size % unit));
}

static enum answer
put_gcode(const struct command *c, const struct bambu_about *about, struct bambu_messages *out,
    const char **words)
{
	struct buf lines;

	(void)words;
	buf_init(&lines, MESSAGE_MOST / 3);
	for (int32_t i = 0; i < c->u.gcode.n; i++) {
		buf_str(&lines, str_from(c->u.gcode.line[i]));
		buf_char(&lines, '\n');
	}
	gcode_message(out, about, buf_view(&lines));
	buf_fini(&lines);
	return ANSWER_ACCEPTED;
}

static void
add_nozzle(struct buf *b, const struct command *c, bool dual)
{
	if (c->u.temperatures.nozzle_dc == REC_NONE)
		return;
	buf_str(b, STR("M104"));
	if (dual && c->u.temperatures.nozzle != REC_NONE)
		buf_fmt(b, " T%d", (int)c->u.temperatures.nozzle);
	buf_str(b, STR(" S"));
	add_number(b, c->u.temperatures.nozzle_dc, 10, 1);
	buf_char(b, '\n');
}

static enum answer
put_temperatures(const struct command *c, const struct bambu_about *about,
    struct bambu_messages *out, const char **words)
{
	int32_t nozzle = c->u.temperatures.nozzle, heads = about->state->n_extruders;
	struct buf lines;

	if (nozzle != REC_NONE && (nozzle < 0 || nozzle >= (heads > 1 ? heads : 1))) {
		*words = "the printer has no such nozzle";
		return ANSWER_UNSUPPORTED;
	}
	if (c->u.temperatures.chamber_dc != REC_NONE && !about->model->chamber_heater) {
		*words = "the model does not heat its chamber";
		return ANSWER_UNSUPPORTED;
	}
	buf_init(&lines, 256);
	add_nozzle(&lines, c, heads > 1);
	if (c->u.temperatures.bed_dc != REC_NONE) {
		buf_str(&lines, STR("M140 S"));
		add_number(&lines, c->u.temperatures.bed_dc, 10, 1);
		buf_char(&lines, '\n');
	}
	if (c->u.temperatures.chamber_dc != REC_NONE) {
		buf_str(&lines, STR("M141 S"));
		add_number(&lines, c->u.temperatures.chamber_dc, 10, 1);
		buf_char(&lines, '\n');
	}
	gcode_message(out, about, buf_view(&lines));
	buf_fini(&lines);
	return ANSWER_ACCEPTED;
}

static enum answer
put_fans(const struct command *c, const struct bambu_about *about, struct bambu_messages *out,
    const char **words)
{
	const int32_t pct[] = {
	    c->u.fans.part_cooling_pct, c->u.fans.auxiliary_pct, c->u.fans.chamber_pct};
	struct buf lines;

	if ((pct[1] != REC_NONE || pct[2] != REC_NONE) && !about->model->extra_fans) {
		*words = "the model has no such fan";
		return ANSWER_UNSUPPORTED;
	}
	buf_init(&lines, 256);
	for (int i = 0; i < 3; i++)
		if (pct[i] != REC_NONE)
			buf_fmt(&lines, "M106 P%d S%d\n", i + 1, (int)(pct[i] * 255 / 100));
	gcode_message(out, about, buf_view(&lines));
	buf_fini(&lines);
	return ANSWER_ACCEPTED;
}

static enum answer
put_home(const struct command *c, const struct bambu_about *about, struct bambu_messages *out,
    const char **words)
{
	char line[16];

	(void)words;
	snprintf(line, sizeof(line), "G28%s%s%s\n", c->u.home.x ? " X" : "",
	    c->u.home.y ? " Y" : "", c->u.home.z ? " Z" : "");
	gcode_message(out, about, str_from(line));
	return ANSWER_ACCEPTED;
}

static int32_t
feed_of(const struct command *c)
{
	if (c->u.jog.feed_mm_min != REC_NONE)
		return c->u.jog.feed_mm_min;
	if (c->u.jog.e_um != REC_NONE)
		return FEED_E;
	return c->u.jog.z_um != REC_NONE ? FEED_Z : FEED_XY;
}

static enum answer
put_jog(const struct command *c, const struct bambu_about *about, struct bambu_messages *out,
    const char **words)
{
	const int32_t by[] = {c->u.jog.x_um, c->u.jog.y_um, c->u.jog.z_um, c->u.jog.e_um};
	struct buf lines;

	(void)words;
	buf_init(&lines, 256);
	buf_str(&lines, STR("G91\n"));
	if (c->u.jog.e_um != REC_NONE)
		buf_str(&lines, STR("M83\n"));
	buf_str(&lines, STR("G1"));
	for (int i = 0; i < 4; i++) {
		if (by[i] == REC_NONE)
			continue;
		buf_fmt(&lines, " %c", "XYZE"[i]);
		add_number(&lines, by[i], 1000, 3);
	}
	buf_fmt(&lines, " F%d\nG90\n", (int)feed_of(c));
	gcode_message(out, about, buf_view(&lines));
	buf_fini(&lines);
	return ANSWER_ACCEPTED;
}

/* --- the job ---------------------------------------------------------------------------------- */

static void
plain_message(struct bambu_messages *out, const struct bambu_about *about, const char *command)
{
	struct bambu_message *m = bambu_message_begin(out, about, "print", command, QOS_ONCE);

	buf_str(&m->json, STR(",\"param\":\"\""));
	bambu_message_end(m);
}

static enum answer
put_pause(const struct command *c, const struct bambu_about *about, struct bambu_messages *out,
    const char **words)
{
	(void)c;
	(void)words;
	plain_message(out, about, "pause");
	return ANSWER_ACCEPTED;
}

static enum answer
put_resume(const struct command *c, const struct bambu_about *about, struct bambu_messages *out,
    const char **words)
{
	(void)c;
	(void)words;
	plain_message(out, about, "resume");
	return ANSWER_ACCEPTED;
}

static enum answer
put_stop(const struct command *c, const struct bambu_about *about, struct bambu_messages *out,
    const char **words)
{
	(void)c;
	(void)words;
	plain_message(out, about, "stop");
	return ANSWER_ACCEPTED;
}

/* The firmware's own stop first; a job is cancelled besides, where M112 is not heeded. */
static enum answer
put_emergency_stop(const struct command *c, const struct bambu_about *about,
    struct bambu_messages *out, const char **words)
{
	(void)c;
	(void)words;
	gcode_message(out, about, STR("M112\n"));
	plain_message(out, about, "stop");
	if (printer_state_busy(about->record->state))
		out->awaited = 1;
	return ANSWER_ACCEPTED;
}

static enum answer
put_clear_error(const struct command *c, const struct bambu_about *about,
    struct bambu_messages *out, const char **words)
{
	(void)c;
	(void)words;
	bambu_message_end(bambu_message_begin(out, about, "print", "clean_print_error", 0));
	return ANSWER_ACCEPTED;
}

static enum answer
put_skip_objects(const struct command *c, const struct bambu_about *about,
    struct bambu_messages *out, const char **words)
{
	struct bambu_message *m;

	for (int32_t i = 0; i < c->u.objects.n; i++) {
		if (c->u.objects.id[i] != REC_NONE)
			continue;
		*words = "this printer knows its objects by number only";
		return ANSWER_UNSUPPORTED;
	}
	m = bambu_message_begin(out, about, "print", "skip_objects", 0);
	buf_str(&m->json, STR(",\"obj_list\":["));
	for (int32_t i = 0; i < c->u.objects.n; i++)
		buf_fmt(&m->json, "%s%d", i ? "," : "", (int)c->u.objects.id[i]);
	buf_char(&m->json, ']');
	bambu_message_end(m);
	return ANSWER_ACCEPTED;
}

static enum answer
put_speed(const struct command *c, const struct bambu_about *about, struct bambu_messages *out,
    const char **words)
{
	struct bambu_message *m;

	if (c->u.speed.level < 1 || c->u.speed.level > 4) {
		*words = "this printer has four levels of speed and takes no percentage";
		return ANSWER_UNSUPPORTED;
	}
	m = bambu_message_begin(out, about, "print", "print_speed", 0);
	buf_fmt(&m->json, ",\"param\":\"%d\"", (int)c->u.speed.level);
	bambu_message_end(m);
	return ANSWER_ACCEPTED;
}

/* --- lights ----------------------------------------------------------------------------------- */

static bool
has_light(const struct rec_lights *l, const char *node)
{
	for (int32_t i = 0; i < l->n; i++)
		if (strcmp(l->light[i].node, node) == 0)
			return true;
	return false;
}

static void
light_message(
    struct bambu_messages *out, const struct bambu_about *about, const char *node, bool on)
{
	struct bambu_message *m = bambu_message_begin(out, about, "system", "ledctrl", 0);

	buf_str(&m->json, STR(",\"led_node\":"));
	buf_json_str(&m->json, str_from(node));
	buf_fmt(&m->json,
	    ",\"led_mode\":\"%s\",\"led_on_time\":500,\"led_off_time\":500,\"loop_times\":0,"
	    "\"interval_time\":0",
	    on ? "on" : "off");
	bambu_message_end(m);
}

/* The chamber's light is two on some models. */
static enum answer
put_light(const struct command *c, const struct bambu_about *about, struct bambu_messages *out,
    const char **words)
{
	const struct rec_lights *lights = &about->state->lights;
	const char *node = c->u.light.node[0] ? c->u.light.node : "chamber_light";

	if (lights->present && !has_light(lights, node)) {
		*words = "the printer has no such light";
		return ANSWER_UNSUPPORTED;
	}
	light_message(out, about, node, c->u.light.on);
	if (!c->u.light.node[0] && has_light(lights, "chamber_light2"))
		light_message(out, about, "chamber_light2", c->u.light.on);
	return ANSWER_ACCEPTED;
}

/* --- filament --------------------------------------------------------------------------------- */

static const struct rec_slot *
find_slot(const struct rec_ams *a, int32_t unit, int32_t slot)
{
	for (int32_t i = 0; i < a->n_units; i++) {
		const struct rec_unit *u = &a->units[i];

		for (int32_t j = 0; u->id == unit && j < u->n_slots; j++)
			if (u->slots[j].id == slot)
				return &u->slots[j];
	}
	for (int32_t i = 0; unit == REC_NONE && i < a->n_external; i++)
		if (slot == REC_NONE || a->external[i].id == slot)
			return &a->external[i];
	return NULL;
}

/* What the filament is heated to: as asked for, else the middle of its own range. */
static int32_t
filament_c(const struct command *c, const struct rec_slot *s)
{
	if (c->u.filament.nozzle_dc != REC_NONE)
		return c->u.filament.nozzle_dc / 10;
	if (!s || s->nozzle_min_c == REC_NONE || s->nozzle_max_c == REC_NONE)
		return FILAMENT_C;
	return (s->nozzle_min_c + s->nozzle_max_c) / 2;
}

static void
filament_message(struct bambu_messages *out, const struct bambu_about *about, int32_t target,
    int32_t unit, int32_t slot, int32_t celsius)
{
	struct bambu_message *m = bambu_message_begin(
	    out, about, "print", "ams_change_filament", 0);

	buf_fmt(&m->json,
	    ",\"target\":%d,\"curr_temp\":%d,\"tar_temp\":%d,\"ams_id\":%d,\"slot_id\":%d",
	    (int)target, (int)celsius, (int)celsius, (int)unit, (int)slot);
	bambu_message_end(m);
}

static enum answer
load_external(const struct command *c, const struct bambu_about *about, struct bambu_messages *out)
{
	const struct rec_slot *s = find_slot(&about->record->ams, REC_NONE, c->u.filament.slot);
	int32_t unit = c->u.filament.slot == EXTERNAL_SPOOL && about->state->n_extruders > 1
	    ? EXTERNAL_SPOOL
	    : NO_SPOOL;

	filament_message(out, about, EXTERNAL_SPOOL, unit, 0, filament_c(c, s));
	return ANSWER_ACCEPTED;
}

static enum answer
put_load(const struct command *c, const struct bambu_about *about, struct bambu_messages *out,
    const char **words)
{
	const struct rec_ams *a = &about->record->ams;
	int32_t unit = c->u.filament.unit, slot = c->u.filament.slot;
	const struct rec_slot *s;

	if (c->u.filament.length_um != REC_NONE) {
		*words = "the printer decides itself how much filament it feeds";
		return ANSWER_UNSUPPORTED;
	}
	if (unit == REC_NONE && (slot == REC_NONE || slot >= EXTERNAL_SPOOL))
		return load_external(c, about, out);
	if (unit == REC_NONE && a->n_units == 1)
		unit = a->units[0].id;
	if (slot == REC_NONE)
		slot = 0;
	s = find_slot(a, unit, slot);
	if (unit == REC_NONE || !s) {
		*words = "the printer has no such slot";
		return ANSWER_REFUSED;
	}
	filament_message(
	    out, about, unit >= HOT_UNITS ? unit : unit * 4 + slot, unit, slot, filament_c(c, s));
	return ANSWER_ACCEPTED;
}

static enum answer
put_unload(const struct command *c, const struct bambu_about *about, struct bambu_messages *out,
    const char **words)
{
	const struct rec_ams *a = &about->record->ams;
	const struct rec_slot *s = NULL;
	int32_t unit = NO_SPOOL;

	(void)words;
	if (a->has_active) {
		s = find_slot(a, a->active_unit, a->active_slot);
		unit = a->active_unit == REC_NONE ? NO_SPOOL : a->active_unit;
	}
	filament_message(out, about, NO_SPOOL, unit, NO_SPOOL, filament_c(c, s));
	return ANSWER_ACCEPTED;
}

/* --- all -------------------------------------------------------------------------------------- */

enum answer
bambu_command_messages(const struct command *c, const struct bambu_about *about,
    struct bambu_messages *out, const char **words)
{
	static enum answer (*const put[CMD_KINDS])(const struct command *c,
	    const struct bambu_about *about, struct bambu_messages *out, const char **words) = {
	    [CMD_PAUSE] = put_pause,
	    [CMD_RESUME] = put_resume,
	    [CMD_STOP] = put_stop,
	    [CMD_EMERGENCY_STOP] = put_emergency_stop,
	    [CMD_GCODE] = put_gcode,
	    [CMD_SET_TEMPERATURES] = put_temperatures,
	    [CMD_HOME] = put_home,
	    [CMD_JOG] = put_jog,
	    [CMD_FANS] = put_fans,
	    [CMD_LIGHT] = put_light,
	    [CMD_SPEED] = put_speed,
	    [CMD_SKIP_OBJECTS] = put_skip_objects,
	    [CMD_LOAD_FILAMENT] = put_load,
	    [CMD_UNLOAD_FILAMENT] = put_unload,
	    [CMD_CLEAR_ERROR] = put_clear_error,
	};
	enum answer a;

	memset(out, 0, sizeof(*out));
	*words = NULL;
	if ((unsigned)c->kind >= CMD_KINDS || !put[c->kind])
		return ANSWER_UNSUPPORTED;
	a = put[c->kind](c, about, out, words);
	if (a == ANSWER_ACCEPTED && c->kind != CMD_EMERGENCY_STOP)
		out->awaited = out->n - 1;
	return a;
}
