/* What presets of both families mean by their keys. For preset*.c. */
#ifndef MEDIA_PRESET_FIELDS_H
#define MEDIA_PRESET_FIELDS_H

#include "media/preset.h"

/* Where keys are looked up: the value as text, lists as "a,b"; STR_NONE when there is none. */
struct preset_lookup {
	struct str (*get)(const struct preset_lookup *l, const char *key);
	struct arena *arena;
	const void *from;
	enum preset_format format;
};

/* The attributes that the keys give, as a new object of the arena's. */
struct json_object *preset_attributes(enum preset_kind kind, const struct preset_lookup *l);
/* Writes attributes into settings; those that equal the ones in `unless` (or NULL) stay out. */
void preset_put_attributes(struct arena *a, const struct preset *p, struct json_object *unless,
    enum preset_format format, struct json_object *settings);

/* A new object that is freed with the arena. */
struct json_object *preset_object(struct arena *a, struct json_object *o);
/* Without the quotes around it. */
struct str preset_unquote(struct str s);

#endif
