/* STEP (ISO 10303-21): statements "#1=KEYWORD(…);" one by one. There is no geometry kernel: the box
 * is that of all CARTESIAN_POINTs, scaled by the file's length unit. A curved face can end inside
 * of it or a little outside. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "media/formats.h"
#include "media/lines.h"
#include "media/mesh.h"

enum { STATEMENT_MOST = 8192, PRODUCTS_MOST = 256 };

struct step {
	struct media *m;
	struct box box;
	double si_mm, conversion; /* of the length unit; 0: not said */
	struct json_object *objects;
	int64_t points;
	bool bad, ended, quoted, comment, cut;
	char before; /* the last character */
	size_t n;
	char statement[STATEMENT_MOST];
};

static bool
is_step(const struct media *m, struct str head)
{
	(void)m;
	return str_starts(str_trim(head), STR("ISO-10303-21;"));
}

/* What follows the word, or STR_NONE. */
static struct str
after(struct str s, struct str word)
{
	const char *at = s.n ? memmem(s.p, s.n, word.p, word.n) : NULL;

	return at ? (struct str){at + word.n, s.n - (size_t)(at - s.p) - word.n} : STR_NONE;
}

/* CARTESIAN_POINT('name',(1.,2.,3.)): what stands behind the last parenthesis that opens. */
static void
take_point(struct step *s, struct str rest)
{
	char text[256];
	double p[3];
	size_t n = 0, at = rest.n;

	while (at && rest.p[at - 1] != '(')
		at--;
	for (; at < rest.n && n < sizeof(text) && rest.p[at] != ')'; at++)
		text[n++] = rest.p[at] == ',' ? ' ' : rest.p[at];
	if (!lines_numbers((struct str){text, n}, p, 3)) {
		/* Two numbers: a point of a surface's own plane. */
		s->bad = s->bad || !lines_numbers((struct str){text, n}, p, 2);
	} else if (mesh_sane(p)) {
		box_add(&s->box, p);
		s->points++;
	} else {
		s->bad = true;
	}
}

static const struct {
	struct str prefix;
	double mm;
} prefixes[] = {
    {STR_INIT(".MILLI."), 1},
    {STR_INIT(".CENTI."), 10},
    {STR_INIT(".DECI."), 100},
    {STR_INIT(".MICRO."), 0.001},
    {STR_INIT(".KILO."), 1e6},
    {STR_INIT("$"), 1000},
};

/* (LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT(.MILLI.,.METRE.)), in any order. */
static void
take_unit(struct step *s, struct str statement)
{
	struct str si = str_trim(after(statement, STR("SI_UNIT")));

	if (!si.p || !after(statement, STR("LENGTH_UNIT")).p || s->si_mm > 0)
		return;
	si = str_trim(after(si, STR("(")));
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (str_starts(si, prefixes[i].prefix))
			s->si_mm = prefixes[i].mm;
}

/* LENGTH_MEASURE_WITH_UNIT(LENGTH_MEASURE(25.4),#17): an inch, in the SI unit. */
static void
take_conversion(struct step *s, struct str rest)
{
	struct str number = after(rest, STR("LENGTH_MEASURE("));
	double v;

	if (number.p && lines_numbers(str_cut(&number, ')'), &v, 1) && v > 1e-6 && v < 1e6)
		s->conversion = v;
}

/* PRODUCT('id','name',…) */
static void
take_product(struct step *s, struct str rest)
{
	struct str id = after(rest, STR("'")), name;
	struct json_object *o;

	str_cut(&id, '\'');
	name = after(id, STR("'"));
	name = str_cut(&name, '\'');
	if (!name.n || json_object_array_length(s->objects) >= PRODUCTS_MOST)
		return;
	o = json_object_new_object();
	json_object_object_add(o, "name", media_text(name));
	json_object_array_add(s->objects, o);
}

static void
take_statement(struct step *s, struct str statement)
{
	struct str rest = statement, word;

	if (str_eq(statement, STR("END-ISO-10303-21")))
		s->ended = true;
	if (str_index(rest, '=') < 0)
		return;
	str_cut(&rest, '=');
	rest = str_trim(rest);
	word = str_trim(str_cut(&rest, '('));
	if (str_eq(word, STR("CARTESIAN_POINT")))
		take_point(s, rest);
	else if (str_eq(word, STR("PRODUCT")))
		take_product(s, rest);
	else if (str_eq(word, STR("LENGTH_MEASURE_WITH_UNIT")))
		take_conversion(s, rest);
	else if (!word.n)
		take_unit(s, statement);
}

/* Text between quotes and comments does not end a statement. */
static void
take_char(struct step *s, char c)
{
	char before = s->before;

	s->before = c;
	if (s->comment) {
		s->comment = !(before == '*' && c == '/');
		s->before = s->comment ? c : ' ';
		return;
	}
	if (c == '\'')
		s->quoted = !s->quoted;
	if (!s->quoted && before == '/' && c == '*') {
		s->comment = true;
		s->before = ' ';
		s->n -= s->n > 0;
	} else if (!s->quoted && c == ';') {
		if (!s->cut)
			take_statement(s, str_trim((struct str){s->statement, s->n}));
		s->n = 0;
		s->cut = false;
	} else if (s->n < STATEMENT_MOST) {
		s->statement[s->n++] = c;
	} else {
		s->cut = true; /* a long list of references: nothing that is read here */
	}
}

static bool
take_bytes(void *ctx, struct str bytes)
{
	struct step *s = ctx;

	for (size_t i = 0; i < bytes.n; i++)
		if (bytes.p[i] != '\n' && bytes.p[i] != '\r')
			take_char(s, bytes.p[i]);
	return true;
}

static void
scale(struct step *s)
{
	double unit = s->si_mm > 0 ? s->si_mm : 1;

	if (s->conversion > 0)
		unit *= s->conversion;
	for (int i = 0; i < 3; i++) {
		s->box.min[i] *= unit;
		s->box.max[i] *= unit;
	}
}

static void
describe(struct step *s)
{
	struct json_object *meta = media_meta(s->m);

	if (s->points) {
		scale(s);
		json_object_object_add(meta, "bounding_box", box_json(&s->box));
	}
	if (json_object_array_length(s->objects))
		json_object_object_add(meta, "objects", json_object_get(s->objects));
	json_object_put(s->objects);
}

static void
read_step(struct media *m)
{
	struct step *s = ARENA_NEW(m->arena, struct step);

	s->m = m;
	s->objects = json_object_new_array();
	box_init(&s->box);
	lines_chunks(m, take_bytes, s);
	if (s->bad)
		media_fail(m, "bad_coordinates", "A point is not made of finite numbers.");
	if (!s->ended)
		media_fail(m, "truncated", "The file ends before END-ISO-10303-21.");
	if (!s->points)
		media_fail(m, "unparsable", "The file has no point.");
	describe(s);
}

const struct media_format format_step = {"step", is_step, read_step};
