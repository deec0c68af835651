/* The 3MF core specification 1.3 and the production extension: objects with meshes or components,
 * and the build. Everything is brought to millimetres. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "media/threemf.h"

enum {
	KEPT_VERTICES_MOST =
	    6 << 20, /* of all objects; the box of further ones is of their own box */
	MOVED_VERTICES_MOST = 32 << 20,
	NESTING_MOST = 16,
	PLACEMENTS_MOST = 100000
};

struct vertex {
	float p[3];
};

/* Where an object is put: into another one, or into the build. */
struct placement {
	size_t part; /* of models.parts */
	int64_t object_id;
	double t[12]; /* rows of three, the last one moves; mm */
	struct placement *next;
};

struct object {
	size_t part;
	int64_t id;
	struct str name;
	struct mesh mesh;
	struct vertex *vertices;
	size_t n, size;
	bool model; /* not a support and the like */
	struct placement *components;
};

struct models {
	struct threemf *t;
	struct str parts[THREEMF_OBJECTS_MOST / 10];
	size_t n_parts;
	struct object *objects; /* of THREEMF_OBJECTS_MOST */
	size_t n_objects, n_placements, kept;
	struct placement *items, **last_item;
	struct box box;
	int64_t triangles, moved, placed;
	/* While a part is read: */
	size_t part;
	double unit_mm;
	struct object *object;
	bool bad_number, bad_index;
	const char *metadata; /* the member that the text is for; NULL: none */
	char text[MEDIA_TEXT_MOST];
	size_t text_n;
};

static const struct {
	struct str name;
	double mm;
} units[] = {
    {STR_INIT("micron"), 0.001},
    {STR_INIT("millimeter"), 1},
    {STR_INIT("centimeter"), 10},
    {STR_INIT("inch"), 25.4},
    {STR_INIT("foot"), 304.8},
    {STR_INIT("meter"), 1000},
};

/* What the model says of itself. */
static const struct {
	struct str name;
	const char *member;
} metadata[] = {
    {STR_INIT("Title"), "title"},
    {STR_INIT("Designer"), "designer"},
    {STR_INIT("Application"), "slicer"},
};

/* --- while reading ---------------------------------------------------------------------------- */

static bool
too_many(struct models *s)
{
	return media_fail(s->t->m, "too_many_objects",
	    "The file has more than %d objects, components and items.", THREEMF_OBJECTS_MOST);
}

/* Texts are kept up to a length. */
static struct str
cut(struct str s)
{
	return s.n > MEDIA_TEXT_MOST ? (struct str){s.p, MEDIA_TEXT_MOST} : s;
}

static bool
number(struct str s, double *out)
{
	char *end;

	if (!s.n)
		return false;
	*out = strtod(s.p, &end); /* attributes end with a NUL */
	return end == s.p + s.n && isfinite(*out);
}

/* The parts' list grows while it is walked. */
static bool
part_of(struct models *s, struct str path, size_t *part)
{
	while (path.n && *path.p == '/')
		path.p++, path.n--;
	if (!path.n) {
		*part = s->part;
		return true;
	}
	for (*part = 0; *part < s->n_parts; (*part)++)
		if (str_eq(s->parts[*part], path))
			return true;
	if (s->n_parts == sizeof(s->parts) / sizeof(s->parts[0]))
		return too_many(s);
	s->parts[s->n_parts++] = str_dup(s->t->m->arena, cut(path));
	return true;
}

static bool
read_transform(struct models *s, struct str text, double t[12])
{
	static const double identity[12] = {1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0};
	const char *p = text.p;
	char *end;

	memcpy(t, identity, sizeof(identity));
	for (int i = 0; text.p && i < 12; i++, p = end) {
		t[i] = strtod(p, &end);
		if (end == p || !(fabs(t[i]) <= 1e9)) {
			memcpy(t, identity, sizeof(identity));
			s->bad_number = true;
			return false;
		}
		t[i] *= i >= 9 ? s->unit_mm : 1;
	}
	return true;
}

