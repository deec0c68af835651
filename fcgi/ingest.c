/* Whole files. Contract: schema/api/ingest.yaml; statements: ingest.sql. */
#include "ingest.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "db/rows_json.h"
#include "gen/routes.h"
#include "http/accept_type.h"
#include "media/found.h"
#include "reply.h"
#include "state.h"
#include "store/store.h"

/* A body is on disk up to three times: as nginx keeps it, as it came, and its file alone. What is
 * left then is for everything else. */
enum { COPIES = 3, FREE_LEAST = 64 << 20 };

static const struct err *
refuse_field(struct req *r, const char *pointer, const char *code, struct str message)
{
	violation_add(&r->violations, str_from(pointer), str_from(code), message);
	return &err_validation_failed;
}

/* --- before the body comes ----------------------------------------------------------------------
 */

static bool
is_form(const struct req *r)
{
	return content_type_is(r->in_headers.content_type, STR("multipart/form-data"));
}

static bool
is_multipart(const struct req *r)
{
	struct str type = r->in_headers.content_type, prefix = STR("multipart/");

	return type.n >= prefix.n && str_ieq((struct str){type.p, prefix.n}, prefix);
}

/* What the headers tell. */
static const struct err *
check_headers(struct req *r, const struct ingest *g)
{
	if (is_form(r))
		return NULL;
	if (g->form_only || is_multipart(r)) {
		req_detail(r, "send multipart/form-data with a part named file%s",
		    g->form_only ? "" : ", or the file itself as any other type");
		return &err_unsupported_media_type;
	}
	if (g->given.filename.p)
		return NULL;
	violation_add(&r->violations, STR("/query/filename"), STR("required"),
	    STR("is required when the body is the file itself"));
	return &err_invalid_parameter;
}

static bool
room_on_disk(const struct req *r)
{
	return store_free_bytes(r->w->store) / COPIES > r->body_length + FREE_LEAST / COPIES;
}

static const struct err *
judge(struct req *r)
{
	struct query *q = query(r, &SQL_ingest_admit);
	const struct err *e;

	bind_i64(q, r->body_length);
	e = query_run(r);
	if (e)
		return e;
	if (!room_on_disk(r)) {
		log_error("the store's disk is full", LOG_I("announced", r->body_length),
		    LOG_I("free", store_free_bytes(r->w->store)));
		return &err_service_unavailable;
	}
	reply_empty(r, 204);
	return NULL;
}

/* --- the file out of the body -------------------------------------------------------------------
 */

static void
close_file(void *p)
{
	const struct ingest *g = p;

	close(g->fd);
}

static const struct field *
known_field(struct str name)
{
	const struct shape *s = &ingestFile_query_shape;

	for (size_t i = 0; i < s->n; i++)
		if (str_eq(name, str_from(s->fields[i].name)))
			return &s->fields[i];
	return NULL;
}

/* Fields of slicers that are more than a file's description. */
static void
note_field(struct ingest *g, struct str name, struct str value)
{
	if (str_eq(name, STR("print")))
		g->print = value;
	else if (str_eq(name, STR("plateindex")))
		g->plateindex = value;
}

/* A field of the form means what the parameter of its name means; an empty one means nothing. */
static void
take_field(struct req *r, struct ingest *g, struct str name, struct str value)
{
	const struct field *f = known_field(name);

	if (!f && !g->any_field)
		violation_add(&r->violations, str_fmt(r->arena, "/form/%.*s", STR_ARG(name)),
		    STR("unknown_field"), STR("is not a field of this form"));
	if (g->any_field)
		note_field(g, name, value);
	if (!f || g->any_field || !value.n)
		return;
	validate_text(r->arena, f, STR("form"), value, &g->given, &r->violations);
	if (f->type == F_STR_LIST && g->given.tags.n > (size_t)f->most)
		violation_add(&r->violations, STR("/form/tags"), STR("too_many_items"),
		    str_fmt(r->arena, "must have at most %lld items", (long long)f->most));
}

static const struct err *
name_file(struct req *r, struct ingest *g, struct str filename)
{
	if (!g->given.filename.p && !filename.n)
		return refuse_field(
		    r, "/form/file", "required", STR("the part must have a filename"));
	if (!g->given.filename.p)
		validate_text(r->arena, known_field(STR("filename")), STR("form"), filename,
		    &g->given, &r->violations);
	return r->violations.n ? &err_validation_failed : NULL;
}

static const struct err *
take_form(struct req *r, struct ingest *g)
{
	struct scan_form form;

	g->fd = store_temp(r->w->store);
	if (g->fd < 0)
		return &err_service_unavailable;
	arena_defer(r->arena, close_file, g);
	scan_form(r->arena, r->body_fd, r->in_headers.content_type, g->fd, &form);
	if (form.unavailable)
		return &err_service_unavailable;
	if (form.error.p)
		return refuse_field(r, "", "malformed_form", form.error);
	for (size_t i = 0; i < form.n_fields; i++)
		take_field(r, g, form.fields[i].name, form.fields[i].value);
	return name_file(r, g, form.filename);
}

