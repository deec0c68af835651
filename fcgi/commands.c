/* Commands for one printer or many. Contract: schema/api/commands.yaml; statements: commands.sql;
 * gateway/task.c carries them out. */
#include "db/rows_json.h"
#include "faults.h"
#include "gen/routes.h"
#include "media/gcode_command.h"
#include "reply.h"

/* What both operations ask for. */
struct wanted {
	struct str name;
	const struct str_list *lines;
	int64_t expires_in_s;
	struct str words; /* app.command_faults' words */
};

/* --- lines of G-code -------------------------------------------------------------------------- */

static void
add_words(struct req *r, struct buf *b, size_t line, struct str text)
{
	struct gcode_command commands[GCODE_COMMANDS_MOST];
	size_t n;
	const char *fault = gcode_line_commands(text, commands, &n);

	if (fault) {
		violation_add(&r->violations, str_fmt(r->arena, "/lines/%zu", line),
		    STR("invalid_gcode"), str_from(fault));
		return;
	}
	for (size_t i = 0; i < n; i++)
		buf_fmt(b, "%s{\"line\":%zu,\"word\":\"%s\"}", b->n > 1 ? "," : "", line,
		    commands[i].text);
}

static const struct err *
read_lines(struct req *r, struct wanted *w)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	buf_char(&b, '[');
	for (size_t i = 0; i < w->lines->n; i++)
		add_words(r, &b, i, w->lines->v[i]);
	buf_char(&b, ']');
	w->words = str_dup(r->arena, buf_view(&b));
	buf_fini(&b);
	return r->violations.n ? &err_validation_failed : NULL;
}

/* --- one printer ------------------------------------------------------------------------------ */

static void
bind_wanted(struct query *q, const struct wanted *w)
{
	bind_i64(q, w->expires_in_s);
	bind_bool(q, str_eq(w->name, STR("emergency_stop")));
}

/* What is left of the body is the command as the gateway gets it. */
static const struct err *
prepare(struct req *r, struct wanted *w)
{
	json_object_object_del(r->body_json, "expires_in_s");
	json_object_object_del(r->body_json, "printer_ids");
	return read_lines(r, w);
}

const struct err *
commandPrinter(struct req *r)
{
	const struct commandPrinter_body *in = r->in;
	struct wanted w = {
	    .name = in->command, .lines = &in->lines, .expires_in_s = in->expires_in_s};
	const struct err *e = prepare(r, &w);
	struct query *faults, *q;

	if (e)
		return refuse(r, e);
	faults = query(r, &SQL_command_faults);
	q = query(r, &SQL_command_create);
	bind_uuid(faults, r->path_params.printer_id);
	bind_body(faults, r);
	bind_str(faults, w.words);
	bind_uuid(q, r->path_params.printer_id);
	bind_body(q, r);
	bind_str(q, w.words);
	bind_wanted(q, &w);
	e = query_run(r);
	if (e || r->replayed)
		return e;
	e = faults_found(r, faults);
	return e ? e : reply_one(r, q, 202);
}

/* --- many ------------------------------------------------------------------------------------- */

/* faults: JSON text of what the printer's settings forbid, or STR_NONE. */
static void
write_error(struct buf *b, const struct err *e, struct str faults)
{
	buf_fmt(b, "{\"code\":\"%s\",\"message\":", e->code);
	buf_json_str(b, str_from(e->title));
	buf_str(b, STR(",\"fields\":"));
	buf_str(b, faults.p ? faults : STR("[]"));
	buf_char(b, '}');
}

/* G-code and temperatures are never in one command. */
static const struct err *
error_of(const struct query *q, int row, const struct wanted *w)
{
	struct str failure = rows_get(q, row, "failure");

	if (failure.p)
		return err_by_sqlstate(failure.p, NULL);
	if (rows_get(q, row, "faults").p)
		return w->lines->n ? &err_gcode_not_allowed : &err_validation_failed;
	return NULL;
}

static void
write_row(struct buf *b, const struct query *q, int row, const struct wanted *w)
{
	const struct err *e = error_of(q, row, w);

	buf_str(b, row ? STR(",{\"printer_id\":") : STR("{\"printer_id\":"));
	buf_json_str(b, rows_get(q, row, "printer_id"));
	if (e) {
		buf_str(b, STR(",\"operation_id\":null,\"status\":null,\"error\":"));
		write_error(b, e, rows_get(q, row, "faults"));
	} else {
		buf_str(b, STR(",\"operation_id\":"));
		buf_json_str(b, rows_get(q, row, "operation_id"));
		buf_str(b, STR(",\"status\":\"queued\",\"error\":null"));
	}
	buf_char(b, '}');
}

const struct err *
commandPrinters(struct req *r)
{
	const struct commandPrinters_body *in = r->in;
	struct wanted w = {
	    .name = in->command, .lines = &in->lines, .expires_in_s = in->expires_in_s};
	const struct err *e = prepare(r, &w);
	struct query *q;
	struct buf *b;

	if (e)
		return refuse(r, e);
	q = query(r, &SQL_command_create_many);
	bind_ids(q, &in->printer_ids);
	bind_body(q, r);
	bind_str(q, w.words);
	bind_wanted(q, &w);
	e = query_run(r);
	if (e || r->replayed)
		return e;
	b = reply_json(r, 200);
	buf_str(b, STR("{\"data\":["));
	for (int i = 0; i < rows_count(q); i++)
		write_row(b, q, i, &w);
	buf_str(b, STR("]}"));
	return NULL;
}
