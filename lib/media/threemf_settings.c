#include <json-c/json.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "media/gcode.h"
#include "media/threemf.h"

enum { JSON_DEPTH_MOST = 16, LIST_MOST = 256 };

void
threemf_merge(struct threemf *t, struct json_object *found)
{
	struct json_object *meta = media_meta(t->m);

	json_object_object_foreach(found, key, value)
		if (value && !json_object_object_get_ex(meta, key, NULL))
			json_object_object_add(meta, key, json_object_get(value));
	json_object_put(found);
}

static struct json_object *
parse(struct str text)
{
	struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MOST);
	struct json_object *o;

	json_tokener_set_flags(tokener, JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tokener, text.p, (int)text.n);
	json_tokener_free(tokener);
	return o;
}

struct json_object *
threemf_json(struct threemf *t, struct str name)
{
	struct json_object *o = NULL;
	struct buf b;

	buf_init(&b, THREEMF_JSON_MOST);
	if (t->json < THREEMF_JSON_TOTAL && unzip_into(t->z, threemf_part(t, name), &b) && b.n) {
		t->json += b.n;
		o = parse(buf_view(&b));
		if (!o)
			media_fail(
			    t->m, "json_malformed", "%.*s is not readable JSON.", STR_ARG(name));
	}
	if (b.overflow)
		media_fail(t->m, "entry_too_large", "%.*s is over %d KiB.", STR_ARG(name),
		    THREEMF_JSON_MOST >> 10);
	buf_fini(&b);
	return o;
}

static struct str
json_str(struct json_object *v)
{
	if (!json_object_is_type(v, json_type_string))
		return STR_NONE;
	return (struct str){json_object_get_string(v), (size_t)json_object_get_string_len(v)};
}

static bool
is_number(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!strchr("0123456789.-%", s.p[i]))
			return false;
	return s.n > 0;
}

/* Numbers are separated by commas, texts are quoted and separated by semicolons, as in G-code. */
static void
add_item(struct buf *b, struct str s)
{
	bool bare = is_number(s);

	if (b->n)
		buf_char(b, bare ? ',' : ';');
	if (!bare)
		buf_char(b, '"');
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != '"' && s.p[i] != '\\' && (unsigned char)s.p[i] >= 0x20)
			buf_char(b, s.p[i]);
	if (!bare)
		buf_char(b, '"');
}

static void
take_list(struct gcode *g, struct str key, struct json_object *list)
{
	size_t n = json_object_array_length(list);
	struct buf b;

	buf_init(&b, 16 << 10);
	for (size_t i = 0; i < n && i < LIST_MOST; i++)
		add_item(&b, json_str(json_object_array_get_idx(list, i)));
	if (b.n && !b.overflow)
		gcode_setting(g, key, buf_view(&b));
	buf_fini(&b);
}

/* The project's settings have the names that they have in G-code. */
static void
read_project(struct threemf *t, struct gcode *g)
{
	struct json_object *o = threemf_json(t, STR("Metadata/project_settings.config"));

	if (json_object_is_type(o, json_type_object)) {
		json_object_object_foreach(o, key, value) {
			if (json_object_is_type(value, json_type_string))
				gcode_setting(g, str_from(key), json_str(value));
			else if (json_object_is_type(value, json_type_array))
				take_list(g, str_from(key), value);
		}
	}
	json_object_put(o);
}

/* "PrusaSlicer 2.5.0", which says whose settings they are. */
static struct str
producer(struct threemf *t)
{
	struct json_object *slicer = NULL, *name = NULL, *version = NULL;

	json_object_object_get_ex(media_meta(t->m), "slicer", &slicer);
	json_object_object_get_ex(slicer, "name", &name);
	json_object_object_get_ex(slicer, "version", &version);
	return str_fmt(
	    t->m->arena, "%.*s %.*s", STR_ARG(json_str(name)), STR_ARG(json_str(version)));
}

/* PrusaSlicer keeps the names of objects beside the model. */
struct names {
	struct json_object *list;
	bool in_object;
};

static bool
on_prusa_model(void *ctx, struct str name, const char *const *attributes)
{
	struct names *s = ctx;
	struct json_object *o;

	if (str_eq(name, STR("object")) || str_eq(name, STR("volume")))
		s->in_object = str_eq(name, STR("object"));
	if (!s->in_object || !str_eq(name, STR("metadata")) ||
	    !str_eq(xml_attribute(attributes, STR("key")), STR("name")) ||
	    json_object_array_length(s->list) >= THREEMF_NAMES_MOST)
		return true;
	o = json_object_new_object();
	json_object_object_add(o, "name", media_text(xml_attribute(attributes, STR("value"))));
	json_object_array_add(s->list, o);
	return true;
}

static void
read_names(struct threemf *t, struct json_object *found)
{
	static const struct xml_events events = {.start = on_prusa_model};
	ptrdiff_t i = threemf_part(t, STR("Metadata/Slic3r_PE_model.config"));
	struct names s = {.list = NULL};

	if (i < 0)
		return;
	s.list = json_object_new_array();
	xml_read(t->m, t->z, i, &events, &s);
	if (json_object_array_length(s.list))
		json_object_object_add(found, "objects", s.list);
	else
		json_object_put(s.list);
}

void
threemf_settings(struct threemf *t)
{
	static const struct str prusa = STR_INIT("Metadata/Slic3r_PE.config");
	struct json_object *found = json_object_new_object();
	struct gcode *g = gcode_new(t->m, 0);

	gcode_producer(g, producer(t));
	gcode_gap(g); /* no moves in here */
	gcode_feed(g, unzip_bytes(t->z, threemf_part(t, prusa), THREEMF_CONFIG_MOST));
	read_project(t, g);
	gcode_end(g, found);
	read_names(t, found);
	threemf_merge(t, found);
}
