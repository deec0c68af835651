#include "media/gcode.h"

#include <stdio.h>

#include "base/arena.h"
#include "base/clock.h"
#include "media/formats.h"
#include "media/gcode_parts.h"
#include "media/kind.h"

enum {
	CHUNK = 256 << 10,
	TAIL = 1 << 20,     /* read in any case */
	BUDGET_MS = 4000,   /* then only the tail is read */
	COMMANDS_LEAST = 3, /* of the first lines, for a file that is not named like G-code */
};

enum { RANK_MESH = 1, RANK_M486, RANK_EXCLUDE, RANK_PRINTING };

void
gcode_object(struct gcode *g, int rank, struct str id, struct str name)
{
	if (rank < g->object_rank || name.n == 0)
		return;
	if (rank > g->object_rank)
		g->n_objects = 0;
	g->object_rank = rank;
	/* Labels come again in every layer, mostly in the same order. */
	for (size_t i = g->n_objects; i > 0; i--)
		if (str_eq(g->objects[i - 1].id, id))
			return;
	if (g->n_objects == GCODE_OBJECTS_MOST)
		return;
	g->objects[g->n_objects++] = (struct gcode_object){
	    str_dup(g->m->arena, id), str_dup(g->m->arena, name)};
}

static ptrdiff_t
find(struct str s, struct str what)
{
	for (size_t i = 0; i + what.n <= s.n; i++)
		if (str_starts((struct str){s.p + i, s.n - i}, what))
			return (ptrdiff_t)i;
	return -1;
}

/* "printing object box.stl id:0 copy 1" */
static void
printing_object(struct gcode *g, struct str rest)
{
	ptrdiff_t at = find(rest, STR(" id:"));

	gcode_object(g, RANK_PRINTING, rest, at >= 0 ? (struct str){rest.p, (size_t)at} : rest);
}

/* SuperSlicer: object:{"name":"box","id":"box.stl id:0 copy 0",...} */
static void
object_json(struct gcode *g, struct str rest)
{
	struct json_tokener *t = json_tokener_new_ex(4);
	struct json_object *o = t ? json_tokener_parse_ex(t, rest.p, (int)rest.n) : NULL;

	if (json_object_is_type(o, json_type_object)) {
		struct json_object *name = json_object_object_get(o, "name");
		struct json_object *id = json_object_object_get(o, "id");

		gcode_object(g, RANK_EXCLUDE, str_from(json_object_get_string(id ? id : name)),
		    str_from(json_object_get_string(name)));
	}
	json_object_put(o);
	if (t)
		json_tokener_free(t);
}

static void
mesh(struct gcode *g, struct str rest)
{
	if (!str_eq(rest, STR("NONMESH")))
		gcode_object(g, RANK_MESH, rest, rest);
}

/* Klipper: EXCLUDE_OBJECT_DEFINE NAME=box_stl_id_0_copy_0 CENTER=... */
static void
exclude_object(struct gcode *g, struct str rest)
{
	ptrdiff_t at = find(rest, STR("NAME="));
	struct str name = at < 0 ? STR_NONE
				 : (struct str){rest.p + at + 5, rest.n - (size_t)at - 5};

	name = gcode_trim(str_cut(&name, ' '));
	gcode_object(g, RANK_EXCLUDE, name, name);
}

/* M486 S0, then M486 Abox; RepRapFirmware: M486 S0 A"box" */
static void
m486(struct gcode *g, struct str rest)
{
	rest = gcode_trim(rest);
	if (rest.n && rest.p[0] == 'S') {
		struct str number = str_cut(&rest, ' ');

		g->object_number_n = 0;
		for (size_t i = 0; i < number.n && i < sizeof(g->object_number); i++)
			g->object_number[g->object_number_n++] = number.p[i];
		rest = gcode_trim(rest);
	}
	if (rest.n > 1 && (rest.p[0] == 'A' || rest.p[0] == 'N') && g->object_number_n) {
		struct str name = {rest.p + 1, rest.n - 1};

		if (name.n > 1 && name.p[0] == '"' && name.p[name.n - 1] == '"')
			name = (struct str){name.p + 1, name.n - 2};
		gcode_object(
		    g, RANK_M486, (struct str){g->object_number, g->object_number_n}, name);
	}
}

static void
picture_begin(struct gcode *g)
{
	buf_clear(&g->picture);
	EVP_DecodeInit(g->base64);
	g->in_picture = true;
}

static void
picture_end(struct gcode *g)
{
	unsigned char bytes[64];
	int n = 0;

	if (EVP_DecodeFinal(g->base64, bytes, &n) >= 0)
		buf_add(&g->picture, bytes, n > 0 ? (size_t)n : 0);
	if (!g->picture.overflow)
		media_picture(g->m, g->plate, buf_view(&g->picture));
	g->in_picture = false;
}