static bool
take_placement(struct models *s, const char *const *attributes, struct placement **out)
{
	struct placement *p = ARENA_NEW(s->t->m->arena, struct placement);

	*out = p;
	if (s->n_placements++ == THREEMF_OBJECTS_MOST)
		return too_many(s);
	read_transform(s, xml_attribute(attributes, STR("transform")), p->t);
	if (!str_to_i64(xml_attribute(attributes, STR("objectid")), &p->object_id))
		s->bad_index = true;
	return part_of(s, xml_attribute(attributes, STR("path")), &p->part);
}

static bool
on_model(struct models *s, const char *const *attributes)
{
	struct str unit = xml_attribute(attributes, STR("unit"));

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (str_eq(unit, units[i].name))
			s->unit_mm = units[i].mm;
	return true;
}

static bool
on_metadata(struct models *s, const char *const *attributes)
{
	struct str name = xml_attribute(attributes, STR("name"));

	s->metadata = NULL;
	for (size_t i = 0; i < sizeof(metadata) / sizeof(metadata[0]); i++)
		if (!s->object && s->part == 0 && str_eq(name, metadata[i].name))
			s->metadata = metadata[i].member;
	s->text_n = 0;
	return true;
}

static bool
on_object(struct models *s, const char *const *attributes)
{
	struct str type = xml_attribute(attributes, STR("type"));
	struct str name = xml_attribute(attributes, STR("name"));
	struct object *o = &s->objects[s->n_objects];

	if (s->n_objects == THREEMF_OBJECTS_MOST)
		return too_many(s);
	s->n_objects++;
	*o = (struct object){.part = s->part,
	    .name = str_dup(s->t->m->arena, cut(name)),
	    .model = !type.n || str_eq(type, STR("model"))};
	if (!str_to_i64(xml_attribute(attributes, STR("id")), &o->id))
		s->bad_index = true;
	mesh_init(&o->mesh);
	s->object = o;
	return true;
}

static bool
on_vertex(struct models *s, const char *const *attributes)
{
	static const struct str names[] = {STR_INIT("x"), STR_INIT("y"), STR_INIT("z")};
	struct object *o = s->object;
	struct vertex v;

	if (!o)
		return true;
	for (int i = 0; i < 3; i++) {
		double d = 0;

		if (!number(xml_attribute(attributes, names[i]), &d) || !(fabs(d) <= 1e6)) {
			s->bad_number = true;
			d = 0;
		}
		v.p[i] = (float)(d * s->unit_mm);
	}
	if (o->n == o->size) {
		size_t size = o->size ? 2 * o->size : 1024;
		struct vertex *p = realloc(o->vertices, size * sizeof(*p));

		if (!p)
			return media_fail(s->t->m, "too_large", "A mesh does not fit into memory.");
		o->vertices = p;
		o->size = size;
	}
	o->vertices[o->n++] = v;
	return true;
}

static bool
on_triangle(struct models *s, const char *const *attributes)
{
	static const struct str names[] = {STR_INIT("v1"), STR_INIT("v2"), STR_INIT("v3")};
	struct object *o = s->object;
	double p[3][3];

	for (int i = 0; o && i < 3; i++) {
		int64_t v = -1;

		if (!str_to_i64(xml_attribute(attributes, names[i]), &v) || v < 0 ||
		    v >= (int64_t)o->n) {
			s->bad_index = true;
			return true;
		}
		for (int k = 0; k < 3; k++)
			p[i][k] = (double)o->vertices[v].p[k];
	}
	if (o)
		mesh_add(&o->mesh, p[0], p[1], p[2]);
	return true;
}

static bool
on_component(struct models *s, const char *const *attributes)
{
	struct placement *p;

	if (!s->object)
		return true;
	if (!take_placement(s, attributes, &p))
		return false;
	p->next = s->object->components;
	s->object->components = p;
	return true;
}

