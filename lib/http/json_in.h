/* JSON text from clients, parsed strictly by json-c. */
#ifndef HTTP_JSON_IN_H
#define HTTP_JSON_IN_H

#include "base/str.h"

struct arena;
struct err;
struct json_object;
struct violations;

#define JSON_IN_DEPTH 32
/* Members and items in the whole document. */
#define JSON_IN_VALUES_MAX 10000

/* Raw text → object owned by the arena (released by its cleanups); *out is NULL for JSON's null.
 * err_malformed_json, with one violation that names the place: syntax, empty_body, too_deep,
 * too_many_values, duplicate_key, invalid_utf8, nul_character, trailing_data, number_out_of_range.
 */
const struct err *json_in_parse(
    struct arena *a, struct str text, struct violations *v, struct json_object **out);

#endif
