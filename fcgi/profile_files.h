/* Profiles come from slicers' files and go back into them. */
#ifndef FCGI_PROFILE_FILES_H
#define FCGI_PROFILE_FILES_H

#include "media/preset.h"
#include "req.h"

/* One of the two resources. */
struct profile_resource {
	const char *name; /* app.profiles.kind */
	enum preset_kind kind;
	const struct sql *get;
};

/* Reads the file and keeps its presets of this kind; answers what became of each.
 * err_preset_unreadable. */
const struct err *profiles_import(struct req *r, const struct profile_resource *of,
    struct str filename, struct str content, bool replace);
/* The profile as an attachment; format: "orcaslicer", "prusaslicer", or STR_NONE for the one it
 * came in. */
const struct err *profile_export(
    struct req *r, const struct profile_resource *of, struct uuid id, struct str format);

#endif
