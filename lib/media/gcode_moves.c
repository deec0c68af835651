#include <math.h>

#include "media/gcode_parts.h"

enum { X, Y, Z, E, I, J, S, P, WORDS };

#define INCH 25.4
#define FAR 1e6      /* mm; beyond is no place a nozzle goes */
#define SAME_Z 0.005 /* mm */
#define HOT 1e4      /* °C */

/* The words of a command; those it has are set in `has`. */
struct words {
	double v[WORDS];
	unsigned has;
};

static bool
has(const struct words *w, int word)
{
	return w->has >> word & 1;
}

static int
word_of(char letter)
{
	static const char letters[WORDS + 1] = "XYZEIJSP";

	for (int i = 0; i < WORDS; i++)
		if (letters[i] == letter)
			return i;
	return -1;
}

static void
take_words(struct str s, struct words *w)
{
	w->has = 0;
	while (s.n && s.p[0] != ';' && s.p[0] != '(') {
		int word = word_of(s.p[0]);

		s.p++, s.n--;
		if (word >= 0 && gcode_number(&s, &w->v[word]))
			w->has |= 1U << word;
	}
}

void
gcode_moves_init(struct gcode_moves *v)
{
	v->unit = 1;
	v->z_last = -INFINITY;
}

static void
reach(struct gcode_moves *v, const double at[3])
{
	for (int i = 0; i < 3; i++) {
		if (!v->any || at[i] < v->min[i])
			v->min[i] = at[i];
		if (!v->any || at[i] > v->max[i])
			v->max[i] = at[i];
	}
	v->any = true;
}

static void
first_layer(struct gcode_moves *v)
{
	for (int i = 0; i < GCODE_TOOLS_MOST; i++)
		v->nozzle_first[i] = v->nozzle[i];
	v->bed_first = v->bed;
}

/* What was drawn before the first layer was for the nozzle, not for the print. */
void
gcode_layer(struct gcode *g)
{
	struct gcode_moves *v = &g->moves;

	if (v->layers++ > 0)
		return;
	v->any = false;
	v->z_layers = 0;
	v->z_last = -INFINITY;
	first_layer(v);
}

static void
drawn_at(struct gcode_moves *v, double z)
{
	if (z <= v->z_last + SAME_Z)
		return;
	if (v->z_layers == 0 && v->layers == 0)
		first_layer(v);
	if (v->z_layers < 2)
		*(v->z_layers == 0 ? &v->z_first : &v->z_second) = z;
	v->z_layers++;
	v->z_last = z;
}

static bool
in_reach(const double at[4])
{
	return fabs(at[X]) < FAR && fabs(at[Y]) < FAR && fabs(at[Z]) < FAR;
}

static void
draw(struct gcode_moves *v, const double to[4])
{
	drawn_at(v, to[Z]);
	reach(v, v->at);
	reach(v, to);
}

/* Whether the angle lies on the arc that starts at `from` and turns by `turn` (negative:
 * clockwise). */
static bool
on_arc(double angle, double from, double turn)
{
	double d = fmod(angle - from, 2 * M_PI);

	if (turn > 0)
		return (d < 0 ? d + 2 * M_PI : d) <= turn;
	return (d > 0 ? d - 2 * M_PI : d) >= turn;
}

/* The quadrants' ends of an arc reach further than its own. */
static void
bulge(struct gcode_moves *v, const double to[4], const struct words *w, bool clockwise)
{
	double ci = has(w, I) ? w->v[I] * v->unit : 0, cj = has(w, J) ? w->v[J] * v->unit : 0;
	double center[2] = {v->at[X] + ci, v->at[Y] + cj}, r = hypot(ci, cj);
	double from = atan2(-cj, -ci), turn = atan2(to[Y] - center[Y], to[X] - center[X]) - from;

	if (clockwise && turn >= 0)
		turn -= 2 * M_PI;
	if (!clockwise && turn <= 0)
		turn += 2 * M_PI;
	for (int q = 0; q < 4 && r < FAR; q++) {
		double at[3] = {center[X] + r * (q == 0) - r * (q == 2),
		    center[Y] + r * (q == 1) - r * (q == 3), to[Z]};

		if (on_arc(q * M_PI / 2, from, turn))
			reach(v, at);
	}
}