static void
picture_line(struct gcode *g, struct str text)
{
	unsigned char bytes[4096];
	int n = 0;

	while (text.n) {
		int part = text.n < 4096 ? (int)text.n : 4096;

		if (EVP_DecodeUpdate(g->base64, bytes, &n, (const unsigned char *)text.p, part) <
		    0) {
			g->in_picture = false;
			return;
		}
		buf_add(&g->picture, bytes, (size_t)n);
		text = (struct str){text.p + part, text.n - (size_t)part};
	}
}

/* "thumbnail begin 32x32 1234", "thumbnail_QOI begin", "png begin": the picture tells its format.
 */
static bool
is_picture(struct str comment, struct str verb)
{
	static const struct str words[] = {STR_INIT("thumbnail"), STR_INIT("png"), STR_INIT("jpg")};
	struct str word = str_cut(&comment, ' ');

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (str_starts(word, words[i]) && str_starts(comment, verb))
			return true;
	return false;
}

static void
layer(struct gcode *g, struct str rest)
{
	(void)rest;
	gcode_layer(g);
}

/* "layer 3, Z = 0.6" */
static void
layer_numbered(struct gcode *g, struct str rest)
{
	double number;

	if (gcode_number(&rest, &number) && str_starts(rest, STR(", Z")))
		gcode_layer(g);
}

static void
feature(struct gcode *g, struct str rest)
{
	g->moves.custom = str_eq(gcode_trim(rest), STR("Custom"));
}

static void
config_begin(struct gcode *g, struct str rest)
{
	(void)rest;
	g->in_config = true;
}

static void
config_end(struct gcode *g, struct str rest)
{
	(void)rest;
	g->in_config = false;
}

/* Two settings in one line: "model printing time: 14m 54s; total estimated time: 20m 21s" */
static void
two_times(struct gcode *g, struct str rest)
{
	struct str model = str_cut(&rest, ';');
	char text[64];

	rest = gcode_trim(rest);
	if (rest.n) {
		gcode_comment_setting(g, rest);
		return;
	}
	model = gcode_trim(model);
	if (model.n < sizeof(text) / 2) {
		snprintf(text, sizeof(text), "total estimated time: %.*s", STR_ARG(model));
		gcode_comment_setting(g, str_from(text));
	}
}

static const struct {
	struct str prefix;
	void (*take)(struct gcode *g, struct str rest);
} comments[] = {
    {STR_INIT("TYPE:"), feature},
    {STR_INIT("FEATURE:"), feature},
    {STR_INIT("LAYER_CHANGE"), layer},
    {STR_INIT("CHANGE_LAYER"), layer},
    {STR_INIT("LAYER:"), layer},
    {STR_INIT("layer "), layer_numbered},
    {STR_INIT("printing object "), printing_object},
    {STR_INIT("object:{"), object_json},
    {STR_INIT("MESH:"), mesh},
    {STR_INIT("model printing time:"), two_times},
    {STR_INIT("CONFIG_BLOCK_START"), config_begin},
    {STR_INIT("prusaslicer_config = begin"), config_begin},
    {STR_INIT("SuperSlicer_config = begin"), config_begin},
    {STR_INIT("CONFIG_BLOCK_END"), config_end},
    {STR_INIT("prusaslicer_config = end"), config_end},
    {STR_INIT("SuperSlicer_config = end"), config_end},
};

static void
comment(struct gcode *g, struct str c)
{
	c = gcode_trim(c);
	if (c.n == 0)
		return;
	if (g->in_picture && is_picture(c, STR("end"))) {
		picture_end(g);
		return;
	}
	if (is_picture(c, STR("begin"))) {
		picture_begin(g);
		return;
	}
	if (g->in_picture && str_index(c, ' ') < 0) {
		picture_line(g, c);
		return;
	}
	g->in_picture = false; /* whose end is missing */
	for (size_t i = 0; i < sizeof(comments) / sizeof(comments[0]); i++) {
		struct str prefix = comments[i].prefix;

		if (str_starts(c, prefix)) {
			/* The brace belongs to what follows. */
			size_t n = prefix.n - (prefix.p[prefix.n - 1] == '{');

			comments[i].take(g, (struct str){c.p + n, c.n - n});
			return;
		}
	}
	if (!gcode_slicer_mark(g, c))
		gcode_comment_setting(g, c);
}

static void
line(struct gcode *g, struct str s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
		s.p++, s.n--;
	if (s.n == 0)
		return;
	switch (s.p[0]) {
	case ';':
		comment(g, (struct str){s.p + 1, s.n - 1});
		break;
	case 'E':
		if (str_starts(s, STR("EXCLUDE_OBJECT_DEFINE ")))
			exclude_object(g, s);
		break;
	case 'M':
		if (str_starts(s, STR("M486 ")))
			m486(g, (struct str){s.p + 5, s.n - 5});
		/* fallthrough */
	default:
		gcode_command(g, s);
	}
}

