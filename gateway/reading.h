/* Reading values that a printer sent: numbers arrive as strings in many places, and nothing is
 * trusted. Each function leaves *out alone and answers false when the value is not what was asked
 * for. */
#ifndef GATEWAY_READING_H
#define GATEWAY_READING_H

#include <json-c/json.h>

#include "base/str.h"

/* A whole number, a fraction (cut off), a decimal string or a boolean (0, 1). */
bool reading_i64(struct json_object *v, int64_t *out);
bool reading_double(struct json_object *v, double *out);
/* A string of hexadecimal digits, at most 64 bits; a leading "0x" is allowed. */
bool reading_hex(struct json_object *v, uint64_t *out);
/* A string or a number as text: control characters stripped, cut at a character's border to fit,
 * the rest of `out` cleared so that two buffers compare by memcmp. The text was checked to be UTF-8
 * by the parser. */
bool reading_text(struct json_object *v, char *out, size_t size);
/* The same for text that is already here. */
void reading_clean(struct str s, char *out, size_t size);
/* true/false; also 0/1 and their strings. */
bool reading_bool(struct json_object *v, bool *out);
/* A strict parser, UTF-8 checked, for documents at most so deep; to be freed by json_tokener_free.
 */
struct json_tokener *reading_tokener(int depth);
/* One JSON object and nothing behind it but blanks, to be put by the caller; else NULL. */
struct json_object *reading_object(struct json_tokener *t, struct str text);
/* A member, or NULL; NULL also when v is no object. */
struct json_object *reading_member(struct json_object *v, const char *name);

#endif