/* Where a move leads; *length: of filament. */
static void
target(const struct gcode_moves *v, const struct words *w, double to[4], double *length)
{
	bool relative = v->relative || v->relative_e;

	for (int i = X; i <= Z; i++)
		to[i] = has(w, i) ? w->v[i] * v->unit + (v->relative ? v->at[i] : 0) : v->at[i];
	*length = has(w, E) ? w->v[E] * v->unit - (relative ? 0 : v->at[E]) : 0;
	to[E] = v->at[E] + *length;
}

static void
move(struct gcode *g, const struct words *w, int code)
{
	struct gcode_moves *v = &g->moves;
	double to[4], length;

	target(v, w, to, &length);
	if (length > 0 && (has(w, X) || has(w, Y)) && !v->custom && in_reach(to) &&
	    in_reach(v->at)) {
		draw(v, to);
		if (code >= 2)
			bulge(v, to, w, code == 2);
	}
	if (fabs(length) < FAR)
		v->extruded[v->tool] += length;
	for (int i = 0; i < 4; i++)
		v->at[i] = fabs(to[i]) < 1e9 ? to[i] : 0;
}

static void
set_unit(struct gcode *g, const struct words *w, int code)
{
	(void)w;
	g->moves.unit = code == 20 ? INCH : 1;
}

static void
set_relative(struct gcode *g, const struct words *w, int code)
{
	(void)w;
	g->moves.relative = code == 91;
}

static void
set_relative_e(struct gcode *g, const struct words *w, int code)
{
	(void)w;
	g->moves.relative_e = code == 83;
}

static void
home(struct gcode *g, const struct words *w, int code)
{
	bool all = (w->has & 7) == 0;

	(void)code;
	for (int i = X; i <= Z; i++)
		if (all || has(w, i))
			g->moves.at[i] = 0;
}

static void
set_position(struct gcode *g, const struct words *w, int code)
{
	(void)code;
	for (int i = X; i <= E; i++)
		if (has(w, i) && fabs(w->v[i]) < FAR)
			g->moves.at[i] = w->v[i] * g->moves.unit;
}

static void
set_nozzle(struct gcode *g, const struct words *w, int code)
{
	(void)code;
	if (has(w, S) && w->v[S] > 0 && w->v[S] < HOT)
		g->moves.nozzle[g->moves.tool] = w->v[S];
}

static void
set_bed(struct gcode *g, const struct words *w, int code)
{
	(void)code;
	if (has(w, S) && w->v[S] > 0 && w->v[S] < HOT)
		g->moves.bed = w->v[S];
}

static void
set_chamber(struct gcode *g, const struct words *w, int code)
{
	(void)code;
	if (has(w, S) && w->v[S] > 0 && w->v[S] < HOT)
		g->moves.chamber = w->v[S];
}

static const struct {
	char letter;
	int code;
	void (*run)(struct gcode *g, const struct words *w, int code);
} commands[] = {
    {'G', 0, move},
    {'G', 1, move},
    {'G', 2, move},
    {'G', 3, move},
    {'G', 20, set_unit},
    {'G', 21, set_unit},
    {'G', 28, home},
    {'G', 90, set_relative},
    {'G', 91, set_relative},
    {'G', 92, set_position},
    {'M', 82, set_relative_e},
    {'M', 83, set_relative_e},
    {'M', 104, set_nozzle},
    {'M', 109, set_nozzle},
    {'M', 140, set_bed},
    {'M', 190, set_bed},
    {'M', 141, set_chamber},
    {'M', 191, set_chamber},
};

static void
select_tool(struct gcode *g, int code)
{
	if (code >= GCODE_TOOLS_MOST)
		return;
	g->moves.tool = code;
	if (code >= g->moves.n_tools)
		g->moves.n_tools = code + 1;
}

/* The number behind the letter; -1 when there is none, or it is out of what machines know. */
static int
take_code(struct str *s)
{
	int code = 0;
	size_t i = 1;

	for (; i < s->n && s->p[i] >= '0' && s->p[i] <= '9' && code < 100000; i++)
		code = code * 10 + (s->p[i] - '0');
	if (i == 1)
		return -1;
	*s = (struct str){s->p + i, s->n - i};
	return code;
}

void
gcode_command(struct gcode *g, struct str line)
{
	char letter = line.p[0];
	struct words w;
	int code;

	if (letter != 'G' && letter != 'M' && letter != 'T')
		return;
	code = take_code(&line);
	if (code < 0)
		return;
	g->commands++;
	if (letter == 'T')
		select_tool(g, code);
	if (g->gap || letter == 'T')
		return;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (commands[i].code != code || commands[i].letter != letter)
			continue;
		take_words(line, &w);
		commands[i].run(g, &w, code);
		return;
	}
}
