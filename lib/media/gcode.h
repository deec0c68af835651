/* Metadata of G-code text: header, footer and configuration comments of the slicers, embedded
 * pictures, and what the moves themselves say. */
#ifndef MEDIA_GCODE_H
#define MEDIA_GCODE_H

#include "media/media.h"

struct gcode;

/* plate: what its pictures and objects are of; 0: the whole file. Pictures go to m; freed with m's
 * arena. */
struct gcode *gcode_new(struct media *m, int plate);
/* Text in pieces of any size, in order. */
void gcode_feed(struct gcode *g, struct str text);
/* Something was left out here: from now on only comments count, and nothing is derived from moves.
 */
void gcode_gap(struct gcode *g);
/* One setting under a slicer's name for it, as the metadata blocks of binary G-code have it. */
void gcode_setting(struct gcode *g, struct str key, struct str value);
/* The name and version of the slicer, "PrusaSlicer 2.7.0". */
void gcode_producer(struct gcode *g, struct str producer);
/* Adds all that was found to `into`, an object with the members of the contract's FileMetadata.
 * False when nothing in the text was G-code. Once. */
bool gcode_end(struct gcode *g, struct json_object *into);

/* The three in one, for text that is in memory. */
bool gcode_read_text(struct media *m, int plate, struct str text, struct json_object *into);

#endif
