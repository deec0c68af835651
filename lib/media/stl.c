/* STL: binary (80 bytes, a count, 50 bytes for each triangle) and ASCII. Which of the two a file is
 * says its size: that of a binary one follows from its count; "solid" at the beginning says little.
 */
#include <string.h>

#include "base/arena.h"
#include "media/formats.h"
#include "media/lines.h"
#include "media/mesh.h"

enum { HEADER = 84, FACET = 50, FACETS_AT_ONCE = 4096 };

static uint32_t
u32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

static double
f32(const char *p)
{
	union {
		uint32_t u;
		float f;
	} v = {.u = u32(p)};

	return (double)v.f;
}

static bool
is_binary(const struct media *m, struct str head)
{
	return head.n >= HEADER && m->size == HEADER + (int64_t)u32(head.p + 80) * FACET;
}

static bool
named_stl(const struct media *m)
{
	struct str s = m->filename;

	return s.n >= 4 && str_ieq((struct str){s.p + s.n - 4, 4}, STR(".stl"));
}

static bool
is_ascii(struct str head)
{
	struct str s = str_trim(head);

	return s.n >= 5 && str_ieq((struct str){s.p, 5}, STR("solid")) &&
	    memmem(head.p, head.n, "facet", 5) != NULL;
}

static bool
is_stl(const struct media *m, struct str head)
{
	return is_binary(m, head) || is_ascii(head) || (named_stl(m) && head.n > 0);
}

/* False when a corner is no number. */
static bool
take_facet(struct mesh *h, const char *p)
{
	double v[3][3];

	for (int i = 0; i < 3; i++) {
		for (int k = 0; k < 3; k++)
			v[i][k] = f32(p + 12 + 12 * i + 4 * k);
		if (!mesh_sane(v[i]))
			return false;
	}
	mesh_add(h, v[0], v[1], v[2]);
	return true;
}

static void
bad_corner(struct media *m)
{
	media_fail(m, "bad_coordinates", "A corner of a triangle is not a finite number.");
}

static void
read_binary(struct media *m, struct mesh *h, int64_t count)
{
	char *buffer = arena_alloc(m->arena, FACETS_AT_ONCE * FACET);

	for (int64_t i = 0; i < count; i += FACETS_AT_ONCE) {
		int64_t n = count - i < FACETS_AT_ONCE ? count - i : FACETS_AT_ONCE;
		struct str s = media_read_at(m, HEADER + i * FACET, buffer, (size_t)n * FACET);

		for (size_t at = 0; at + FACET <= s.n; at += FACET)
			if (!take_facet(h, s.p + at))
				bad_corner(m);
		if (s.n < (size_t)n * FACET)
			break;
	}
}

/* The ASCII form is read for its "vertex" lines; three make a triangle. */
struct ascii {
	struct mesh *mesh;
	double v[3][3];
	int n;
	bool bad, ended;
};

static bool
take_line(void *ctx, struct str line)
{
	struct ascii *s = ctx;
	struct str rest = str_trim(line), word = str_cut(&rest, ' ');

	if (str_ieq(word, STR("vertex"))) {
		if (s->n == 3 || !lines_numbers(rest, s->v[s->n], 3) || !mesh_sane(s->v[s->n]))
			s->bad = true;
		else
			s->n++;
	} else if (str_ieq(word, STR("endfacet"))) {
		if (s->n == 3)
			mesh_add(s->mesh, s->v[0], s->v[1], s->v[2]);
		else
			s->bad = true;
		s->n = 0;
	} else if (str_ieq(word, STR("endsolid"))) {
		s->ended = true;
	}
	return true;
}

static void
read_ascii(struct media *m, struct mesh *h)
{
	struct ascii s = {.mesh = h};

	lines_each(m, take_line, &s);
	if (s.bad)
		bad_corner(m);
	if (!s.ended)
		media_fail(m, "truncated", "The file ends before its last triangle.");
}

static void
read_stl(struct media *m)
{
	struct str head = media_bytes(m, 0, MEDIA_HEAD);
	struct mesh h;

	mesh_init(&h);
	if (is_binary(m, head) || !is_ascii(head)) {
		int64_t there = (m->size - HEADER) / FACET;
		int64_t claimed = head.n >= HEADER ? (int64_t)u32(head.p + 80) : 0;

		if (!is_binary(m, head))
			media_fail(m, "truncated",
			    "The file claims %lld triangles and has room for %lld.",
			    (long long)claimed, (long long)(there > 0 ? there : 0));
		read_binary(m, &h, claimed < there ? claimed : there);
	} else {
		read_ascii(m, &h);
	}
	mesh_describe(m, &h.box, h.triangles);
	if (!m->reason_code)
		mesh_keys(m, &h);
}

const struct media_format format_stl = {"stl", is_stl, read_stl};