static bool
on_item(struct models *s, const char *const *attributes)
{
	struct placement *p;

	if (s->part != 0 || str_eq(xml_attribute(attributes, STR("printable")), STR("0")))
		return true;
	if (!take_placement(s, attributes, &p))
		return false;
	*s->last_item = p;
	s->last_item = &p->next;
	return true;
}

static const struct {
	struct str name;
	bool (*start)(struct models *s, const char *const *attributes);
} elements[] = {
    {STR_INIT("vertex"), on_vertex}, /* the frequent ones first */
    {STR_INIT("triangle"), on_triangle},
    {STR_INIT("object"), on_object},
    {STR_INIT("component"), on_component},
    {STR_INIT("item"), on_item},
    {STR_INIT("metadata"), on_metadata},
    {STR_INIT("model"), on_model},
};

static bool
on_start(void *ctx, struct str name, const char *const *attributes)
{
	for (size_t i = 0; i < sizeof(elements) / sizeof(elements[0]); i++)
		if (str_eq(name, elements[i].name))
			return elements[i].start(ctx, attributes);
	return true;
}

static void
on_text(void *ctx, struct str bytes)
{
	struct models *s = ctx;
	size_t room = sizeof(s->text) - s->text_n, n = bytes.n < room ? bytes.n : room;

	if (!s->metadata)
		return;
	memcpy(s->text + s->text_n, bytes.p, n);
	s->text_n += n;
}

/* "PrusaSlicer-2.5.0": the name up to the last dash. */
static struct json_object *
slicer_json(struct str application)
{
	struct json_object *o = json_object_new_object();
	size_t dash = application.n;

	while (dash && application.p[dash - 1] != '-')
		dash--;
	if (dash > 1)
		json_object_object_add(o, "version",
		    media_text((struct str){application.p + dash, application.n - dash}));
	json_object_object_add(o, "name",
	    media_text((struct str){application.p, dash > 1 ? dash - 1 : application.n}));
	return o;
}

static void
end_metadata(struct models *s)
{
	struct json_object *meta = media_meta(s->t->m);
	struct str text = str_trim((struct str){s->text, s->text_n});

	if (text.n)
		json_object_object_add(meta, s->metadata,
		    strcmp(s->metadata, "slicer") == 0 ? slicer_json(text) : media_text(text));
	s->metadata = NULL;
}

/* The mesh is complete: its corners are only needed where it is placed. */
static void
end_object(struct models *s)
{
	struct object *o = s->object;

	s->object = NULL;
	if (o->model && o->mesh.triangles) {
		s->triangles += o->mesh.triangles;
		mesh_keys(s->t->m, &o->mesh);
	}
	if (s->kept + o->n > KEPT_VERTICES_MOST || !o->mesh.triangles) {
		free(o->vertices);
		o->vertices = NULL;
		o->n = o->size = 0;
	}
	s->kept += o->n;
}

static void
on_end(void *ctx, struct str name)
{
	struct models *s = ctx;

	if (s->metadata && str_eq(name, STR("metadata")))
		end_metadata(s);
	else if (s->object && str_eq(name, STR("object")))
		end_object(s);
}

/* --- the build -------------------------------------------------------------------------------- */

static const struct object *
find_object(const struct models *s, const struct placement *p)
{
	for (size_t i = 0; i < s->n_objects; i++)
		if (s->objects[i].part == p->part && s->objects[i].id == p->object_id)
			return &s->objects[i];
	return NULL;
}

static void
move(const double t[12], const double p[3], double out[3])
{
	for (int i = 0; i < 3; i++)
		out[i] = p[0] * t[i] + p[1] * t[3 + i] + p[2] * t[6 + i] + t[9 + i];
}

static void
add_point(struct models *s, const double t[12], double x, double y, double z)
{
	double p[3] = {x, y, z}, q[3];

	move(t, p, q);
	if (mesh_sane(q))
		box_add(&s->box, q);
	else
		s->bad_number = true;
}

