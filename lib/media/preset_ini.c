/* Presets of PrusaSlicer and SuperSlicer: keys and values, in sections when there are several. GLib
 * reads them: inih as Debian builds it cuts lines at 200 bytes and values at " ;". */
#include <glib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "media/preset_fields.h"
#include "media/preset_readers.h"

/* The section of a file that has none. */
#define ALONE "preset"

enum { ANCESTORS_MOST = 32 };

/* A section being read, in its file. */
struct section {
	GKeyFile *file;
	const char *group;
	struct str prefix; /* "filament:" */
};

static struct str
value(const struct preset_lookup *l, GKeyFile *file, const char *group, const char *key)
{
	char *z = g_key_file_get_value(file, group, key, NULL);
	struct str out = z ? str_dup(l->arena, str_from(z)) : STR_NONE;

	g_free(z);
	return out;
}

/* The section's own value, else that of the last of its parents that has one. left: how many
 * sections may still be looked into. */
static struct str
inherited(const struct preset_lookup *l, const char *group, const char *key, int *left)
{
	const struct section *s = l->from;
	struct str own = value(l, s->file, group, key), parents, found = STR_NONE;

	if (own.p || --*left <= 0)
		return own;
	parents = value(l, s->file, group, "inherits");
	while (parents.n) {
		struct str name = preset_unquote(str_cut(&parents, ';'));
		struct str parent = str_fmt(
		    l->arena, "%.*s%.*s", STR_ARG(s->prefix), STR_ARG(name));
		struct str got = STR_NONE;

		if (g_key_file_has_group(s->file, parent.p))
			got = inherited(l, parent.p, key, left);
		if (got.p)
			found = got;
	}
	return found;
}

static struct str
get(const struct preset_lookup *l, const char *key)
{
	const struct section *s = l->from;
	int left = ANCESTORS_MOST;
	struct str v = inherited(l, s->group, key, &left);

	return str_eq(v, STR("nil")) ? STR_NONE : v;
}

static struct json_object *
settings_of(struct arena *a, const struct section *s)
{
	struct json_object *out = preset_object(a, json_object_new_object());
	size_t n = 0;
	char **keys = g_key_file_get_keys(s->file, s->group, &n, NULL);

	for (size_t i = 0; i < n; i++) {
		char *v = g_key_file_get_value(s->file, s->group, keys[i], NULL);

		json_object_object_add(out, keys[i], json_object_new_string(v ? v : ""));
		g_free(v);
	}
	g_strfreev(keys);
	return out;
}

static void
add(struct arena *a, enum preset_kind kind, struct str name, const struct section *s,
    struct presets *out)
{
	struct preset_lookup l = {get, a, s, PRESET_INI};
	struct preset *p = &out->v[out->n];

	if (out->n == PRESETS_MOST) {
		out->error = str_fmt(a, "More than %d presets.", PRESETS_MOST);
		return;
	}
	*p = (struct preset){.kind = kind, .name = str_dup(a, name)};
	p->inherits = preset_unquote(value(&l, s->file, s->group, "inherits"));
	if (!p->inherits.n)
		p->inherits = STR_NONE;
	p->settings = settings_of(a, s);
	p->attributes = preset_attributes(kind, &l);
	out->n++;
}

/* "*common*" is there to be inherited from, not to be used. */
static bool
is_abstract(struct str name)
{
	return name.n >= 2 && name.p[0] == '*' && name.p[name.n - 1] == '*';
}

static void
read_sections(struct arena *a, enum preset_kind kind, GKeyFile *file, struct presets *out)
{
	struct section s = {
	    file, NULL, kind == PRESET_FILAMENT ? STR("filament:") : STR("printer:")};
	size_t n = 0;
	char **groups = g_key_file_get_groups(file, &n);

	for (size_t i = 0; i < n && !out->error.p; i++) {
		struct str name = str_from(groups[i]);

		if (!str_starts(name, s.prefix)) {
			out->others += strchr(groups[i], ':') != NULL;
			continue;
		}
		name = str_trim((struct str){name.p + s.prefix.n, name.n - s.prefix.n});
		s.group = groups[i];
		if (!is_abstract(name))
			add(a, kind, name, &s, out);
	}
	g_strfreev(groups);
}

static void
read_alone(struct arena *a, enum preset_kind kind, struct str fallback, GKeyFile *file,
    struct presets *out)
{
	struct section s = {file, ALONE, STR("")};
	struct preset_lookup l = {get, a, &s, PRESET_INI};
	bool filament = kind == PRESET_FILAMENT;
	struct str name = preset_unquote(
	    get(&l, filament ? "filament_settings_id" : "printer_settings_id"));

	if (!get(&l, filament ? "filament_type" : "bed_shape").p && !name.n) {
		out->others++;
		return;
	}
	add(a, kind, name.n ? name : fallback, &s, out);
}

/* The content as GLib wants it: comments begin with '#', nothing stands before the first section.
 * *alone: there is no section. */
static struct str
prepared(struct arena *a, struct str content, bool *alone)
{
	struct buf b;
	struct str rest = content, out;
	bool begun = false;

	*alone = false;
	buf_init(&b, content.n + sizeof("[" ALONE "]\n") + 1);
	while (rest.n) {
		struct str line = str_cut(&rest, '\n'), text;
		bool comment;

		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		text = str_trim(line);
		comment = !text.n || text.p[0] == '#' || text.p[0] == ';';

		if (!begun && !comment) {
			begun = true;
			*alone = text.p[0] != '[';
			buf_str(&b, *alone ? STR("[" ALONE "]\n") : STR(""));
		}
		buf_str(&b, comment ? STR("") : line);
		buf_char(&b, '\n');
	}
	out = str_dup(a, buf_view(&b));
	buf_fini(&b);
	return out;
}

static struct str
slicer_of(struct str content)
{
	struct str first = content;

	first = str_cut(&first, '\n');
	return memmem(first.p ? first.p : "", first.n, "SuperSlicer", 11) ? STR("SuperSlicer")
									  : STR("PrusaSlicer");
}

void
presets_read_ini(struct arena *a, enum preset_kind kind, struct str fallback, struct str content,
    struct presets *out)
{
	GKeyFile *file = g_key_file_new();
	GError *error = NULL;
	bool alone;
	struct str text = prepared(a, content, &alone);

	out->format = alone ? PRESET_INI : PRESET_BUNDLE;
	out->slicer = slicer_of(content);
	out->v = arena_array(a, PRESETS_MOST, sizeof(*out->v));
	if (!g_key_file_load_from_data(
		file, text.n ? text.p : "\n", text.n ? text.n : 1, G_KEY_FILE_NONE, &error)) {
		out->error = str_fmt(a, "This is not a preset: %s", error->message);
		g_error_free(error);
	} else if (alone) {
		read_alone(a, kind, fallback, file, out);
	} else {
		read_sections(a, kind, file, out);
	}
	g_key_file_free(file);
}