/* Keeps what may become a line, as much as is looked at of one. */
static void
keep(struct gcode *g, struct str text)
{
	size_t room = GCODE_LINE_MOST - g->line.n;

	buf_add(&g->line, text.p, text.n < room ? text.n : room);
}

void
gcode_feed(struct gcode *g, struct str text)
{
	while (text.n) {
		ptrdiff_t at = str_index(text, '\n');
		struct str head = {text.p, at < 0 ? text.n : (size_t)at};

		if (at < 0) {
			keep(g, head);
			return;
		}
		text = (struct str){text.p + at + 1, text.n - (size_t)at - 1};
		if (g->line.n) {
			keep(g, head);
			head = buf_view(&g->line);
		}
		line(g, head);
		buf_clear(&g->line);
	}
}

static void
fini(void *p)
{
	struct gcode *g = p;

	EVP_ENCODE_CTX_free(g->base64);
	buf_fini(&g->line);
	buf_fini(&g->picture);
}

struct gcode *
gcode_new(struct media *m, int plate)
{
	struct gcode *g = ARENA_NEW(m->arena, struct gcode);

	g->m = m;
	g->plate = plate;
	g->base64 = EVP_ENCODE_CTX_new();
	buf_init(&g->line, GCODE_LINE_MOST + 1);
	buf_init(&g->picture, MEDIA_PICTURE_MOST);
	gcode_moves_init(&g->moves);
	arena_defer(m->arena, fini, g);
	return g;
}

void
gcode_gap(struct gcode *g)
{
	g->gap = true;
	g->in_picture = false;
	g->in_config = false;
	buf_clear(&g->line);
}

bool
gcode_end(struct gcode *g, struct json_object *into)
{
	if (g->line.n)
		line(g, buf_view(&g->line));
	buf_clear(&g->line);
	gcode_facts(g, into);
	return g->commands > 0 || g->settings > 0 || g->slicer;
}

bool
gcode_read_text(struct media *m, int plate, struct str text, struct json_object *into)
{
	struct gcode *g = gcode_new(m, plate);

	gcode_feed(g, text);
	return gcode_end(g, into);
}

static bool
is_text(struct str head)
{
	for (size_t i = 0; i < head.n; i++) {
		unsigned char c = (unsigned char)head.p[i];

		if (c < '\t' || (c > '\r' && c < 0x1b))
			return false;
	}
	return true;
}

/* A letter and digits: G28, M104, T0. */
static bool
is_command(struct str s)
{
	return s.n >= 2 && (s.p[0] == 'G' || s.p[0] == 'M' || s.p[0] == 'T') && s.p[1] >= '0' &&
	    s.p[1] <= '9';
}

static bool
looks_like(struct media *m, struct str head)
{
	struct gcode *g = gcode_new(m, 0);
	size_t commands = 0, others = 0;

	while (head.n && !g->slicer) {
		struct str s = gcode_trim(str_cut(&head, '\n'));

		if (s.n && s.p[0] == ';')
			gcode_slicer_mark(g, gcode_trim((struct str){s.p + 1, s.n - 1}));
		else if (s.n)
			*(is_command(s) ? &commands : &others) += 1;
	}
	return g->slicer || (commands >= COMMANDS_LEAST && commands > others);
}

static bool
is(const struct media *m, struct str head)
{
	struct media scratch = {.arena = m->arena, .fd = -1, .thumbnails_fd = -1};

	if (head.n == 0 || !is_text(head))
		return false;
	return str_eq(str_from(kind_by_name(m->filename)), STR("gcode")) ||
	    looks_like(&scratch, head);
}

/* From the offset to the end, while time lasts; where it stopped, -1 on a read error. */
static int64_t
feed_from(struct gcode *g, int64_t at, char *chunk, int64_t deadline)
{
	const struct media *m = g->m;

	while (at < m->size && (deadline == 0 || clock_mono_ms() < deadline)) {
		struct str s = media_read_at(m, at, chunk, CHUNK);

		if (!s.p)
			return -1;
		if (s.n == 0)
			return m->size;
		gcode_feed(g, s);
		at += (int64_t)s.n;
	}
	return at;
}

static void
read_all(struct media *m)
{
	struct gcode *g = gcode_new(m, 0);
	char *chunk = arena_alloc(m->arena, CHUNK);
	int64_t at = feed_from(g, 0, chunk, clock_mono_ms() + BUDGET_MS);

	if (at >= 0 && at < m->size) {
		gcode_gap(g);
		at = feed_from(g, at < m->size - TAIL ? m->size - TAIL : at, chunk, 0);
	}
	if (at < 0)
		media_fail(m, "unreadable", "The file could not be read to its end.");
	if (!gcode_end(g, media_meta(m)))
		media_fail(m, "unparsable", "There is no G-code in the file.");
}

const struct media_format format_gcode = {"gcode", is, read_all};
