/* What slicers ask an OctoPrint server for. Contract: schema/api/octoprint.yaml; statements:
 * octoprint.sql. */
#include <uriparser/Uri.h>

#include "base/buf.h"
#include "db/rows_json.h"
#include "gen/routes.h"
#include "ingest.h"
#include "query.h"
#include "reply.h"
#include "state.h"

#define OCTOPRINT_VERSION "1.10.0"

/* Who may ask is all that matters; the answer is always the same. */
static const struct err *
reply_fixed(struct req *r, struct str body)
{
	const struct err *e = query_run(r);

	if (!e)
		reply_raw(r, 200, body);
	return e;
}

const struct err *
getOctoPrintVersion(struct req *r)
{
	return reply_fixed(r,
	    STR("{\"api\":\"0.1\",\"server\":\"" OCTOPRINT_VERSION
		"\",\"text\":\"OctoPrint " OCTOPRINT_VERSION " (SoLoPrint)\"}"));
}

const struct err *
getOctoPrintSettings(struct req *r)
{
	return reply_fixed(
	    r, STR("{\"feature\":{\"sdSupport\":false},\"webcam\":{},\"plugins\":{}}"));
}

const struct err *
getOctoPrintPrinter(struct req *r)
{
	return reply_fixed(r,
	    STR("{\"state\":{\"text\":\"Offline\",\"flags\":{\"operational\":false,"
		"\"ready\":false,\"printing\":false,\"paused\":false,\"pausing\":false,"
		"\"resuming\":false,\"cancelling\":false,\"finishing\":false,"
		"\"sdReady\":false,\"error\":false,\"closedOrError\":false}},"
		"\"temperature\":{}}"));
}

const struct err *
getOctoPrintJob(struct req *r)
{
	return reply_fixed(r,
	    STR("{\"job\":{\"file\":{\"name\":null}},\"progress\":{\"completion\":null,"
		"\"printTime\":null,\"printTimeLeft\":null},\"state\":\"Offline\"}"));
}

/* --- a file as OctoPrint describes it -----------------------------------------------------------
 */

static struct str
escape_segment(struct arena *a, struct str s)
{
	char *out = arena_alloc(a, 3 * s.n + 1);
	const char *end = uriEscapeExA(s.p, s.p + s.n, out, URI_FALSE, URI_FALSE);

	return (struct str){out, (size_t)(end - out)};
}

static struct str
resource_path(struct req *r, struct str filename)
{
	return str_fmt(r->arena, "%s/api/files/local/%.*s", r->w->cfg->public_url,
	    STR_ARG(escape_segment(r->arena, filename)));
}

