/* The kinds of files that readers know. */
#ifndef MEDIA_KIND_H
#define MEDIA_KIND_H

#include "base/str.h"

/* The kind that the filename's ending stands for; "other" for every unknown one. */
const char *kind_by_name(struct str filename);
/* The kind's own name, or NULL when there is no such kind. */
const char *kind_named(struct str kind);

#endif