static const struct err *
take_file(struct req *r, struct ingest *g)
{
	const struct err *e = NULL;

	if (is_form(r))
		e = take_form(r, g);
	else
		g->fd = r->body_fd;
	if (e)
		return e;
	if (!digest_file(g->fd, g->sha256, &g->size, NULL, NULL)) {
		log_error("a body cannot be read again", LOG_S("request_id", r->id));
		return &err_service_unavailable;
	}
	if (g->size == 0)
		return refuse_field(
		    r, is_form(r) ? "/form/file" : "", "empty", STR("the file has no bytes"));
	return NULL;
}

/* --- into the store and the library -------------------------------------------------------------
 */

static struct query *
ask_known(struct req *r, const struct ingest *g)
{
	struct query *q = query(r, &SQL_ingest_known);

	bind_bytes(q, g->sha256, sizeof(g->sha256));
	bind_uuid(q, g->file_id);
	return q;
}

static struct json_object *
json_str(struct str s)
{
	return s.p ? json_object_new_string_len(s.p, (int)s.n) : NULL;
}

static struct json_object *
json_id(struct req *r, struct uuid id)
{
	return uuid_is_zero(id) ? NULL : json_str(uuid_str(r->arena, id));
}

/* app.ingest_file's `given`. */
static struct str
given_json(struct req *r, const struct ingest *g)
{
	struct json_object *o = json_object_new_object(), *tags = json_object_new_array();
	struct str out;
	size_t n;
	const char *text;

	for (size_t i = 0; i < g->given.tags.n; i++)
		json_object_array_add(tags, json_str(g->given.tags.v[i]));
	json_object_object_add(o, "filename", json_str(g->given.filename));
	json_object_object_add(o, "source", json_str(g->source));
	json_object_object_add(o, "model_id", json_id(r, g->given.model_id));
	json_object_object_add(o, "collection_id", json_id(r, g->given.collection_id));
	json_object_object_add(o, "tags", tags);
	json_object_object_add(o, "notes", json_str(g->given.notes));
	text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &n);
	out = str_dup(r->arena, (struct str){text, n});
	json_object_put(o);
	return out;
}

/* One transaction; what it had no use for is dropped. After a lost answer nobody knows what that
 * is: the store's sweep finds out. */
static const struct err *
commit(struct req *r, struct ingest *g, const struct found *found)
{
	struct query *q = query(r, &SQL_ingest_store);
	const struct err *e;

	bind_uuid(q, g->file_id);
	bind_uuid(q, g->blob_id);
	bind_bytes(q, g->sha256, sizeof(g->sha256));
	bind_i64(q, g->size);
	bind_str(q, given_json(r, g));
	bind_str(q, found->json);
	bind_bool(q, r->w->s3.preferred);
	g->row = ask_known(r, g);
	e = query_run(r);
	if (!e) {
		g->created = str_eq(rows_get(q, 0, "created"), STR("t"));
		found_drop_spare(r->w->store, rows_get(q, 0, "spare"));
	} else if (e != &err_database_unavailable) {
		(void)store_drop(r->w->store, g->blob_id);
		found_drop(r->w->store, found);
	}
	return e;
}

static const struct err *
add(struct req *r, struct ingest *g)
{
	struct scan_result *scan = ARENA_NEW(r->arena, struct scan_result);
	struct found *found = ARENA_NEW(r->arena, struct found);

	scan_file(r->arena, g->fd, g->given.filename, scan);
	if (!found_keep(r->arena, r->w->store, scan, found))
		return &err_service_unavailable;
	if (!store_keep(r->w->store, g->fd, g->blob_id)) {
		found_drop(r->w->store, found);
		return &err_service_unavailable;
	}
	return commit(r, g, found);
}

const struct err *
ingest_run(struct req *r, struct ingest *g)
{
	const struct err *e = check_headers(r, g);

	if (e)
		return refuse(r, e);
	if (r->stage == STAGE_PROBE)
		return judge(r);
	g->file_id = uuid_v7();
	g->blob_id = uuid_v7();
	e = take_file(r, g);
	if (e)
		return refuse(r, e);
	g->row = ask_known(r, g);
	e = query_run(r);
	if (e || rows_count(g->row) > 0)
		return e;
	query_again(r);
	return add(r, g);
}

const struct err *
ingestFile(struct req *r)
{
	const struct ingestFile_query *in = r->query;
	struct ingest *g = ARENA_NEW(r->arena, struct ingest);
	const struct err *e;

	g->source = STR("ingest");
	g->given = *in;
	e = ingest_run(r, g);
	if (e || r->stage == STAGE_PROBE)
		return e;
	if (rows_count(g->row) == 0)
		return &err_state_conflict; /* it went to the trash in between */
	if (g->created)
		reply_header(r, "Location",
		    str_fmt(r->arena, "/v1/files/%.*s", STR_ARG(rows_get(g->row, 0, "file_id"))));
	rows_json_row(reply_json(r, g->created ? 201 : 200), g->row, 0);
	return NULL;
}
