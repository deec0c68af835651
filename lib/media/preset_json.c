/* Presets of OrcaSlicer and Bambu Studio: one JSON object, or a list of them. */
#include "media/preset_readers.h"

#include "base/arena.h"
#include "base/buf.h"
#include "gen/errors.h"
#include "http/json_in.h"
#include "http/validate.h"
#include "media/preset_fields.h"

static struct str
text_of(struct json_object *o)
{
	if (!json_object_is_type(o, json_type_string))
		return STR_NONE;
	return (struct str){json_object_get_string(o), (size_t)json_object_get_string_len(o)};
}

/* A text as it is, a list as "a,b". */
static struct str
get(const struct preset_lookup *l, const char *key)
{
	struct json_object *v = NULL;
	struct str out = STR_NONE;
	struct buf b;

	/* json-c has no way to look into an object that is const */
	json_object_object_get_ex(*(struct json_object *const *)l->from, key, &v);
	if (!json_object_is_type(v, json_type_array))
		return text_of(v);
	buf_init(&b, 65536);
	for (size_t i = 0; i < json_object_array_length(v); i++) {
		if (i)
			buf_char(&b, ',');
		buf_str(&b, text_of(json_object_array_get_idx(v, i)));
	}
	if (!b.overflow && b.n)
		out = str_dup(l->arena, buf_view(&b));
	buf_fini(&b);
	return out;
}

static bool
has_any(struct json_object *o, const char *const *keys)
{
	for (; *keys; keys++) {
		if (json_object_object_get_ex(o, *keys, NULL))
			return true;
	}
	return false;
}

/* What presets of a kind have when they do not say their type. */
static bool
is_kind(struct json_object *o, enum preset_kind kind)
{
	static const char *const marks[][5] = {
	    {"filament_settings_id", "filament_type", "filament_id", "filament_density", NULL},
	    {"printer_settings_id", "printable_area", "printer_model", "nozzle_diameter", NULL},
	};
	struct str type = text_of(json_object_object_get(o, "type"));

	if (type.p)
		return str_eq(type, kind == PRESET_FILAMENT ? STR("filament") : STR("machine"));
	return has_any(o, marks[kind]);
}

/* Only texts, numbers, truths and lists of texts are settings. */
static bool
are_settings(struct json_object *o)
{
	json_object_object_foreach(o, key, v) {
		(void)key;
		if (json_object_is_type(v, json_type_object))
			return false;
		if (!json_object_is_type(v, json_type_array))
			continue;
		for (size_t i = 0; i < json_object_array_length(v); i++) {
			if (!json_object_is_type(json_object_array_get_idx(v, i), json_type_string))
				return false;
		}
	}
	return true;
}

static void
add(struct arena *a, enum preset_kind kind, struct str fallback, struct json_object *o,
    struct presets *out)
{
	struct preset_lookup l = {get, a, &o, PRESET_JSON};
	struct preset *p = &out->v[out->n];

	if (!is_kind(o, kind)) {
		out->others++;
		return;
	}
	if (!are_settings(o)) {
		out->error = STR("A setting is neither a text nor a list of texts.");
		return;
	}
	*p = (struct preset){
	    .kind = kind, .name = get(&l, "name"), .inherits = get(&l, "inherits")};
	if (!p->name.n)
		p->name = get(
		    &l, kind == PRESET_FILAMENT ? "filament_settings_id" : "printer_settings_id");
	if (!p->name.n)
		p->name = fallback;
	p->settings = o;
	p->attributes = preset_attributes(kind, &l);
	out->n++;
}

void
presets_read_json(struct arena *a, enum preset_kind kind, struct str fallback, struct str content,
    struct presets *out)
{
	struct violations v = {.n = 0};
	struct json_object *o = NULL;
	size_t n = 1;

	out->format = PRESET_JSON;
	out->slicer = STR("OrcaSlicer");
	if (json_in_parse(a, content, &v, &o)) {
		out->error = str_fmt(a, "This is not JSON: %.*s.", STR_ARG(v.v[0].message));
		return;
	}
	if (json_object_is_type(o, json_type_array))
		n = json_object_array_length(o);
	if (n > PRESETS_MOST) {
		out->error = str_fmt(a, "More than %d presets.", PRESETS_MOST);
		return;
	}
	out->v = arena_array(a, n ? n : 1, sizeof(*out->v));
	for (size_t i = 0; i < n && !out->error.p; i++) {
		struct json_object *one =
		    json_object_is_type(o, json_type_array) ? json_object_array_get_idx(o, i) : o;

		if (!json_object_is_type(one, json_type_object))
			out->error = STR("A preset is a JSON object.");
		else
			add(a, kind, fallback, one, out);
	}
}
