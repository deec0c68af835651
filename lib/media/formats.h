/* One entry per format, defined by its reader; media.c tries them in its table's order. */
#ifndef MEDIA_FORMATS_H
#define MEDIA_FORMATS_H

#include "media/media.h"

extern const struct media_format format_bgcode;
extern const struct media_format format_gcode;
extern const struct media_format format_obj;
extern const struct media_format format_step;
extern const struct media_format format_stl;
extern const struct media_format format_threemf;

#endif
