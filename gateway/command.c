/* The table of commands: names, parameters, and what shows that one was carried out. */
#include "gateway/command.h"

#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "base/log.h"
#include "gateway/reading.h"

enum {
	NEAR_DC = 10, /* a target that was rounded on its way */
	NEAR_PCT = 7, /* fans of some printers have 16 steps */
	ANSWER_MS = 30000,
};

/* --- parameters ------------------------------------------------------------------------------- */

/* A member times `scale`, REC_NONE when it is missing or out of range. */
static int32_t
scaled(struct json_object *v, const char *name, double scale)
{
	double d;

	if (!reading_double(reading_member(v, name), &d) || d * scale < -2e9 || d * scale > 2e9)
		return REC_NONE;
	d *= scale;
	return (int32_t)(d < 0 ? d - 0.5 : d + 0.5);
}

static bool
read_temperatures(struct json_object *v, struct command *c)
{
	c->u.temperatures.nozzle = scaled(v, "nozzle", 1);
	if (c->u.temperatures.nozzle == REC_NONE)
		c->u.temperatures.nozzle = 0;
	c->u.temperatures.nozzle_dc = scaled(v, "nozzle_c", 10);
	c->u.temperatures.bed_dc = scaled(v, "bed_c", 10);
	c->u.temperatures.chamber_dc = scaled(v, "chamber_c", 10);
	return true;
}

static bool
read_fans(struct json_object *v, struct command *c)
{
	c->u.fans.part_cooling_pct = scaled(v, "part_cooling_pct", 1);
	c->u.fans.auxiliary_pct = scaled(v, "auxiliary_pct", 1);
	c->u.fans.chamber_pct = scaled(v, "chamber_pct", 1);
	return true;
}

static bool
read_light(struct json_object *v, struct command *c)
{
	reading_text(reading_member(v, "node"), c->u.light.node, sizeof(c->u.light.node));
	return reading_bool(reading_member(v, "on"), &c->u.light.on);
}

static bool
read_speed(struct json_object *v, struct command *c)
{
	static const char *const levels[] = {"silent", "standard", "sport", "ludicrous"};
	char level[16] = "";

	c->u.speed.percent = scaled(v, "percent", 1);
	c->u.speed.level = REC_NONE;
	reading_text(reading_member(v, "level"), level, sizeof(level));
	for (int32_t i = 0; i < 4; i++)
		if (strcmp(level, levels[i]) == 0)
			c->u.speed.level = i + 1;
	return c->u.speed.percent != REC_NONE || c->u.speed.level != REC_NONE;
}

static bool
read_home(struct json_object *v, struct command *c)
{
	struct json_object *axes = reading_member(v, "axes");
	char axis[4] = "";

	for (size_t i = 0;
	     json_object_is_type(axes, json_type_array) && i < json_object_array_length(axes);
	     i++) {
		reading_text(json_object_array_get_idx(axes, i), axis, sizeof(axis));
		c->u.home.x = c->u.home.x || strcmp(axis, "x") == 0;
		c->u.home.y = c->u.home.y || strcmp(axis, "y") == 0;
		c->u.home.z = c->u.home.z || strcmp(axis, "z") == 0;
	}
	return true;
}

static bool
read_jog(struct json_object *v, struct command *c)
{
	c->u.jog.x_um = scaled(v, "x_mm", 1000);
	c->u.jog.y_um = scaled(v, "y_mm", 1000);
	c->u.jog.z_um = scaled(v, "z_mm", 1000);
	c->u.jog.e_um = scaled(v, "e_mm", 1000);
	c->u.jog.feed_mm_min = scaled(v, "feed_mm_min", 1);
	return true;
}

static bool
read_objects(struct json_object *v, struct command *c)
{
	struct json_object *ids = reading_member(v, "object_ids"),
			   *names = reading_member(v, "objects"), *list = ids ? ids : names;
	int32_t n = 0;

	for (size_t i = 0; json_object_is_type(list, json_type_array) &&
	     i < json_object_array_length(list) && n < CMD_OBJECTS;
	     i++, n++) {
		struct json_object *one = json_object_array_get_idx(list, i);
		int64_t id = REC_NONE;

		if (ids)
			reading_i64(one, &id);
		else
			reading_text(one, c->u.objects.name[n], sizeof(c->u.objects.name[n]));
		c->u.objects.id[n] = id >= INT32_MIN && id <= INT32_MAX ? (int32_t)id : REC_NONE;
	}
	c->u.objects.n = n;
	return n > 0;
}

