#include "gateway/octoprint_command.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

enum { BODY_MOST = 64 * 1024 };

static struct buf *
step(struct octo_steps *s, const char *path)
{
	struct octo_step *one;

	must(s->n < OCTO_STEPS);
	one = &s->step[s->n++];
	one->path = path;
	buf_init(&one->body, BODY_MOST);
	return &one->body;
}

/* Thousandths, "1.5". */
static void
put_milli(struct buf *b, int32_t v)
{
	int64_t n = v < 0 ? -(int64_t)v : v;

	buf_fmt(b, "%s%lld.%03lld", v < 0 ? "-" : "", (long long)(n / 1000), (long long)(n % 1000));
}

static void
put_tenths(struct buf *b, int32_t v)
{
	buf_fmt(b, "%d.%d", v / 10, v % 10);
}

static bool
job(const struct command *c, struct octo_steps *s, const char **why)
{
	static const char *const bodies[] = {
	    [CMD_PAUSE] = "{\"command\":\"pause\",\"action\":\"pause\"}",
	    [CMD_RESUME] = "{\"command\":\"pause\",\"action\":\"resume\"}",
	    [CMD_STOP] = "{\"command\":\"cancel\"}",
	};

	(void)why;
	buf_str(step(s, "/api/job"), str_from(bodies[c->kind]));
	return true;
}

static bool
emergency_stop(const struct command *c, struct octo_steps *s, const char **why)
{
	(void)c;
	(void)why;
	buf_str(step(s, "/api/printer/command"), STR("{\"commands\":[\"M112\"]}"));
	return true;
}

static bool
gcode(const struct command *c, struct octo_steps *s, const char **why)
{
	struct buf *b = step(s, "/api/printer/command");

	(void)why;
	buf_str(b, STR("{\"commands\":["));
	for (int32_t i = 0; i < c->u.gcode.n; i++) {
		if (i)
			buf_char(b, ',');
		buf_json_str(b, str_from(c->u.gcode.line[i]));
	}
	buf_str(b, STR("]}"));
	return true;
}

static void
target(struct octo_steps *s, const char *path, int32_t dc)
{
	struct buf *b;

	if (dc == REC_NONE || dc < 0)
		return;
	b = step(s, path);
	s->step[s->n - 1].optional = true;
	buf_str(b, STR("{\"command\":\"target\",\"target\":"));
	put_tenths(b, dc);
	buf_char(b, '}');
}

static bool
temperatures(const struct command *c, struct octo_steps *s, const char **why)
{
	int32_t dc = c->u.temperatures.nozzle_dc;
	struct buf *b;

	if (dc != REC_NONE && dc >= 0) {
		b = step(s, "/api/printer/tool");
		buf_fmt(b,
		    "{\"command\":\"target\",\"targets\":{\"tool%d\":", c->u.temperatures.nozzle);
		put_tenths(b, dc);
		buf_str(b, STR("}}"));
	}
	target(s, "/api/printer/bed", c->u.temperatures.bed_dc);
	target(s, "/api/printer/chamber", c->u.temperatures.chamber_dc);
	*why = "no temperature was given";
	return s->n > 0;
}

static bool
home(const struct command *c, struct octo_steps *s, const char **why)
{
	bool all = !c->u.home.x && !c->u.home.y && !c->u.home.z;
	struct buf *b = step(s, "/api/printer/printhead");

	(void)why;
	buf_fmt(b, "{\"command\":\"home\",\"axes\":[%s%s%s", all || c->u.home.x ? "\"x\"," : "",
	    all || c->u.home.y ? "\"y\"," : "", all || c->u.home.z ? "\"z\"," : "");
	b->p[b->n - 1] = ']';
	buf_char(b, '}');
	return true;
}

static void
put_axis(struct buf *b, const char *name, int32_t um)
{
	if (um == REC_NONE)
		return;
	buf_fmt(b, ",\"%s\":", name);
	put_milli(b, um);
}

static void
put_speed(struct buf *b, int32_t mm_min)
{
	if (mm_min > 0)
		buf_fmt(b, ",\"speed\":%d", mm_min);
	buf_char(b, '}');
}