/* OctoPrint's type and its path, by kind. */
static struct str
type_of(struct str kind)
{
	static const struct {
		struct str kind, type;
	} types[] = {
	    {STR_INIT("gcode"),
		STR_INIT("\"machinecode\",\"typePath\":[\"machinecode\",\"gcode\"]")},
	    {STR_INIT("bgcode"),
		STR_INIT("\"machinecode\",\"typePath\":[\"machinecode\",\"gcode\"]")},
	    {STR_INIT("gcode_3mf"),
		STR_INIT("\"machinecode\",\"typePath\":[\"machinecode\",\"3mf\"]")},
	    {STR_INIT("stl"), STR_INIT("\"model\",\"typePath\":[\"model\",\"stl\"]")},
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (str_eq(kind, types[i].kind))
			return types[i].type;
	return STR("\"model\",\"typePath\":[\"model\"]");
}

/* Everything up to the members that only the description of a stored file has. */
static void
write_file(struct req *r, struct buf *b, const struct query *q)
{
	struct str name = rows_get(q, 0, "filename");

	buf_str(b, STR("{\"name\":"));
	buf_json_str(b, name);
	buf_str(b, STR(",\"path\":"));
	buf_json_str(b, name);
	buf_str(b, STR(",\"type\":"));
	buf_str(b, type_of(rows_get(q, 0, "kind")));
	buf_str(b, STR(",\"origin\":\"local\",\"refs\":{\"resource\":"));
	buf_json_str(b, resource_path(r, name));
	buf_str(b, STR(",\"download\":"));
	buf_json_str(b,
	    str_fmt(r->arena, "%s/v1/files/%.*s/download", r->w->cfg->public_url,
		STR_ARG(rows_get(q, 0, "file_id"))));
	buf_char(b, '}');
}

/* --- upload and print ---------------------------------------------------------------------------
 */

/* OctoPrint's own reading of a flag. */
static bool
is_yes(struct str s)
{
	static const char *const yes[] = {"true", "yes", "y", "1"};

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		if (str_ieq(s, str_from(yes[i])))
			return true;
	return false;
}

static bool
is_sliced(struct str kind)
{
	return str_eq(kind, STR("gcode")) || str_eq(kind, STR("bgcode")) ||
	    str_eq(kind, STR("gcode_3mf"));
}

/* In a transaction of its own: the file stays when the queue is full. item: the new item's id, or
 * STR_NONE. */
static const struct err *
queue_file(struct req *r, const struct ingest *g, struct str *item)
{
	struct query *q;
	const struct err *e;
	int64_t plate;

	*item = STR_NONE;
	if (!is_yes(g->print) || !is_sliced(rows_get(g->row, 0, "kind")))
		return NULL;
	query_again(r);
	q = query(r, &SQL_octoprint_queue);
	bind_uuid(q, uuid_v7());
	bind_uuid(q, rows_uuid(g->row, 0, "file_id"));
	if (str_to_i64(g->plateindex, &plate) && plate >= 0 && plate < 1000)
		bind_i64(q, plate + 1);
	else
		bind_null(q);
	e = query_run(r);
	if (!e)
		*item = rows_get(q, 0, "queue_item_id");
	return e;
}

const struct err *
uploadOctoPrintFile(struct req *r)
{
	struct ingest *g = ARENA_NEW(r->arena, struct ingest);
	const struct err *e;
	struct str item;
	struct buf *b;

	g->source = STR("octoprint");
	g->form_only = g->any_field = true;
	e = ingest_run(r, g);
	if (e || r->stage == STAGE_PROBE)
		return e;
	if (rows_count(g->row) == 0)
		return &err_state_conflict; /* it went to the trash in between */
	e = queue_file(r, g, &item);
	if (e)
		return e;
	reply_header(r, "Location", resource_path(r, rows_get(g->row, 0, "filename")));
	b = reply_json(r, 201);
	buf_str(b, STR("{\"files\":{\"local\":"));
	write_file(r, b, g->row);
	buf_fmt(b,
	    "}},\"done\":true,\"effectiveSelect\":false,\"effectivePrint\":%s,\"queue_item_id\":",
	    item.p ? "true" : "false");
	if (item.p)
		buf_json_str(b, item);
	else
		buf_str(b, STR("null"));
	buf_str(b, STR(",\"soloprint\":"));
	rows_json_row(b, g->row, 0);
	buf_char(b, '}');
	return NULL;
}

/* The segment as it was meant; STR_NONE when it is no text. */
static struct str
unescape_segment(struct arena *a, struct str s)
{
	char *z = str_z(a, s);
	struct str out = {z, (size_t)(uriUnescapeInPlaceExA(z, URI_FALSE, URI_BR_DONT_TOUCH) - z)};

	return str_utf8(out) && str_index(out, '\0') < 0 ? out : STR_NONE;
}

const struct err *
getOctoPrintFile(struct req *r)
{
	struct str name = unescape_segment(r->arena, r->path_params.octoprint_filename);
	struct query *q;
	const struct err *e;
	struct buf *b;

	if (!name.p)
		return refuse(r, &err_resource_not_found);
	q = query(r, &SQL_octoprint_file);
	bind_str(q, name);
	e = query_run(r);
	if (e)
		return e;
	if (rows_count(q) == 0)
		return &err_resource_not_found;
	b = reply_json(r, 200);
	write_file(r, b, q);
	buf_fmt(b,
	    ",\"size\":%lld,\"date\":%lld,\"hash\":", (long long)rows_i64(q, 0, "size_bytes"),
	    (long long)rows_i64(q, 0, "date"));
	buf_json_str(b, rows_get(q, 0, "sha256"));
	buf_char(b, '}');
	return NULL;
}