static bool
read_filament(struct json_object *v, struct command *c)
{
	c->u.filament.unit = scaled(v, "unit", 1);
	c->u.filament.slot = scaled(v, "slot", 1);
	c->u.filament.nozzle_dc = scaled(v, "nozzle_c", 10);
	c->u.filament.length_um = scaled(v, "length_mm", 1000);
	return true;
}

static bool
read_gcode(struct json_object *v, struct command *c)
{
	struct json_object *lines = reading_member(v, "lines");
	size_t n = json_object_is_type(lines, json_type_array) ? json_object_array_length(lines)
							       : 0;

	if (n == 0 || n > CMD_LINES)
		return false;
	c->u.gcode.line = calloc(n, sizeof(*c->u.gcode.line));
	must(c->u.gcode.line != NULL);
	c->u.gcode.n = (int32_t)n;
	for (size_t i = 0; i < n; i++) {
		struct json_object *one = json_object_array_get_idx(lines, i);

		if (!json_object_is_type(one, json_type_string) ||
		    json_object_get_string_len(one) >= CMD_LINE)
			return false;
		reading_text(one, c->u.gcode.line[i], CMD_LINE);
	}
	return true;
}

/* --- what makes sense, and what shows that it was done ------------------------------------------
 */

static bool
is_paused(const struct command *c, const struct record *r)
{
	(void)c;
	return r->state == PRINTER_PAUSED;
}

static bool
is_running(const struct command *c, const struct record *r)
{
	(void)c;
	return r->state == PRINTER_PRINTING || r->state == PRINTER_PREPARING;
}

static bool
is_at_rest(const struct command *c, const struct record *r)
{
	(void)c;
	return !printer_state_busy(r->state) && r->state != PRINTER_OFFLINE;
}

static bool
is_stopped(const struct command *c, const struct record *r)
{
	(void)c;
	return !printer_state_busy(r->state);
}

static bool
is_ready(const struct command *c, const struct record *r)
{
	return is_at_rest(c, r) && r->state != PRINTER_ERROR;
}

static bool
near_dc(int32_t wanted_dc, int32_t target_dc)
{
	return wanted_dc == REC_NONE ||
	    (target_dc != REC_NONE && target_dc >= wanted_dc - NEAR_DC &&
		target_dc <= wanted_dc + NEAR_DC);
}

static bool
is_heated(const struct command *c, const struct record *r)
{
	int32_t nozzle_dc = REC_NONE;

	for (int32_t i = 0; i < r->temperatures.n_nozzles; i++)
		if (r->temperatures.nozzles[i].id == c->u.temperatures.nozzle)
			nozzle_dc = r->temperatures.nozzles[i].t.target_dc;
	return near_dc(c->u.temperatures.nozzle_dc, nozzle_dc) &&
	    near_dc(c->u.temperatures.bed_dc, r->temperatures.bed.target_dc) &&
	    near_dc(c->u.temperatures.chamber_dc, r->temperatures.chamber.target_dc);
}

static bool
near_pct(int32_t wanted, int32_t is)
{
	return wanted == REC_NONE ||
	    (is != REC_NONE && is >= wanted - NEAR_PCT && is <= wanted + NEAR_PCT);
}

static bool
is_blowing(const struct command *c, const struct record *r)
{
	return near_pct(c->u.fans.part_cooling_pct, r->fans.part_cooling_pct) &&
	    near_pct(c->u.fans.auxiliary_pct, r->fans.auxiliary_pct) &&
	    near_pct(c->u.fans.chamber_pct, r->fans.chamber_pct);
}

static bool
is_lit(const struct command *c, const struct record *r)
{
	for (int32_t i = 0; i < r->lights.n; i++)
		if (!c->u.light.node[0] || strcmp(c->u.light.node, r->lights.light[i].node) == 0)
			return (r->lights.light[i].mode != LIGHT_OFF) == c->u.light.on;
	return false;
}

static bool
is_fast(const struct command *c, const struct record *r)
{
	if (c->u.speed.level != REC_NONE)
		return r->speed.level == c->u.speed.level;
	return r->speed.percent == c->u.speed.percent;
}