/* The vertices, or the corners of their box when there are too many. */
static void
place_mesh(struct models *s, const struct object *o, const double t[12])
{
	const struct box *b = &o->mesh.box;

	s->moved += (int64_t)o->n;
	if (o->vertices && s->moved <= MOVED_VERTICES_MOST) {
		for (size_t i = 0; i < o->n; i++)
			add_point(s, t, (double)o->vertices[i].p[0], (double)o->vertices[i].p[1],
			    (double)o->vertices[i].p[2]);
		return;
	}
	for (int i = 0; i < 8; i++)
		add_point(s, t, i & 1 ? b->max[0] : b->min[0], i & 2 ? b->max[1] : b->min[1],
		    i & 4 ? b->max[2] : b->min[2]);
}

/* First a, then b. */
static void
combine(const double a[12], const double b[12], double out[12])
{
	static const double origin[3];
	double zero[3];

	move(b, origin, zero);
	for (int row = 0; row < 4; row++) {
		move(b, a + 3 * row, out + 3 * row);
		for (int i = 0; row < 3 && i < 3; i++)
			out[3 * row + i] -= zero[i];
	}
}

static void
place(struct models *s, const struct placement *p, const double outer[12], int depth)
{
	const struct object *o = find_object(s, p);
	double t[12];

	if (!o || !o->model || depth > NESTING_MOST || s->placed++ > PLACEMENTS_MOST) {
		s->bad_index = s->bad_index || !o || depth > NESTING_MOST;
		return;
	}
	combine(p->t, outer, t);
	if (o->mesh.triangles)
		place_mesh(s, o, t);
	for (const struct placement *c = o->components; c; c = c->next)
		place(s, c, t, depth + 1);
}

static struct json_object *
object_json(struct str name)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "name", media_text(name));
	return o;
}

static void
place_all(struct models *s)
{
	static const double identity[12] = {1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0};
	struct json_object *names = json_object_new_array();

	box_init(&s->box);
	for (size_t i = 0; !s->items && i < s->n_objects; i++)
		if (s->objects[i].model && s->objects[i].mesh.triangles)
			place_mesh(s, &s->objects[i], identity);
	for (const struct placement *p = s->items; p; p = p->next) {
		const struct object *o = find_object(s, p);

		place(s, p, identity, 0);
		if (o && o->name.n && json_object_array_length(names) < THREEMF_NAMES_MOST)
			json_object_array_add(names, object_json(o->name));
	}
	if (json_object_array_length(names))
		json_object_object_add(media_meta(s->t->m), "objects", names);
	else
		json_object_put(names);
}

static void
release(void *p)
{
	struct models *s = p;

	for (size_t i = 0; i < s->n_objects; i++)
		free(s->objects[i].vertices);
}

static void
read_parts(struct models *s)
{
	static const struct xml_events events = {on_start, on_end, on_text};

	for (s->part = 0; s->part < s->n_parts; s->part++) {
		ptrdiff_t i = threemf_part(s->t, s->parts[s->part]);

		s->unit_mm = 1;
		s->object = NULL;
		s->metadata = NULL;
		if (i < 0)
			media_fail(s->t->m, "missing_part",
			    "A part that the model refers to is not in the archive.");
		else
			xml_read(s->t->m, s->t->z, i, &events, s);
	}
}

void
threemf_model(struct threemf *t)
{
	struct arena *a = t->m->arena;
	struct models *s = ARENA_NEW(a, struct models);

	s->t = t;
	s->objects = arena_array(a, THREEMF_OBJECTS_MOST, sizeof(*s->objects));
	s->last_item = &s->items;
	arena_defer(a, release, s);
	part_of(s, t->model, &s->part);
	read_parts(s);
	place_all(s);
	if (s->bad_number)
		media_fail(t->m, "bad_coordinates", "The model has a number that is not finite.");
	if (s->bad_index)
		media_fail(t->m, "unparsable",
		    "The model refers to an object or a vertex that is not there.");
	if (s->triangles)
		mesh_describe(t->m, &s->box, s->triangles);
}
