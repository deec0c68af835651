/* 3MF: a ZIP archive of XML parts. What its readers share; none of it is used outside of
 * threemf*.c.
 *
 * Reasons (media_fail) beside those of zip.h and xml.h: not_a_3mf, path_traversal, bad_coordinates,
 * too_many_objects, missing_part, json_malformed. */
#ifndef MEDIA_THREEMF_H
#define MEDIA_THREEMF_H

#include "media/mesh.h"
#include "media/xml.h"

enum {
	THREEMF_PLATES_MOST = 100,
	THREEMF_SLOTS_MOST = 64,
	THREEMF_OBJECTS_MOST = 10000, /* objects, components and items, of one file */
	THREEMF_NAMES_MOST = 1000,    /* objects in the metadata */
	THREEMF_JSON_MOST =
	    512 << 10, /* bytes of one entry; parsed it takes a hundred times that */
	THREEMF_JSON_TOTAL = 8 << 20,
	THREEMF_CONFIG_MOST = 2 << 20
};

struct threemf {
	struct media *m;
	struct unzip *z;
	struct str model, thumbnail; /* entries, as the relationships name them */
	size_t json;                 /* bytes that were parsed */
};

/* The core: meshes, build, names, keys, Title, Designer, the slicer. */
void threemf_model(struct threemf *t);
/* Settings of the slicers: PrusaSlicer's Slic3r_PE.config, Bambu Studio's and OrcaSlicer's
 * project_settings.config. */
void threemf_settings(struct threemf *t);
/* Plates of Bambu Studio and OrcaSlicer: model_settings.config, slice_info.config, plate_N.json,
 * plate_N.gcode and their pictures. */
void threemf_plates(struct threemf *t);

/* Adds to the metadata what is not there yet; releases `found`. */
void threemf_merge(struct threemf *t, struct json_object *found);
/* An entry as JSON, with bounded size and depth; NULL when there is none, or with a reason. */
struct json_object *threemf_json(struct threemf *t, struct str name);

/* The entry that a part's name ("/3D/a.model", or relative to the root) stands for; -1 when there
 * is none, or it leads out of the archive, which is a reason. */
ptrdiff_t threemf_part(struct threemf *t, struct str name);
/* The part as a picture of the plate (0: of the whole file), if it is there. */
void threemf_picture(struct threemf *t, int plate, struct str name);

#endif