static bool
has_no_error(const struct command *c, const struct record *r)
{
	(void)c;
	for (int32_t i = 0; i < r->errors.n; i++)
		if (!r->errors.e[i].hms)
			return false;
	return r->state != PRINTER_ERROR;
}

static bool
may_pause(const struct record *r)
{
	return r->state == PRINTER_PRINTING || r->state == PRINTER_PREPARING;
}

static bool
may_resume(const struct record *r)
{
	return r->state == PRINTER_PAUSED;
}

static bool
may_stop(const struct record *r)
{
	return printer_state_busy(r->state);
}

/* Not while a job runs: the nozzle would be taken from it. */
static bool
may_move(const struct record *r)
{
	return r->state != PRINTER_PRINTING && r->state != PRINTER_PREPARING &&
	    r->state != PRINTER_OFFLINE;
}

static const struct {
	const char *name;
	bool (*read)(struct json_object *v, struct command *c); /* NULL: no parameters */
	bool (*may)(const struct record *r);                    /* NULL: always */
	/* NULL: the printer's answer is all there is */
	bool (*shows)(const struct command *c, const struct record *r);
	int64_t patience_ms;
} kinds[CMD_KINDS] = {
    [CMD_PAUSE] = {"pause", NULL, may_pause, is_paused, 60000},
    [CMD_RESUME] = {"resume", NULL, may_resume, is_running, 60000},
    [CMD_STOP] = {"stop", NULL, may_stop, is_at_rest, 60000},
    [CMD_EMERGENCY_STOP] = {"emergency_stop", NULL, NULL, is_stopped, ANSWER_MS},
    [CMD_GCODE] = {"gcode", read_gcode, NULL, NULL, 600000},
    [CMD_SET_TEMPERATURES] = {"set_temperatures", read_temperatures, NULL, is_heated, ANSWER_MS},
    [CMD_HOME] = {"home", read_home, may_move, NULL, 180000},
    [CMD_JOG] = {"jog", read_jog, may_move, NULL, 180000},
    [CMD_FANS] = {"fans", read_fans, NULL, is_blowing, ANSWER_MS},
    [CMD_LIGHT] = {"light", read_light, NULL, is_lit, ANSWER_MS},
    [CMD_SPEED] = {"speed", read_speed, NULL, is_fast, ANSWER_MS},
    [CMD_SKIP_OBJECTS] = {"skip_objects", read_objects, may_stop, NULL, ANSWER_MS},
    [CMD_LOAD_FILAMENT] = {"load_filament", read_filament, may_move, NULL, 300000},
    [CMD_UNLOAD_FILAMENT] = {"unload_filament", read_filament, may_move, NULL, 300000},
    [CMD_CLEAR_ERROR] = {"clear_error", NULL, NULL, has_no_error, ANSWER_MS},
    [CMD_FIRMWARE_RESTART] = {"firmware_restart", NULL, NULL, is_ready, 120000},
};

const char *
command_name(enum command_kind k)
{
	return (unsigned)k < CMD_KINDS ? kinds[k].name : NULL;
}

bool
command_parse(struct json_object *v, struct command *out)
{
	char name[32] = "";

	memset(out, 0, sizeof(*out));
	reading_text(reading_member(v, "command"), name, sizeof(name));
	for (int k = 0; k < CMD_KINDS; k++) {
		if (strcmp(name, kinds[k].name) != 0)
			continue;
		out->kind = (enum command_kind)k;
		if (!kinds[k].read || kinds[k].read(v, out))
			return true;
		command_fini(out);
		return false;
	}
	return false;
}

void
command_fini(struct command *c)
{
	if (c->kind == CMD_GCODE)
		free(c->u.gcode.line);
	memset(c, 0, sizeof(*c));
}

bool
command_makes_sense(const struct command *c, const struct record *r)
{
	return !kinds[c->kind].may || kinds[c->kind].may(r);
}

enum confirm
command_confirm(const struct command *c)
{
	return kinds[c->kind].shows ? CONFIRM_STATE : CONFIRM_ANSWER;
}

bool
command_shows(const struct command *c, const struct record *r)
{
	return kinds[c->kind].shows && kinds[c->kind].shows(c, r);
}

int64_t
command_patience_ms(const struct command *c)
{
	return kinds[c->kind].patience_ms;
}
