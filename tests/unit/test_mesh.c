/* Meshes: boxes, and keys that survive what programs do to coordinates. */
#include "media/mesh.h"

#include <math.h>
#include <stdlib.h>

#include "media_fixture.h"

enum { SIDES = 24, TRIANGLES = 4 * SIDES * SIDES };

struct body {
	double p[TRIANGLES][3][3];
};

static double
uniform(double least, double most)
{
	return least + (most - least) * drand48();
}

static void
point_of(const double *shape, int i, int j, double out[3])
{
	double u = 2 * 3.14159265 * (i % (2 * SIDES)) / (2 * SIDES), v = 3.14159265 * j / SIDES;
	double f = 1 + (shape[6] * sin(3 * u + 2 * v) + shape[7] * sin(5 * u - v)) * sin(v);

	out[0] = shape[0] + shape[3] * f * cos(u) * sin(v);
	out[1] = shape[1] + shape[4] * f * sin(u) * sin(v);
	out[2] = shape[2] + shape[5] * f * cos(v);
	for (int k = 0; k < 3; k++)
		out[k] = (double)(float)out[k];
}

/* A bumpy body somewhere, in single precision. */
static void
make(struct body *b)
{
	double shape[8];
	size_t n = 0;

	for (int k = 0; k < 8; k++)
		shape[k] = k < 3 ? uniform(-100, 100) : k < 6 ? uniform(4, 90) : uniform(0, 0.2);
	for (int i = 0; i < 2 * SIDES; i++) {
		for (int j = 0; j < SIDES; j++, n += 2) {
			point_of(shape, i, j, b->p[n][0]);
			point_of(shape, i + 1, j, b->p[n][1]);
			point_of(shape, i + 1, j + 1, b->p[n][2]);
			point_of(shape, i, j, b->p[n + 1][0]);
			point_of(shape, i + 1, j + 1, b->p[n + 1][1]);
			point_of(shape, i, j + 1, b->p[n + 1][2]);
		}
	}
}

/* Each program that touches a mesh does one of these. */
static void
to_the_middle(struct body *b)
{
	double by[3] = {uniform(-200, 200), uniform(-200, 200), uniform(-200, 200)};

	for (size_t i = 0; i < TRIANGLES; i++)
		for (int k = 0; k < 9; k++)
			(&b->p[i][0][0])[k] =
			    (double)(float)((float)(&b->p[i][0][0])[k] - (float)by[k % 3]);
}

static void
to_text(struct body *b)
{
	for (size_t i = 0; i < TRIANGLES; i++) {
		for (int k = 0; k < 9; k++) {
			char text[40];

			snprintf(text, sizeof(text), "%.4f", (&b->p[i][0][0])[k]);
			(&b->p[i][0][0])[k] = strtod(text, NULL);
		}
	}
}

static void
to_another_order(struct body *b)
{
	for (size_t i = TRIANGLES - 1; i > 0; i--) {
		size_t j = (size_t)lrand48() % (i + 1), turn = (size_t)lrand48() % 3;

		for (size_t c = 0; c < 3; c++) {
			for (int k = 0; k < 3; k++) {
				double t = b->p[i][c][k];

				b->p[i][c][k] = b->p[j][(c + turn) % 3][k];
				b->p[j][(c + turn) % 3][k] = t;
			}
		}
	}
}

static void
scaled(struct body *b)
{
	for (size_t i = 0; i < TRIANGLES; i++)
		for (int k = 0; k < 9; k++)
			(&b->p[i][0][0])[k] *= 1.001;
}

static void
mirrored(struct body *b)
{
	for (size_t i = 0; i < TRIANGLES; i++)
		for (int c = 0; c < 3; c++)
			b->p[i][c][0] = -b->p[i][c][0];
}

/* A dent of a third of a millimetre, in one corner that six triangles have. */
static void
dented(struct body *b)
{
	double at[3] = {b->p[500][0][0], b->p[500][0][1], b->p[500][0][2]};

	for (size_t i = 0; i < TRIANGLES; i++)
		for (int c = 0; c < 3; c++)
			if (memcmp(b->p[i][c], at, sizeof(at)) == 0)
				b->p[i][c][0] += 2;
}

static void
keys_of(struct media *m, const struct body *b)
{
	struct mesh h;

	mesh_init(&h);
	for (size_t i = 0; i < TRIANGLES; i++)
		mesh_add(&h, b->p[i][0], b->p[i][1], b->p[i][2]);
	mesh_keys(m, &h);
}

