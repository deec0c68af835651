/* Commands and starts: what is sent, and what its answer means. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "gateway/moonraker_link.h"
#include "gateway/reading.h"

enum {
	SETTLE_MS = 200, /* complaints about G-code come apart from the answer */
	SCRIPT_MOST = 20 * 1024,
	METHOD_NOT_FOUND = -32601,
	UNAUTHORIZED = 401,
	UNAVAILABLE = 503
};

/* --- answers ---------------------------------------------------------------------------------- */

static void
finish(struct moonraker *m, enum answer a, const char *words)
{
	m->order = 0;
	timer_stop(m->env->loop, &m->settle);
	session_answer(m->s, a, words);
}

void
moonraker_order_lost(struct moonraker *m)
{
	if (m->order)
		finish(m, ANSWER_LOST, NULL);
}

/* Klipper says "ok" to a script whatever was in it; what it did not know it says in a line. */
void
moonraker_order_heard(struct moonraker *m, const char *line)
{
	const char *mark = strstr(line, "Unknown command:\"");
	char word[64];
	size_t n = 0;

	if (!m->order || !m->order_script[0] || m->complaint[0] || !mark)
		return;
	for (mark += 17; mark[n] && mark[n] != '"' && n < sizeof(word) - 1; n++)
		word[n] = (char)toupper((unsigned char)mark[n]);
	word[n] = '\0';
	if (n == 0 || !strstr(m->order_script, word))
		return; /* somebody else's */
	snprintf(m->complaint, sizeof(m->complaint), "%s",
	    strncmp(line, "// ", 3) == 0 ? line + 3 : line);
	if (m->order_taken)
		moonraker_order_settle(m);
}

void
moonraker_order_settle(void *ctx)
{
	struct moonraker *m = ctx;

	if (!m->order)
		return;
	if (m->complaint[0])
		finish(m, ANSWER_REFUSED, m->complaint);
	else
		finish(m, ANSWER_ACCEPTED, NULL);
}

/* A script that stopped in the middle of a relative move would leave the machine so. */
static void
after_refusal(struct moonraker *m)
{
	struct buf b;

	if (m->order_kind != CMD_JOG)
		return;
	buf_init(&b, 64);
	buf_str(&b, STR("{\"script\":\"G90\"}"));
	moonraker_call(m, WANT_NOTHING, "printer.gcode.script", &b);
	buf_fini(&b);
}

static void
refused(struct moonraker *m, struct json_object *error)
{
	char words[MOONRAKER_WORDS] = "";
	int64_t code = 0;
	enum answer a = ANSWER_REFUSED;

	reading_i64(reading_member(error, "code"), &code);
	reading_text(reading_member(error, "message"), words, sizeof(words));
	if (code == METHOD_NOT_FOUND)
		a = ANSWER_UNSUPPORTED;
	else if (strcasestr(words, "SD busy") || strcasestr(words, "is printing"))
		a = ANSWER_BUSY;
	/* Klipper restarts before it can answer. */
	if (m->order_kind == CMD_FIRMWARE_RESTART && code == UNAVAILABLE)
		a = ANSWER_ACCEPTED;
	if (a != ANSWER_ACCEPTED)
		after_refusal(m);
	finish(m, a, words[0] ? words : NULL);
}

void
moonraker_order_answered(struct moonraker *m, struct json_object *error)
{
	if (error) {
		refused(m, error);
		return;
	}
	m->order_taken = true;
	if (m->order_script[0] && !m->complaint[0])
		timer_set(m->env->loop, &m->settle, SETTLE_MS);
	else
		moonraker_order_settle(m);
}

/* --- what is sent ----------------------------------------------------------------------------- */

static void
send_order(
    struct moonraker *m, enum command_kind kind, const char *method, const struct buf *params)
{
	m->order_kind = kind;
	m->order_taken = false;
	m->complaint[0] = '\0';
	timer_stop(m->env->loop, &m->settle);
	m->order = moonraker_call(m, WANT_ORDER, method, params);
	if (!m->order)
		session_answer(m->s, ANSWER_REFUSED, NULL);
}