static bool
jog(const struct command *c, struct octo_steps *s, const char **why)
{
	struct buf *b;

	if (c->u.jog.x_um != REC_NONE || c->u.jog.y_um != REC_NONE || c->u.jog.z_um != REC_NONE) {
		b = step(s, "/api/printer/printhead");
		buf_str(b, STR("{\"command\":\"jog\""));
		put_axis(b, "x", c->u.jog.x_um);
		put_axis(b, "y", c->u.jog.y_um);
		put_axis(b, "z", c->u.jog.z_um);
		put_speed(b, c->u.jog.feed_mm_min);
	}
	if (c->u.jog.e_um != REC_NONE) {
		b = step(s, "/api/printer/tool");
		buf_str(b, STR("{\"command\":\"extrude\""));
		put_axis(b, "amount", c->u.jog.e_um);
		put_speed(b, c->u.jog.feed_mm_min);
	}
	*why = "no distance was given";
	return s->n > 0;
}

static bool
fans(const struct command *c, struct octo_steps *s, const char **why)
{
	int32_t pct = c->u.fans.part_cooling_pct;
	char *line = s->told[0];

	*why = "OctoPrint knows of the part cooling fan only";
	if (c->u.fans.auxiliary_pct != REC_NONE || c->u.fans.chamber_pct != REC_NONE ||
	    pct == REC_NONE || pct < 0 || pct > 100)
		return false;
	if (pct == 0)
		snprintf(line, sizeof(s->told[0]), "M107");
	else
		snprintf(line, sizeof(s->told[0]), "M106 S%d", (pct * 255 + 50) / 100);
	buf_fmt(step(s, "/api/printer/command"), "{\"commands\":[\"%s\"]}", line);
	return true;
}

static bool
speed(const struct command *c, struct octo_steps *s, const char **why)
{
	int32_t pct = c->u.speed.percent;

	*why = "OctoPrint takes a speed in percent only";
	if (pct == REC_NONE || pct < 1 || pct > 1000)
		return false;
	snprintf(s->told[0], sizeof(s->told[0]), "M220 S%d", pct);
	buf_fmt(step(s, "/api/printer/printhead"), "{\"command\":\"feedrate\",\"factor\":%d}", pct);
	return true;
}

/* Opening the connection resets most boards, and OctoPrint's error with it. One that is open it
 * keeps. */
static bool
reconnect(const struct command *c, struct octo_steps *s, const char **why)
{
	(void)why;
	if (c->kind == CMD_FIRMWARE_RESTART)
		buf_str(step(s, "/api/connection"), STR("{\"command\":\"disconnect\"}"));
	buf_str(step(s, "/api/connection"), STR("{\"command\":\"connect\"}"));
	return true;
}

bool
octo_steps(const struct command *c, struct octo_steps *out, const char **why)
{
	static bool (*const kinds[CMD_KINDS])(
	    const struct command *, struct octo_steps *, const char **) = {
	    [CMD_PAUSE] = job,
	    [CMD_RESUME] = job,
	    [CMD_STOP] = job,
	    [CMD_EMERGENCY_STOP] = emergency_stop,
	    [CMD_GCODE] = gcode,
	    [CMD_SET_TEMPERATURES] = temperatures,
	    [CMD_HOME] = home,
	    [CMD_JOG] = jog,
	    [CMD_FANS] = fans,
	    [CMD_SPEED] = speed,
	    [CMD_CLEAR_ERROR] = reconnect,
	    [CMD_FIRMWARE_RESTART] = reconnect,
	};

	memset(out, 0, sizeof(*out));
	*why = "OctoPrint has nothing of that kind";
	return (unsigned)c->kind < CMD_KINDS && kinds[c->kind] && kinds[c->kind](c, out, why);
}

void
octo_steps_fini(struct octo_steps *s)
{
	for (int32_t i = 0; i < s->n; i++)
		buf_fini(&s->step[i].body);
	memset(s, 0, sizeof(*s));
}
