/* What is sent to an OctoPrint: commands, files, starts. Each exactly once. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "gateway/octoprint_link.h"
#include "gateway/reading.h"

enum {
	SOON_MS = 500, /* after something was accepted, the state is asked for */
	WORDS = 160,
	/* A clock of ours twice, and a printer that takes its time with the answer. */
	EARLY_MS = 2000,
	STORE_MS = 180000, /* a small computer copies a large file after its last byte */
};

/* Where our files are kept, so that none of somebody else's is overwritten. */
#define FOLDER "SoLoPrint"

/* --- answers ---------------------------------------------------------------------------------- */

static bool
accepted(const struct http_reply *r)
{
	return r->fault == HTTP_OK && r->status >= 200 && r->status < 300;
}

/* The connection was never made, or the request never written: nobody has seen it. */
static bool
never_sent(const struct http_reply *r)
{
	return r->fault == HTTP_UNREACHABLE || r->fault == HTTP_UNUSABLE;
}

static enum answer
answer_of(struct octo *o, const struct http_reply *r, char *words)
{
	static const struct {
		int status;
		enum answer answer;
	} table[] = {
	    {400, ANSWER_REFUSED},
	    {401, ANSWER_REFUSED},
	    {403, ANSWER_REFUSED},
	    {404, ANSWER_REFUSED},
	    {409, ANSWER_REFUSED},
	    {413, ANSWER_REFUSED},
	    {415, ANSWER_REFUSED},
	    {429, ANSWER_BUSY},
	    {503, ANSWER_REFUSED},
	};

	memset(words, 0, WORDS);
	if (accepted(r))
		return ANSWER_ACCEPTED;
	if (never_sent(r)) {
		snprintf(words, WORDS, "nothing was sent: OctoPrint could not be reached");
		return ANSWER_REFUSED;
	}
	if (r->fault != HTTP_OK)
		return ANSWER_LOST;
	octo_words(o->env->tokener, r->body, words, WORDS);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (r->status == table[i].status)
			return table[i].answer;
	return ANSWER_LOST;
}

static void
tell(struct octo *o, enum answer a, const char *words)
{
	if (a == ANSWER_ACCEPTED)
		octo_poll_in(o, SOON_MS);
	session_answer(o->s, a, words && words[0] ? words : NULL);
}

/* --- commands --------------------------------------------------------------------------------- */

static void next_step(struct octo *o);

/* Where OctoPrint does not tell what it sends to the printer, its having taken it must do. */
static void
note_told(struct octo *o)
{
	if (o->state.terminal)
		return;
	for (size_t i = 0; i < sizeof(o->steps.told) / sizeof(o->steps.told[0]); i++)
		octo_told(&o->state, o->steps.told[i]);
}

static void
on_step(void *ctx, const struct http_reply *r)
{
	struct octo *o = ctx;
	const struct octo_step *step = &o->steps.step[o->at_step];
	char words[WORDS];
	enum answer a = answer_of(o, r, words);

	o->calls[CALL_COMMAND] = NULL;
	if (a == ANSWER_ACCEPTED && ++o->at_step < o->steps.n) {
		next_step(o);
		return;
	}
	if (r->status == 409 && step->optional && !octo_printer_gone(&o->state))
		a = ANSWER_UNSUPPORTED;
	if (a == ANSWER_ACCEPTED)
		note_told(o);
	octo_steps_fini(&o->steps);
	if (!o->mute)
		tell(o, a, words);
}

static void
next_step(struct octo *o)
{
	const struct octo_step *step = &o->steps.step[o->at_step];

	octo_call(o, CALL_COMMAND, step->path, &step->body, on_step);
}

static void
on_emergency(void *ctx, const struct http_reply *r)
{
	struct octo *o = ctx;
	char words[WORDS];
	enum answer a = answer_of(o, r, words);

	o->calls[CALL_EMERGENCY] = NULL;
	tell(o, a, words);
}

static void
stop_at_once(struct octo *o, const struct command *c)
{
	struct octo_steps s;
	const char *why;

	o->mute = o->calls[CALL_COMMAND] != NULL;
	if (octo_steps(c, &s, &why) && !o->calls[CALL_EMERGENCY])
		octo_call(o, CALL_EMERGENCY, s.step[0].path, &s.step[0].body, on_emergency);
	octo_steps_fini(&s);
}

/* Why a command that connects anew must not be sent, or need not be: *a. */
static const char *
need_not(struct octo *o, const struct command *c, enum answer *a)
{
	bool gone = octo_printer_gone(&o->state);

	if (c->kind != CMD_CLEAR_ERROR && c->kind != CMD_FIRMWARE_RESTART)
		return NULL;
	if (!gone && printer_state_busy(session_record(o->s)->state)) {
		*a = ANSWER_BUSY;
		return "it would end the print";
	}
	if (c->kind == CMD_FIRMWARE_RESTART || gone)
		return NULL;
	octo_dismiss(&o->state);
	*a = ANSWER_ACCEPTED;
	return "there is no error";
}

void
octo_command(void *d, const struct command *c)
{
	struct octo *o = d;
	enum answer a = ANSWER_UNSUPPORTED;
	const char *why;

	if (c->kind == CMD_EMERGENCY_STOP) {
		stop_at_once(o, c);
		return;
	}
	if (o->calls[CALL_COMMAND]) {
		tell(o, ANSWER_BUSY, "OctoPrint has not answered the last command yet");
		return;
	}
	why = need_not(o, c, &a);
	if (!why && octo_steps(c, &o->steps, &why)) {
		o->at_step = 0;
		o->mute = false;
		next_step(o);
		return;
	}
	octo_steps_fini(&o->steps);
	tell(o, a, why);
}

