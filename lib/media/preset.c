#include "media/preset.h"

#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "http/format.h"
#include "media/preset_fields.h"
#include "media/preset_readers.h"

static const char *const format_names[] = {"json", "ini", "bundle", ""};

const char *
preset_format_name(enum preset_format f)
{
	return format_names[f];
}

enum preset_format
preset_format_parse(struct str name)
{
	size_t i = 0;

	while (i < PRESET_NO_FORMAT && !str_eq(name, str_from(format_names[i])))
		i++;
	return (enum preset_format)i;
}

/* The last segment of a path, without its extension. */
static struct str
stem(struct str filename)
{
	struct str s = filename;

	for (size_t i = 0; i < filename.n; i++) {
		if (filename.p[i] == '/' || filename.p[i] == '\\')
			s = (struct str){filename.p + i + 1, filename.n - i - 1};
	}
	for (size_t i = s.n; i-- > 1;) {
		if (s.p[i] == '.')
			return str_trim((struct str){s.p, i});
	}
	return str_trim(s);
}

/* Names are shown in lists and headers. */
static bool
name_ok(struct str name)
{
	for (size_t i = 0; i < name.n; i++) {
		if ((unsigned char)name.p[i] < 0x20 || name.p[i] == 0x7f)
			return false;
	}
	return name.n && text_length(name) <= PRESET_NAME_MOST;
}

static void
check_names(struct arena *a, struct presets *out)
{
	for (size_t i = 0; i < out->n; i++) {
		out->v[i].name = str_trim(out->v[i].name);
		if (!name_ok(out->v[i].name)) {
			out->error = str_fmt(a, "Preset %zu has no usable name.", i + 1);
			return;
		}
	}
}

/* An object, or a list of objects; a section begins with '[' too. */
static bool
is_json(struct str text)
{
	size_t i = 0;

	while (i < text.n && memchr(" \t\r\n[", text.p[i], 5))
		i++;
	return i < text.n && text.p[i] == '{';
}

void
presets_read(struct arena *a, enum preset_kind kind, struct str filename, struct str content,
    struct presets *out)
{
	struct str text = content;

	*out = (struct presets){.error = STR_NONE, .slicer = STR_NONE};
	if (str_starts(text, STR("\xEF\xBB\xBF")))
		text = (struct str){text.p + 3, text.n - 3};
	if (!str_utf8(text) || (text.n && memchr(text.p, '\0', text.n))) {
		out->error = STR("A preset is UTF-8 text.");
		return;
	}
	if (is_json(text))
		presets_read_json(a, kind, stem(filename), text, out);
	else
		presets_read_ini(a, kind, stem(filename), text, out);
	if (!out->error.p)
		check_names(a, out);
	if (out->error.p)
		out->n = 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool
same_family(enum preset_format a, enum preset_format b)
{
	return a == PRESET_NO_FORMAT || (a == PRESET_JSON) == (b == PRESET_JSON);
}

/* A name that the file has, or that a new one gets; one that only its file's name told stays out.
 */
static void
set_name(struct json_object *keys, const char *key, struct str name, bool as_made)
{
	struct json_object *was = json_object_object_get(keys, key);

	if (was ? !str_eq(preset_unquote(str_from(json_object_get_string(was))), name) : !as_made)
		json_object_object_add(keys, key, json_object_new_string_len(name.p, (int)name.n));
}

/* The keys that the file will have: those it came with, and what was changed since. */
static struct json_object *
keys_to_write(struct arena *a, const struct preset *p, enum preset_format was,
    struct json_object *imported, enum preset_format wanted)
{
	bool same = same_family(was, wanted);
	struct json_object *keys = NULL;

	if (same && p->settings)
		json_object_deep_copy(p->settings, &keys, NULL);
	keys = preset_object(a, keys ? keys : json_object_new_object());
	preset_put_attributes(a, p, same ? imported : NULL, wanted, keys);
	return keys;
}

static struct str
write_json(
    struct arena *a, const struct preset *p, enum preset_format was, struct json_object *keys)
{
	const char *type = p->kind == PRESET_FILAMENT ? "filament" : "machine";
	size_t n;
	const char *text;

	set_name(keys, "name", p->name, was == PRESET_JSON);
	if (was != PRESET_JSON) {
		set_name(keys, "type", str_from(type), false);
		set_name(keys, "from", STR("User"), false);
	}
	text = json_object_to_json_string_length(
	    keys, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE, &n);
	return str_dup(a, (struct str){text, n});
}

/* A value is one line; PrusaSlicer writes the end of a line as "\n". */
static void
write_ini_line(struct buf *b, const char *key, struct json_object *v)
{
	struct str text = str_from(json_object_get_string(v));

	buf_fmt(b, "%s = ", key);
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '\n')
			buf_str(b, STR("\\n"));
		else if (text.p[i] != '\r')
			buf_char(b, text.p[i]);
	}
	buf_char(b, '\n');
}

static struct str
write_ini(struct arena *a, const struct preset *p, enum preset_format was, struct json_object *keys)
{
	bool filament = p->kind == PRESET_FILAMENT;
	bool section = was != PRESET_INI && str_index(p->name, '[') < 0 &&
	    str_index(p->name, ']') < 0;
	struct buf b;
	struct str out;

	buf_init(&b, 8 << 20);
	if (section)
		buf_fmt(&b, "[%s:%.*s]\n", filament ? "filament" : "printer", STR_ARG(p->name));
	else
		set_name(keys, filament ? "filament_settings_id" : "printer_settings_id", p->name,
		    was == PRESET_INI);
	json_object_object_foreach(keys, key, v) {
		if (json_object_is_type(v, json_type_string))
			write_ini_line(&b, key, v);
	}
	out = str_dup(a, buf_view(&b));
	buf_fini(&b);
	return out;
}

struct str
preset_write(struct arena *a, const struct preset *p, enum preset_format was,
    struct json_object *imported, enum preset_format wanted)
{
	struct json_object *keys = keys_to_write(a, p, was, imported, wanted);

	return wanted == PRESET_JSON ? write_json(a, p, was, keys) : write_ini(a, p, was, keys);
}