static void
send_script(struct moonraker *m, enum command_kind kind, const struct buf *script)
{
	struct str text = buf_view(script);
	struct buf b;

	if (script->overflow) {
		session_answer(m->s, ANSWER_REFUSED, "too much G-code");
		return;
	}
	snprintf(m->order_script, sizeof(m->order_script), "%.*s", STR_ARG(text));
	for (char *p = m->order_script; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	buf_init(&b, 2 * SCRIPT_MOST);
	buf_str(&b, STR("{\"script\":"));
	buf_json_str(&b, text);
	buf_char(&b, '}');
	send_order(m, kind, "printer.gcode.script", &b);
	buf_fini(&b);
}

/* Each writes a script; false: this printer cannot. */
typedef bool (*write_fn)(const struct moonraker *m, const struct command *c, struct buf *b);

static bool
write_gcode(const struct moonraker *m, const struct command *c, struct buf *b)
{
	(void)m;
	for (int32_t i = 0; i < c->u.gcode.n; i++)
		buf_fmt(b, "%s%s", i ? "\n" : "", c->u.gcode.line[i]);
	return b->n > 0;
}

static void
write_target(struct buf *b, const char *heater, int32_t target_dc)
{
	buf_fmt(b, "%sSET_HEATER_TEMPERATURE HEATER=%s TARGET=%d.%d", b->n ? "\n" : "", heater,
	    target_dc / 10, target_dc % 10);
}

static bool
write_temperatures(const struct moonraker *m, const struct command *c, struct buf *b)
{
	static const char *const heaters[REC_NOZZLES] = {
	    "extruder", "extruder1", "extruder2", "extruder3"};
	const struct moonraker_objects *o = &m->state.objects;
	int32_t which = c->u.temperatures.nozzle == REC_NONE ? 0 : c->u.temperatures.nozzle;
	const char *chamber = strchr(o->chamber_heater, ' ');

	if (c->u.temperatures.nozzle_dc != REC_NONE) {
		if (which < 0 || which >= REC_NOZZLES || !o->extruder[which])
			return false;
		write_target(b, heaters[which], c->u.temperatures.nozzle_dc);
	}
	if (c->u.temperatures.bed_dc != REC_NONE) {
		if (!o->bed)
			return false;
		write_target(b, "heater_bed", c->u.temperatures.bed_dc);
	}
	if (c->u.temperatures.chamber_dc != REC_NONE) {
		if (!chamber)
			return false;
		write_target(b, chamber + 1, c->u.temperatures.chamber_dc);
	}
	return b->n > 0;
}

static bool
write_home(const struct moonraker *m, const struct command *c, struct buf *b)
{
	(void)m;
	buf_fmt(b, "G28%s%s%s", c->u.home.x ? " X" : "", c->u.home.y ? " Y" : "",
	    c->u.home.z ? " Z" : "");
	return true;
}

static void
write_axis(struct buf *b, char axis, int32_t um)
{
	int32_t whole;

	if (um == REC_NONE || um == 0)
		return;
	whole = um < 0 ? -um : um;
	buf_fmt(b, " %c%s%d.%03d", axis, um < 0 ? "-" : "", whole / 1000, whole % 1000);
}

static bool
write_jog(const struct moonraker *m, const struct command *c, struct buf *b)
{
	int32_t feed = c->u.jog.feed_mm_min;

	(void)m;
	buf_str(b, STR("G91\nG1"));
	write_axis(b, 'X', c->u.jog.x_um);
	write_axis(b, 'Y', c->u.jog.y_um);
	write_axis(b, 'Z', c->u.jog.z_um);
	write_axis(b, 'E', c->u.jog.e_um);
	if (feed != REC_NONE && feed > 0)
		buf_fmt(b, " F%d", feed);
	buf_str(b, STR("\nG90"));
	return true;
}

static bool
write_fan(struct buf *b, const char *object, int32_t pct)
{
	const char *name = strchr(object, ' ');

	if (pct == REC_NONE)
		return true;
	if (!name)
		return false;
	buf_fmt(b, "%sSET_FAN_SPEED FAN=%s SPEED=%d.%02d", b->n ? "\n" : "", name + 1, pct / 100,
	    pct % 100);
	return true;
}

static bool
write_fans(const struct moonraker *m, const struct command *c, struct buf *b)
{
	const struct moonraker_objects *o = &m->state.objects;

	if (c->u.fans.part_cooling_pct != REC_NONE) {
		if (!o->fan)
			return false;
		buf_fmt(b, "M106 S%d", (c->u.fans.part_cooling_pct * 255 + 50) / 100);
	}
	return write_fan(b, o->fan_aux, c->u.fans.auxiliary_pct) &&
	    write_fan(b, o->fan_chamber, c->u.fans.chamber_pct) && b->n > 0;
}

static bool
write_speed(const struct moonraker *m, const struct command *c, struct buf *b)
{
	(void)m;
	if (c->u.speed.percent == REC_NONE)
		return false;
	buf_fmt(b, "M220 S%d", c->u.speed.percent);
	return true;
}

static bool
write_objects(const struct moonraker *m, const struct command *c, struct buf *b)
{
	if (!m->state.objects.exclude_object)
		return false;
	for (int32_t i = 0; i < c->u.objects.n; i++) {
		const char *name = c->u.objects.name[i];

		if (!name[0] || strpbrk(name, " \t\r\n\"';#*=\\"))
			return false;
		buf_fmt(b, "%sEXCLUDE_OBJECT NAME=%s", i ? "\n" : "", name);
	}
	return b->n > 0;
}

static bool
write_load(const struct moonraker *m, const struct command *c, struct buf *b)
{
	(void)c;
	buf_str(b, STR("LOAD_FILAMENT"));
	return m->state.objects.load;
}

static bool
write_unload(const struct moonraker *m, const struct command *c, struct buf *b)
{
	(void)c;
	buf_str(b, STR("UNLOAD_FILAMENT"));
	return m->state.objects.unload;
}

/* Its number in the list; "" is the first. */
static int32_t
find_light(const struct moonraker_objects *o, const char *node)
{
	for (int32_t i = 0; i < o->n_lights; i++) {
		const char *own = strchr(o->light[i], ' ');

		if (own && (!node[0] || strcmp(own + 1, node) == 0))
			return i;
	}
	return -1;
}

static bool
write_light(const struct moonraker *m, const struct command *c, struct buf *b)
{
	const struct moonraker_objects *o = &m->state.objects;
	int32_t i = find_light(o, c->u.light.node);
	int on = c->u.light.on;
	const char *own;

	if (i < 0)
		return false;
	own = strchr(o->light[i], ' ') + 1;
	if (strncmp(o->light[i], "output_pin ", 11) == 0)
		buf_fmt(b, "SET_PIN PIN=%s VALUE=%d", own, on);
	else
		buf_fmt(b, "SET_LED LED=%s RED=%d GREEN=%d BLUE=%d WHITE=%d", own, on, on, on, on);
	return true;
}

/* What ended a print stays until the next one, or until it is put away. */
static bool
write_clear(const struct moonraker *m, const struct command *c, struct buf *b)
{
	(void)c;
	if (m->state.print == KPRINT_PRINTING || m->state.print == KPRINT_PAUSED)
		buf_str(b, STR("CLEAR_PAUSE"));
	else
		buf_str(b, STR("SDCARD_RESET_FILE"));
	return true;
}

static const struct {
	const char *method; /* or a script: */
	write_fn write;
} kinds[CMD_KINDS] = {
    [CMD_PAUSE] = {"printer.print.pause", NULL},
    [CMD_RESUME] = {"printer.print.resume", NULL},
    [CMD_STOP] = {"printer.print.cancel", NULL},
    [CMD_EMERGENCY_STOP] = {"printer.emergency_stop", NULL},
    [CMD_GCODE] = {NULL, write_gcode},
    [CMD_SET_TEMPERATURES] = {NULL, write_temperatures},
    [CMD_HOME] = {NULL, write_home},
    [CMD_JOG] = {NULL, write_jog},
    [CMD_FANS] = {NULL, write_fans},
    [CMD_LIGHT] = {NULL, write_light},
    [CMD_SPEED] = {NULL, write_speed},
    [CMD_SKIP_OBJECTS] = {NULL, write_objects},
    [CMD_LOAD_FILAMENT] = {NULL, write_load},
    [CMD_UNLOAD_FILAMENT] = {NULL, write_unload},
    [CMD_CLEAR_ERROR] = {NULL, write_clear},
    [CMD_FIRMWARE_RESTART] = {"printer.firmware_restart", NULL},
};

void
moonraker_command(void *d, const struct command *c)
{
	struct moonraker *m = d;
	const char *method = kinds[c->kind].method;
	struct buf script;

	/* Out of a shutdown only a restart leads. */
	if (c->kind == CMD_CLEAR_ERROR &&
	    (m->state.klippy == KLIPPY_SHUTDOWN || m->state.klippy == KLIPPY_ERROR))
		method = "printer.firmware_restart";
	m->order_script[0] = '\0';
	if (method) {
		send_order(m, method[8] == 'f' ? CMD_FIRMWARE_RESTART : c->kind, method, NULL);
		return;
	}
	buf_init(&script, SCRIPT_MOST);
	if (kinds[c->kind].write(m, c, &script))
		send_script(m, c->kind, &script);
	else
		session_answer(m->s, ANSWER_UNSUPPORTED, NULL);
	buf_fini(&script);
}

void
moonraker_start(void *d, struct transfer *t)
{
	struct moonraker *m = d;
	struct buf b;

	m->order_script[0] = '\0';
	buf_init(&b, 4096);
	buf_str(&b, STR("{\"filename\":"));
	buf_json_str(&b, str_from(t->remote));
	buf_char(&b, '}');
	send_order(m, CMD_KINDS, "printer.print.start", &b);
	buf_fini(&b);
}
