/* What the parts of the G-code reader share; nobody else needs it. */
#ifndef MEDIA_GCODE_PARTS_H
#define MEDIA_GCODE_PARTS_H

#include <openssl/evp.h>

#include "base/buf.h"
#include "media/gcode.h"
#include "media/gcode_text.h"

enum {
	GCODE_SLOTS_MOST = 32,
	GCODE_TOOLS_MOST = 16,
	GCODE_OBJECTS_MOST = 256,
	GCODE_LINE_MOST = 65536 /* bytes of a line that are looked at */
};

enum gcode_field {
	F_SLICER_VERSION,
	F_TIME,
	F_PRINTER_MODEL,
	F_PRINTER_PROFILE,
	F_PRINT_PROFILE,
	F_LAYER_HEIGHT,
	F_FIRST_LAYER_HEIGHT,
	F_LAYER_COUNT,
	F_MAX_Z,
	F_NOZZLE,
	F_BED_TYPE,
	F_NOZZLE_C,
	F_NOZZLE_FIRST_C,
	F_BED_C,
	F_BED_FIRST_C,
	/* Bed temperatures by plate; the bed's type says which counts. */
	F_COOL_PLATE_C,
	F_COOL_PLATE_FIRST_C,
	F_HOT_PLATE_C,
	F_HOT_PLATE_FIRST_C,
	F_ENG_PLATE_C,
	F_ENG_PLATE_FIRST_C,
	F_TEXTURED_PLATE_C,
	F_TEXTURED_PLATE_FIRST_C,
	F_SUPERTACK_PLATE_C,
	F_SUPERTACK_PLATE_FIRST_C,
	F_CHAMBER_C,
	/* One for each slot. */
	F_TYPE,
	F_COLOR,
	F_EXTRUDER_COLOR,
	F_VENDOR,
	F_PROFILE,
	F_DENSITY,
	F_DIAMETER,
	F_USED, /* the slots that the amounts are of, when they are not simply all */
	F_LENGTH_MM,
	F_LENGTH_M,
	F_VOLUME_CM3,
	F_VOLUME_MM3,
	F_WEIGHT_G,
	F_TOTAL_WEIGHT_G,
	F_TOTAL_LENGTH_MM,
	F_MIN_X,
	F_MIN_Y,
	F_MIN_Z,
	F_MAX_X,
	F_MAX_Y,
	F_BOX_MAX_Z,
	F_OBJECTS_INFO,
	FIELDS
};

/* A setting's name; '#' in it is a slot's number. */
struct gcode_key {
	struct str name;
	enum gcode_field field;
	char list; /* between items: ',', ';', '|' or 0 for a single value */
};

struct gcode_slicer {
	struct str mark;  /* what a comment of its begins with; the version follows */
	const char *name; /* NULL: the word after the mark */
	const struct gcode_key *keys[4];
};

/* Where the nozzle is, and what it has drawn. */
struct gcode_moves {
	double at[4], unit;
	bool relative, relative_e, custom;
	bool any;
	double min[3], max[3];
	int layers, z_layers;
	double z_first, z_second, z_last;
	double extruded[GCODE_TOOLS_MOST];
	int tool, n_tools;
	/* Targets: in force at the first layer, and the last that were not zero. */
	double nozzle[GCODE_TOOLS_MOST], nozzle_first[GCODE_TOOLS_MOST];
	double bed, bed_first, chamber;
};

struct gcode_object {
	struct str id, name; /* id: what tells it from another of the same name */
};

struct gcode {
	struct media *m;
	int plate;
	const struct gcode_slicer *slicer;
	struct str slicer_name, slicer_version;

	struct str item[FIELDS][GCODE_SLOTS_MOST];
	uint8_t n[FIELDS], rank[FIELDS];
	bool in_config;

	struct buf line; /* the beginning of one whose end has not come yet */
	bool gap;
	int64_t commands, settings;

	bool in_picture;
	EVP_ENCODE_CTX *base64;
	struct buf picture;

	struct gcode_moves moves;
	int object_rank;
	struct gcode_object objects[GCODE_OBJECTS_MOST];
	size_t n_objects;
	char object_number[12]; /* of M486 S; not terminated */
	size_t object_number_n;
};

/* gcode.c: of the best kind of label seen (higher ranks drop what lower ones gave). */
void gcode_object(struct gcode *g, int rank, struct str id, struct str name);

/* gcode_keys.c */
bool gcode_slicer_mark(struct gcode *g, struct str comment);
/* A comment that may be a setting of the slicer's. */
bool gcode_comment_setting(struct gcode *g, struct str comment);

/* gcode_moves.c */
void gcode_command(struct gcode *g, struct str line);
void gcode_layer(struct gcode *g);
void gcode_moves_init(struct gcode_moves *v);

/* gcode_facts.c */
void gcode_facts(struct gcode *g, struct json_object *into);

#endif
