#include "profile_files.h"

#include "db/rows_json.h"
#include "http/disposition.h"
#include "query.h"
#include "reply.h"

/* --- in --------------------------------------------------------------------------------------- */

static struct json_object *
text(struct str s)
{
	return s.p ? json_object_new_string_len(s.p, (int)s.n) : NULL;
}

/* As SQL_profiles_import takes it. The vendor is a column of its own. */
static struct json_object *
row_of(const struct presets *from, const struct preset *p)
{
	struct json_object *row = json_object_new_object(), *source = json_object_new_object();
	struct json_object *attributes = NULL;

	json_object_object_add(source, "slicer", text(from->slicer));
	json_object_object_add(
	    source, "format", json_object_new_string(preset_format_name(from->format)));
	json_object_object_add(source, "inherits", text(p->inherits));
	json_object_object_add(source, "attributes", json_object_get(p->attributes));
	json_object_deep_copy(p->attributes, &attributes, NULL);
	json_object_object_add(row, "name", text(p->name));
	json_object_object_add(
	    row, "vendor", json_object_get(json_object_object_get(attributes, "vendor")));
	json_object_object_del(attributes, "vendor");
	json_object_object_add(row, "attributes", attributes);
	json_object_object_add(row, "settings", json_object_get(p->settings));
	json_object_object_add(row, "source", source);
	return row;
}

static void
bind_presets(struct query *q, const struct presets *in)
{
	struct json_object *rows = json_object_new_array();
	const char *out;
	size_t n;

	for (size_t i = 0; i < in->n; i++)
		json_object_array_add(rows, row_of(in, &in->v[i]));
	out = json_object_to_json_string_length(rows, JSON_C_TO_STRING_PLAIN, &n);
	bind_str(q, (struct str){out, n});
	json_object_put(rows);
}

static int
count(const struct query *q, struct str status)
{
	int n = 0;

	for (int i = 0; i < rows_count(q); i++)
		n += str_eq(rows_get(q, i, "status"), status);
	return n;
}

const struct err *
profiles_import(struct req *r, const struct profile_resource *of, struct str filename,
    struct str content, bool replace)
{
	struct presets in;
	const struct err *e;
	struct query *q;
	struct buf *b;

	presets_read(r->arena, of->kind, filename, content, &in);
	if (in.error.p) {
		violation_add(&r->violations, STR("/content"), STR("unreadable"), in.error);
		return refuse(r, &err_preset_unreadable);
	}
	q = query(r, &SQL_profiles_import);
	bind_str(q, str_from(of->name));
	bind_presets(q, &in);
	bind_bool(q, replace);
	e = query_run(r);
	if (e || r->replayed)
		return e;
	b = reply_json(r, 200);
	buf_str(b, STR("{\"data\":"));
	rows_json_array(b, q, rows_count(q));
	buf_fmt(b, ",\"created\":%d,\"updated\":%d,\"existing\":%d,\"left_out\":%zu}",
	    count(q, STR("created")), count(q, STR("updated")), count(q, STR("existing")),
	    in.others);
	return NULL;
}

/* --- out -------------------------------------------------------------------------------------- */

static void
put_object(void *p)
{
	json_object_put(p);
}

/* A jsonb column as an object, freed with the arena; NULL for NULL. */
static struct json_object *
column(struct req *r, const struct query *q, const char *name)
{
	struct str s = rows_get(q, 0, name);
	struct json_object *o = s.p ? json_tokener_parse(s.p) : NULL;

	if (o)
		arena_defer(r->arena, put_object, o);
	return o;
}

const struct err *
profile_export(struct req *r, const struct profile_resource *of, struct uuid id, struct str format)
{
	bool json;
	struct query *q = query(r, &SQL_profile_raw);
	struct preset p = {.kind = of->kind};
	enum preset_format was;
	const struct err *e;
	struct str file;

	bind_uuid(q, id);
	bind_str(q, str_from(of->name));
	e = query_run(r);
	if (e)
		return e;
	if (!rows_count(q))
		return &err_resource_not_found;
	p.name = rows_get(q, 0, "name");
	p.settings = column(r, q, "settings");
	p.attributes = column(r, q, "attributes");
	json_object_object_add(p.attributes, "vendor", text(rows_get(q, 0, "vendor")));
	was = preset_format_parse(rows_get(q, 0, "format"));
	json = format.p ? str_eq(format, STR("orcaslicer"))
			: was == PRESET_JSON || was == PRESET_NO_FORMAT;
	file = preset_write(
	    r->arena, &p, was, column(r, q, "imported"), json ? PRESET_JSON : PRESET_INI);
	reply_raw(r, 200, file);
	r->reply.content_type = json ? "application/json" : "text/plain; charset=utf-8";
	reply_header(r, "Content-Disposition",
	    disposition(r->arena, STR("attachment"),
		str_fmt(r->arena, "%.*s.%s", STR_ARG(p.name), json ? "json" : "ini")));
	return NULL;
}