/* --- files ------------------------------------------------------------------------------------ */

static bool
is_gcode(const struct transfer *t)
{
	static const char *const ends[] = {".gcode", ".gco", ".g"};
	struct str name = str_from(t->filename);

	if (strcmp(t->kind, "gcode") != 0)
		return false;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct str end = str_from(ends[i]);

		if (name.n > end.n && str_ieq((struct str){name.p + name.n - end.n, end.n}, end))
			return true;
	}
	return false;
}

/* The path that OctoPrint gave the file: it may change names. */
static bool
take_path(struct octo *o, struct str body, char *out, size_t size)
{
	struct json_object *v = reading_object(o->env->tokener, body), *file;
	bool good;

	file = reading_member(reading_member(v, "files"), "local");
	good = reading_text(reading_member(file, "path"), out, size) && out[0];
	json_object_put(v);
	return good;
}

static enum upload_end
end_of(const struct http_reply *r)
{
	if (r->fault != HTTP_OK || r->status >= 500)
		return r->status == 507 ? UPLOAD_NO_SPACE : UPLOAD_BROKEN;
	return r->status == 409 ? UPLOAD_BUSY : UPLOAD_REFUSED;
}

static void
on_uploaded(void *ctx, const struct http_reply *r)
{
	struct octo *o = ctx;
	struct transfer *t = o->transfer;
	char words[WORDS] = "";

	o->calls[CALL_UPLOAD] = NULL;
	o->transfer = NULL;
	if (accepted(r) && take_path(o, r->body, t->remote, sizeof(t->remote))) {
		session_upload_done(o->s, UPLOAD_DONE, NULL);
		return;
	}
	if (accepted(r)) {
		session_upload_done(
		    o->s, UPLOAD_BROKEN, "OctoPrint does not say where the file is");
		return;
	}
	octo_words(o->env->tokener, r->body, words, sizeof(words));
	session_upload_done(o->s, end_of(r), words[0] ? words : NULL);
}

static void
on_sent(void *ctx, int64_t bytes)
{
	struct octo *o = ctx;

	session_upload_progress(o->s, bytes);
}

void
octo_upload(void *d, struct transfer *t)
{
	struct octo *o = d;
	const struct http_field fields[] = {{"path", FOLDER}};
	struct http_request r = {
	    .method = "POST",
	    .file = true,
	    .fd = t->fd,
	    .file_size = t->size,
	    .file_field = "file",
	    .file_name = t->filename,
	    .file_type = "application/octet-stream",
	    .fields = fields,
	    .n_fields = 1,
	    .stall_ms = STORE_MS,
	    .sent = on_sent,
	};

	if (!is_gcode(t)) {
		session_upload_done(
		    o->s, UPLOAD_REFUSED, "OctoPrint takes G-code: .gcode, .gco or .g");
		return;
	}
	o->transfer = t;
	octo_call_with(o, CALL_UPLOAD, "/api/files/local", &r, on_uploaded);
}

/* OctoPrint throws away what it has not got in full. */
void
octo_abort(void *d)
{
	struct octo *o = d;

	if (o->calls[CALL_UPLOAD])
		http_cancel(o->calls[CALL_UPLOAD]);
	o->calls[CALL_UPLOAD] = NULL;
	o->transfer = NULL;
}

/* --- starts ----------------------------------------------------------------------------------- */

static void
on_started(void *ctx, const struct http_reply *r)
{
	struct octo *o = ctx;
	char words[WORDS];
	enum answer a = answer_of(o, r, words);

	o->calls[CALL_START] = NULL;
	if (r->fault == HTTP_OK && r->status == 409)
		a = ANSWER_BUSY;
	tell(o, a, words);
}

void
octo_start(void *d, struct transfer *t)
{
	struct octo *o = d;
	char path[OCTO_PATH * 3 + 32] = "/api/files/local/";
	size_t n = strlen(path);
	struct buf body;

	if (octo_printer_gone(&o->state)) { /* OctoPrint would say that it prints already */
		tell(o, ANSWER_REFUSED, "the printer is not connected to OctoPrint");
		return;
	}
	if (!http_escape_path(path + n, sizeof(path) - n, str_from(t->remote))) {
		tell(o, ANSWER_UNSUPPORTED, "the file's name is too long");
		return;
	}
	snprintf(o->started, sizeof(o->started), "%s", t->remote);
	o->started_ms = clock_unix_ms();
	buf_init(&body, 64);
	buf_str(&body, STR("{\"command\":\"select\",\"print\":true}"));
	octo_call(o, CALL_START, path, &body, on_started);
	buf_fini(&body);
}

/* The path that is expected, for a send of which this process has not seen the upload. */
static void
expected_path(const struct transfer *t, char *out, size_t size)
{
	char path[OCTO_PATH + sizeof(FOLDER)];

	if (t->remote[0])
		snprintf(path, sizeof(path), "%s", t->remote);
	else
		snprintf(path, sizeof(path), FOLDER "/%s", t->filename);
	reading_clean(str_from(path), out, size);
}

/* A file has its own path; a job that began before ours was started is another print of it. */
bool
octo_is_job(const void *d, const struct transfer *t, const struct record *r)
{
	const struct octo *o = d;
	char file[sizeof(r->job.file)];

	expected_path(t, file, sizeof(file));
	if (!r->job.present || strcmp(file, r->job.file) != 0)
		return false;
	return !t->remote[0] || strcmp(o->started, t->remote) != 0 ||
	    r->job.started_ms >= o->started_ms - EARLY_MS;
}
