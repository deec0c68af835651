/* The readers of the two families, for preset.c. fallback: the name of a preset that has none. */
#ifndef MEDIA_PRESET_READERS_H
#define MEDIA_PRESET_READERS_H

#include "media/preset.h"

void presets_read_json(struct arena *a, enum preset_kind kind, struct str fallback,
    struct str content, struct presets *out);
void presets_read_ini(struct arena *a, enum preset_kind kind, struct str fallback,
    struct str content, struct presets *out);

#endif
