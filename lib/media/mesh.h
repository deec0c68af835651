/* Meshes as they are read, triangle by triangle, in constant memory: bounding box, count, and keys
 * by which the same mesh is known again in another file.
 *
 * What a key is made of, all relative to where the mesh is best described whatever file it came in:
 *  - the box's three sizes, in steps of 0.1 mm;
 *  - the surface's area, in steps of 0.01 %;
 *  - four complex sums over all triangles of area · exp(i k·(c − C)), where c is the triangle's
 *    centre, C the centre of the whole surface and k one of four fixed wave vectors; divided by the
 *    area, in steps of 1/4096.
 * These do not depend on the order of triangles or of a triangle's corners, on where the mesh lies,
 * on how corners are shared, or on triangles without area. They do depend on scale, rotation and
 * mirroring. Rounding each coordinate would be of no use: programs move meshes in single precision,
 * and of hundreds of thousands of coordinates some always lie next to the border between two steps.
 * A sum averages such noise out and only twelve numbers must round alike. They are rounded twice,
 * with borders at 1/6 and at 5/6 of a step (measures of parts are often whole or half steps), which
 * makes two keys; meshes that share one of them are the same (of 6,000 that were moved in single
 * precision or written with four decimals, one was not known again). The key is "mesh:" and the
 * SHA-256, in hexadecimal, of the version, which of the two it is, and the twelve whole numbers. */
#ifndef MEDIA_MESH_H
#define MEDIA_MESH_H

#include "media/media.h"

enum { MESH_WAVES = 4, MESH_KEYS = 2 };

struct box {
	double min[3], max[3]; /* mm; empty while min[0] > max[0] */
};

struct mesh {
	struct box box;
	int64_t triangles;
	double area, centre[3]; /* centre: times the area */
	double re[MESH_WAVES], im[MESH_WAVES];
};

void box_init(struct box *b);
bool box_is_empty(const struct box *b);
void box_add(struct box *b, const double p[3]);
/* {"min": {"x_mm", "y_mm", "z_mm"}, "max": {…}}; NULL when empty. */
struct json_object *box_json(const struct box *b);

/* Finite and within 1000 km: nothing that is computed of it overflows. */
bool mesh_sane(const double p[3]);

void mesh_init(struct mesh *h);
/* The corners, in mm; all mesh_sane. */
void mesh_add(struct mesh *h, const double a[3], const double b[3], const double c[3]);
/* Adds the keys to the file's; none of a mesh without area. */
void mesh_keys(struct media *m, const struct mesh *h);
/* Writes bounding_box and triangle_count into the file's metadata. */
void mesh_describe(struct media *m, const struct box *box, int64_t triangles);

#endif
