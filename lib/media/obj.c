/* Wavefront OBJ: "v x y z" and "f a b c …", whose corners count vertices from 1, or from the last
 * one with negative numbers. It has no unit: millimetres are taken. */
#include <stdlib.h>

#include "base/arena.h"
#include "media/formats.h"
#include "media/lines.h"
#include "media/mesh.h"

enum { VERTICES_MOST = 6 << 20 };

struct vertex {
	float p[3];
};

struct obj {
	struct media *m;
	struct mesh mesh;
	struct vertex *vertices;
	size_t n, size;
	bool bad_number, bad_index, full;
};

static bool
is_obj(const struct media *m, struct str head)
{
	struct str s = m->filename;

	return head.n > 0 && s.n >= 4 && str_ieq((struct str){s.p + s.n - 4, 4}, STR(".obj"));
}

static bool
grow(struct obj *o)
{
	size_t size = o->size ? 2 * o->size : 4096;
	struct vertex *p;

	if (o->n < o->size)
		return true;
	size = size < VERTICES_MOST ? size : VERTICES_MOST;
	p = o->n < size ? realloc(o->vertices, size * sizeof(*p)) : NULL;
	if (!p)
		return false;
	o->vertices = p;
	o->size = size;
	return true;
}

static void
take_vertex(struct obj *o, struct str rest)
{
	double p[3];

	if (!lines_numbers(rest, p, 3) || !mesh_sane(p)) {
		o->bad_number = true;
		p[0] = p[1] = p[2] = 0;
	}
	if (!grow(o)) {
		o->full = true;
		return;
	}
	for (int i = 0; i < 3; i++)
		o->vertices[o->n].p[i] = (float)p[i];
	o->n++;
}

/* The vertex that a corner ("7", "7/1", "7//3", "-1") stands for, or NULL. */
static const struct vertex *
corner(const struct obj *o, struct str word)
{
	struct str number = str_cut(&word, '/');
	int64_t i;

	if (!str_to_i64(number, &i))
		return NULL;
	i = i < 0 ? (int64_t)o->n + i : i - 1;
	return i >= 0 && i < (int64_t)o->n ? &o->vertices[i] : NULL;
}

static void
wide(const struct vertex *v, double out[3])
{
	for (int i = 0; i < 3; i++)
		out[i] = (double)v->p[i];
}

/* A polygon is the fan of its first corner. */
static void
take_face(struct obj *o, struct str rest)
{
	const struct vertex *first = NULL, *last = NULL;

	while ((rest = str_trim(rest)).n) {
		const struct vertex *v = corner(o, str_cut(&rest, ' '));
		double p[3][3];

		if (!v) {
			o->bad_index = true;
			return;
		}
		if (first && last != first) {
			wide(first, p[0]);
			wide(last, p[1]);
			wide(v, p[2]);
			mesh_add(&o->mesh, p[0], p[1], p[2]);
		}
		last = v;
		first = first ? first : v;
	}
}

static bool
take_line(void *ctx, struct str line)
{
	struct obj *o = ctx;
	struct str rest = str_trim(line), word = str_cut(&rest, ' ');

	if (str_eq(word, STR("v")))
		take_vertex(o, rest);
	else if (str_eq(word, STR("f")))
		take_face(o, rest);
	return !o->full;
}

static void
read_obj(struct media *m)
{
	struct obj *o = ARENA_NEW(m->arena, struct obj);

	o->m = m;
	mesh_init(&o->mesh);
	lines_each(m, take_line, o);
	free(o->vertices);
	if (o->full)
		media_fail(m, "too_large", "The file has more than %d vertices.", VERTICES_MOST);
	if (o->bad_number)
		media_fail(m, "bad_coordinates", "A vertex is not three finite numbers.");
	if (o->bad_index)
		media_fail(m, "unparsable", "A face names a vertex that is not there.");
	if (!o->mesh.triangles)
		media_fail(m, "unparsable", "The file has no face.");
	else
		mesh_describe(m, &o->mesh.box, o->mesh.triangles);
	if (!m->reason_code)
		mesh_keys(m, &o->mesh);
}

const struct media_format format_obj = {"obj", is_obj, read_obj};
