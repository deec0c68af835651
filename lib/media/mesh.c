#include "media/mesh.h"

#include <math.h>

#include "base/arena.h"
#include "base/buf.h"
#include "store/digest.h"

static const double coordinate_most = 1e9;
static const double length_step_mm = 0.1;
static const double area_step = 1e-4;
static const double wave_step = 1.0 / 4096;
static const double pi = 3.14159265358979323846;

/* In no direction that parts prefer; as wavelengths 5.3, 8.9, 14.7 and 24.1 mm. */
static const struct {
	double direction[3], length_mm;
} waves[MESH_WAVES] = {
    {{0.5773, 0.6123, 0.5401}, 5.3},
    {{-0.4211, 0.7537, 0.5046}, 8.9},
    {{0.6689, -0.3217, 0.6701}, 14.7},
    {{0.3517, 0.5483, -0.7587}, 24.1},
};

void
box_init(struct box *b)
{
	for (int i = 0; i < 3; i++) {
		b->min[i] = INFINITY;
		b->max[i] = -INFINITY;
	}
}

bool
box_is_empty(const struct box *b)
{
	return !(b->min[0] <= b->max[0]);
}

void
box_add(struct box *b, const double p[3])
{
	for (int i = 0; i < 3; i++) {
		b->min[i] = p[i] < b->min[i] ? p[i] : b->min[i];
		b->max[i] = p[i] > b->max[i] ? p[i] : b->max[i];
	}
}

static struct json_object *
point_json(const double p[3])
{
	static const char *const names[] = {"x_mm", "y_mm", "z_mm"};
	struct json_object *o = json_object_new_object();

	for (int i = 0; i < 3; i++)
		json_object_object_add(o, names[i], media_number(p[i]));
	return o;
}

struct json_object *
box_json(const struct box *b)
{
	struct json_object *o;

	if (box_is_empty(b))
		return NULL;
	o = json_object_new_object();
	json_object_object_add(o, "min", point_json(b->min));
	json_object_object_add(o, "max", point_json(b->max));
	return o;
}

bool
mesh_sane(const double p[3])
{
	for (int i = 0; i < 3; i++)
		if (!(fabs(p[i]) <= coordinate_most))
			return false;
	return true;
}

void
mesh_init(struct mesh *h)
{
	*h = (struct mesh){.triangles = 0};
	box_init(&h->box);
}

static double
area_of(const double a[3], const double b[3], const double c[3])
{
	double u[3], v[3], x, y, z;

	for (int i = 0; i < 3; i++) {
		u[i] = b[i] - a[i];
		v[i] = c[i] - a[i];
	}
	x = u[1] * v[2] - u[2] * v[1];
	y = u[2] * v[0] - u[0] * v[2];
	z = u[0] * v[1] - u[1] * v[0];
	return 0.5 * sqrt(x * x + y * y + z * z);
}

static double
phase(int wave, const double p[3])
{
	const double *d = waves[wave].direction;

	return 2 * pi / waves[wave].length_mm * (d[0] * p[0] + d[1] * p[1] + d[2] * p[2]);
}

void
mesh_add(struct mesh *h, const double a[3], const double b[3], const double c[3])
{
	double area = area_of(a, b, c), centre[3];

	box_add(&h->box, a);
	box_add(&h->box, b);
	box_add(&h->box, c);
	h->triangles++;
	h->area += area;
	for (int i = 0; i < 3; i++) {
		centre[i] = (a[i] + b[i] + c[i]) / 3;
		h->centre[i] += area * centre[i];
	}
	for (int w = 0; w < MESH_WAVES; w++) {
		double t = phase(w, centre), re, im;

		sincos(t, &im, &re);
		h->re[w] += area * re;
		h->im[w] += area * im;
	}
}

/* Steps with their borders moved: which = 0 or 1. */
static long long
step_of(double v, double step, int which)
{
	return llround(v / step + (which ? 1.0 / 3 : -1.0 / 3));
}

static void
describe(struct buf *b, const struct mesh *h, int which)
{
	double centre[3];

	buf_fmt(b, "mesh 1 %d", which);
	for (int i = 0; i < 3; i++) {
		buf_fmt(b, " %lld", step_of(h->box.max[i] - h->box.min[i], length_step_mm, which));
		centre[i] = h->centre[i] / h->area;
	}
	buf_fmt(b, " %lld", step_of(log(h->area), area_step, which));
	for (int w = 0; w < MESH_WAVES; w++) {
		double t = phase(w, centre), re = h->re[w] / h->area, im = h->im[w] / h->area, c, s;

		sincos(t, &s, &c);
		buf_fmt(b, " %lld %lld", step_of(re * c + im * s, wave_step, which),
		    step_of(im * c - re * s, wave_step, which));
	}
}

void
mesh_keys(struct media *m, const struct mesh *h)
{
	if (!(h->area > 1e-9))
		return;
	for (int which = 0; which < MESH_KEYS; which++) {
		uint8_t digest[DIGEST_LEN];
		struct digest *d = digest_new();
		struct buf b;

		buf_init(&b, 1024);
		describe(&b, h, which);
		digest_add(d, b.p, b.n);
		digest_end(d, digest);
		digest_free(d);
		buf_fini(&b);
		media_key(m,
		    str_fmt(
			m->arena, "mesh:%.*s", STR_ARG(str_hex(m->arena, digest, sizeof(digest)))));
	}
}

void
mesh_describe(struct media *m, const struct box *box, int64_t triangles)
{
	struct json_object *meta = media_meta(m);

	if (!box_is_empty(box))
		json_object_object_add(meta, "bounding_box", box_json(box));
	json_object_object_add(meta, "triangle_count", json_object_new_int64(triangles));
}
