/* Slicer presets: JSON of OrcaSlicer and Bambu Studio, INI of PrusaSlicer and SuperSlicer (one
 * preset, or a bundle of several in sections). Every key is kept as it is; what both families know
 * is also read into attributes named as the contract names them. Input is hostile. */
#ifndef MEDIA_PRESET_H
#define MEDIA_PRESET_H

#include <json-c/json.h>

#include "base/str.h"

struct arena;

enum preset_kind { PRESET_FILAMENT, PRESET_PRINTER };
enum preset_format { PRESET_JSON, PRESET_INI, PRESET_BUNDLE, PRESET_NO_FORMAT };

enum {
	PRESETS_MOST = 1000,    /* of one file */
	PRESET_NAME_MOST = 200, /* characters */
};

struct preset {
	enum preset_kind kind;
	struct str name;
	struct str inherits;          /* STR_NONE without */
	struct json_object *settings; /* its own keys: texts or lists of texts */
	struct json_object
	    *attributes; /* material, bed_volume, ...; inherited ones when the file has them */
};

struct presets {
	struct str error; /* a sentence, when the file cannot be read; else NULL */
	enum preset_format format;
	struct str slicer; /* "OrcaSlicer", "PrusaSlicer", ... as far as it says */
	struct preset *v;
	size_t n;
	size_t others; /* presets of other kinds */
};

/* All presets of one kind. filename names a preset that has no name of its own. Objects are freed
 * with the arena. */
void presets_read(struct arena *a, enum preset_kind kind, struct str filename, struct str content,
    struct presets *out);

/* The preset as a file. was: what it was made of, or PRESET_NO_FORMAT; its keys are written only in
 * their own family's format. imported: the attributes as presets_read gave them, or NULL; those
 * that are the same now leave the keys alone. wanted: PRESET_JSON or PRESET_INI. */
struct str preset_write(struct arena *a, const struct preset *p, enum preset_format was,
    struct json_object *imported, enum preset_format wanted);

/* "json", "ini", "bundle"; and back. */
const char *preset_format_name(enum preset_format f);
enum preset_format preset_format_parse(struct str name);

#endif
