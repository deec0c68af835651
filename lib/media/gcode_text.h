/* Numbers, durations and lists as slicers write them. */
#ifndef MEDIA_GCODE_TEXT_H
#define MEDIA_GCODE_TEXT_H

#include "base/str.h"

struct arena;

/* Takes a decimal number off the start. */
bool gcode_number(struct str *s, double *out);
/* "1d 2h 3m 4s", "0 hours 34 minutes", "01:12:30" or seconds. */
bool gcode_duration(struct str s, double *seconds);
/* Cuts a list into at most `most` items, in the arena; items may be quoted. */
size_t gcode_list(struct arena *a, struct str s, char separator, struct str *items, size_t most);
/* Without blanks and carriage returns around it. */
struct str gcode_trim(struct str s);

#endif