/* How many of n bodies share a key with themselves after the change. */
static int
known_again(void (*change)(struct body *b), int n)
{
	struct body *b = malloc(sizeof(*b));
	int known = 0;

	must(b != NULL);
	for (int i = 0; i < n; i++) {
		struct arena *a = arena_new(1 << 20);
		struct media before = {.arena = a}, after = {.arena = a};
		bool same = false;

		make(b);
		keys_of(&before, b);
		change(b);
		keys_of(&after, b);
		must(before.n_keys == MESH_KEYS && after.n_keys == MESH_KEYS);
		for (size_t k = 0; k < MESH_KEYS; k++)
			same = same || str_eq(before.keys[k], after.keys[k]);
		known += same;
		arena_free(a);
	}
	free(b);
	return known;
}

static void
test_keys(void)
{
	is_int(known_again(to_the_middle, 300), 300, "moved in single precision");
	is_int(known_again(to_text, 300), 300, "written with four decimals");
	is_int(known_again(to_another_order, 100), 100, "triangles and corners in another order");
	is_int(known_again(scaled, 100), 0, "a thousandth larger is another mesh");
	is_int(known_again(mirrored, 100), 0, "mirrored is another mesh");
	is_int(known_again(dented, 100), 0, "one corner moved is another mesh");
}

static void
test_nothing(void)
{
	static const double p[3] = {1, 2, 3}, q[3] = {4, 5, 6}, nan3[3] = {0, NAN, 0},
			    far[3] = {1e10, 0, 0};
	struct arena *a = arena_new(1 << 20);
	struct media m = {.arena = a};
	struct json_object *json;
	struct mesh h;

	mesh_init(&h);
	ok(box_is_empty(&h.box), "no triangle, no box");
	ok(!box_json(&h.box), "and no JSON of it");
	mesh_keys(&m, &h);
	mesh_add(&h, p, q, p);
	mesh_keys(&m, &h);
	is_int(m.n_keys, 0, "no key without area");
	is_int(h.triangles, 1, "counted all the same");
	json = box_json(&h.box);
	is_z(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN),
	    "{\"min\":{\"x_mm\":1,\"y_mm\":2,\"z_mm\":3},\"max\":{\"x_mm\":4,\"y_mm\":5,\"z_mm\":6}}",
	    "box");
	json_object_put(json);
	ok(mesh_sane(p) && !mesh_sane(nan3) && !mesh_sane(far), "sane points");
	arena_free(a);
}

static void
test_stl(void)
{
	struct fixture f = fixture_read(
	    STR("solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\n"
		"VERTEX 1e1 0 0\r\n\tvertex  0 20 0\nendloop\nendfacet\nendsolid\n"),
	    "x");

	is_z(f.m->kind, "stl", "ASCII, told by its content");
	ok(!f.m->reason_code, "read");
	is_str(fixture_member(&f, "triangle_count"), STR("1"), "triangles");
	is_int(f.m->n_keys, MESH_KEYS, "keys");
	fixture_close(&f);
	f = fixture_read(
	    STR("solid a\nfacet\nvertex 0 0 0\nvertex 1 1\nendfacet\nendsolid\n"), "x.stl");
	is_z(f.m->reason_code, "bad_coordinates", "a corner of two numbers");
	is_int(f.m->n_keys, 0, "no key of a broken mesh");
	fixture_close(&f);
	f = fixture_read(
	    STR("solid a\nfacet\nvertex 0 0 0\nvertex 1 1 1\nvertex 2 0 1\nvertex 3 3 3\nendfacet\nendsolid\n"),
	    "x.stl");
	is_z(f.m->reason_code, "bad_coordinates", "four corners");
	fixture_close(&f);
}

static void
test_obj(void)
{
	static const char cube[] =
	    "# a square, as polygon and relative\nv 0 0 0 1.0\nv 10 0 0\nv 10 10 0\nv 0 10 0\n"
	    "vt 0 0\nvn 0 0 1\ng side\nf 1/1/1 2//1 3/1 4\nf -1 -2 -3\n";
	struct fixture f = fixture_read(str_from(cube), "x.OBJ"), g;

	is_z(f.m->kind, "obj", "told by its name");
	ok(!f.m->reason_code, "read");
	is_str(fixture_member(&f, "triangle_count"), STR("3"), "a square is two triangles");
	is_int(f.m->n_keys, MESH_KEYS, "keys");
	fixture_close(&f);
	g = fixture_read(STR("v 0 0 0\nv 1 0 0\nv 0 1 0\n"), "x.obj");
	is_z(g.m->reason_code, "unparsable", "no face");
	fixture_close(&g);
	g = fixture_read(STR("v 0 0 0\nv 1 0 inf\nv 0 1 0\nf 1 2 3"), "x.obj");
	is_z(g.m->reason_code, "bad_coordinates", "infinite");
	fixture_close(&g);
	g = fixture_read(STR("f 1 0 2"), "x.obj");
	is_z(g.m->reason_code, "unparsable", "index 0");
	fixture_close(&g);
}

int
main(void)
{
	srand48(11);
	test_keys();
	test_nothing();
	test_stl();
	test_obj();
	return tap_done();
}
