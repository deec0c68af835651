/* What a PrusaLink printer is asked to do: jobs by their number, files by PUT, starts by POST. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "gateway/prusalink_conn.h"
#include "gateway/reading.h"

enum {
	NAME_MOST = 80,   /* bytes of a file's name; the firmware takes some 95 */
	STALL_MS = 60000, /* an upload that does not get on */
	WORDS = 200,
};

/* --- commands --------------------------------------------------------------------------------- */

static enum answer
answer_of(const struct http_reply *reply, bool start)
{
	if (reply->status >= 200 && reply->status < 300)
		return ANSWER_ACCEPTED;
	if (reply->status == 409 && start)
		return ANSWER_BUSY;
	if (reply->status >= 400)
		return ANSWER_REFUSED;
	/* Without a connection nothing was sent. */
	return reply->fault == HTTP_UNREACHABLE || reply->fault == HTTP_UNUSABLE ? ANSWER_REFUSED
										 : ANSWER_LOST;
}

static void
on_answer(void *ctx, const struct http_reply *reply)
{
	struct prusalink *p = ctx;
	enum answer a = answer_of(reply, p->order_starts);
	char words[WORDS];

	p->order = NULL;
	prusalink_read_problem(reply->body, words, sizeof(words));
	prusalink_poll_now(p);
	session_answer(p->s, a, words[0] ? words : NULL);
}

static void
send_order(struct prusalink *p)
{
	struct http_request r = {.once = true};

	p->order_waits = false;
	p->order = prusalink_send(p, &r, p->order_method, p->order_path, on_answer);
	if (!p->order)
		session_answer(p->s, ANSWER_REFUSED, NULL);
}

/* An order goes out behind a status, on the same connection: it is alive then, and there is none
 * to spare for another; and the nonce is new. */
static void
order(struct prusalink *p, const char *method, bool start)
{
	snprintf(p->order_method, sizeof(p->order_method), "%s", method);
	p->order_starts = start;
	p->order_waits = true;
	prusalink_poll_now(p);
}

void
prusalink_command(void *d, const struct command *c)
{
	static const struct {
		enum command_kind kind;
		const char *method, *action;
	} kinds[] = {
	    {CMD_PAUSE, "PUT", "/pause"},
	    {CMD_RESUME, "PUT", "/resume"},
	    {CMD_STOP, "DELETE", ""},
	};
	struct prusalink *p = d;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kinds[i].kind != c->kind)
			continue;
		if (p->state.job == PRUSALINK_NO_JOB) {
			session_answer(p->s, ANSWER_REFUSED, "no job");
			return;
		}
		snprintf(p->order_path, sizeof(p->order_path), "/api/v1/job/%lld%s",
		    (long long)p->state.job, kinds[i].action);
		order(p, kinds[i].method, false);
		return;
	}
	session_answer(p->s, ANSWER_UNSUPPORTED, NULL);
}

void
prusalink_start(void *d, struct transfer *t)
{
	struct prusalink *p = d;
	char path[sizeof(p->order_path) - 32];

	if (!t->remote[0] || !http_escape_path(path, sizeof(path), str_from(t->remote))) {
		session_answer(p->s, ANSWER_REFUSED, NULL);
		return;
	}
	snprintf(p->order_path, sizeof(p->order_path), "/api/v1/files/%s", path);
	p->job_before = p->state.job != PRUSALINK_NO_JOB ? p->state.job : p->state.running;
	order(p, "POST", true);
}

/* --- the name of a file ----------------------------------------------------------------------- */

/* What FAT does not allow is replaced, and a long name cut before its extension. */
static void
name_of(const struct transfer *t, char out[NAME_MOST + 1])
{
	const char *dot = strrchr(t->filename, '.');
	size_t extension = dot ? strlen(dot) : 0;
	char stem[NAME_MOST + 1];

	if (extension > 16)
		extension = 0;
	reading_clean((struct str){t->filename, strlen(t->filename) - extension}, stem,
	    sizeof(stem) - extension);
	if (stem[0] == '\0' || stem[0] == '.')
		stem[0] = '_';
	for (char *c = stem; *c; c++)
		if (strchr("\"*/:<>?\\|", *c))
			*c = '_';
	snprintf(out, NAME_MOST + 1, "%s%s", stem, extension ? dot : "");
}

bool
prusalink_is_job(const void *d, const struct transfer *t, const struct record *r)
{
	const struct prusalink *p = d;
	char name[NAME_MOST + 1];
	size_t storage = strcspn(t->remote, "/");

	if (!r->job.present)
		return false;
	if (p->job_before != PRUSALINK_NO_JOB && p->state.running == p->job_before)
		return false;
	if (t->remote[0] && strcasecmp(r->job.file, t->remote) == 0)
		return true;
	name_of(t, name);
	if (strcasecmp(r->job.name, name) != 0)
		return false;
	return !t->remote[0] || strncasecmp(r->job.file, t->remote, storage + 1) == 0;
}

/* --- uploads ---------------------------------------------------------------------------------- */

static enum upload_end
end_of(const struct http_reply *reply)
{
	switch (reply->status) {
	case 200:
	case 201:
		return reply->fault == HTTP_OK ? UPLOAD_DONE : UPLOAD_BROKEN;
	case 401: /* a nonce that aged on the way; were the secret wrong, the status had said so */
		return UPLOAD_BROKEN;
	case 409:
		return UPLOAD_BUSY;
	case 413:
	case 507:
		return UPLOAD_NO_SPACE;
	default:
		return reply->status >= 400 && reply->status < 500 ? UPLOAD_REFUSED : UPLOAD_BROKEN;
	}
}

/* The name that the printer gave it, so that it is found again however it is called. */
static void
take_name(struct transfer *t, struct str body)
{
	struct json_object *v = prusalink_parse(body);
	struct prusalink_file f;
	char path[sizeof(t->remote)];
	size_t storage = strcspn(t->remote, "/");

	if (v && prusalink_read_file(&f, v) && !strchr(f.name, '/')) {
		prusalink_path(&f, path, sizeof(path));
		if (strncasecmp(path, t->remote, storage + 1) == 0)
			memcpy(t->remote, path, sizeof(path));
		else if (!f.folder[0])
			snprintf(
			    t->remote + storage + 1, sizeof(t->remote) - storage - 1, "%s", f.name);
	}
	json_object_put(v);
}

static void
on_uploaded(void *ctx, const struct http_reply *reply)
{
	struct prusalink *p = ctx;
	struct transfer *t = p->transfer;
	enum upload_end end = end_of(reply);
	char words[WORDS] = "";

	p->upload = NULL;
	p->transfer = NULL;
	if (end == UPLOAD_DONE)
		take_name(t, reply->body);
	else
		prusalink_read_problem(reply->body, words, sizeof(words));
	session_heard(p->s);
	prusalink_poll_now(p);
	session_upload_done(p->s, end, words[0] ? words : NULL);
}

static void
on_sent(void *ctx, int64_t bytes)
{
	struct prusalink *p = ctx;

	session_heard(p->s);
	session_upload_progress(p->s, bytes);
}

static void
finish_early(struct prusalink *p, enum upload_end end, const char *words)
{
	p->transfer = NULL;
	session_upload_done(p->s, end, words);
}

static void
send_file(struct prusalink *p)
{
	static const struct http_header overwrite[] = {{"Overwrite", "?1"}};
	struct transfer *t = p->transfer;
	struct http_request r = {.headers = overwrite, .n_headers = 1};
	char name[NAME_MOST + 1], escaped[3 * sizeof(name)], path[PRUSALINK_URL];

	p->upload_waits = false;
	if (!p->state.storage[0]) {
		finish_early(p, UPLOAD_NO_SPACE, "no storage");
		return;
	}
	name_of(t, name);
	if (!http_escape(escaped, sizeof(escaped), str_from(name))) {
		finish_early(p, UPLOAD_REFUSED, NULL);
		return;
	}
	snprintf(t->remote, sizeof(t->remote), "%s/%s", p->state.storage, name);
	snprintf(path, sizeof(path), "/api/v1/files/%s/%s", p->state.storage, escaped);
	r.file = true;
	r.fd = t->fd;
	r.file_size = t->size;
	r.body_type = "application/octet-stream";
	r.stall_ms = STALL_MS;
	r.sent = on_sent;
	p->upload = prusalink_send(p, &r, "PUT", path, on_uploaded);
	if (!p->upload)
		finish_early(p, UPLOAD_REFUSED, NULL);
}

/* A status first: it tells the storage, and a nonce lives for five seconds only on the firmware;
 * with an old one the whole file would be sent for nothing. */
void
prusalink_upload(void *d, struct transfer *t)
{
	struct prusalink *p = d;

	p->transfer = t;
	p->upload_waits = true;
	prusalink_poll_now(p);
}

void
prusalink_abort(void *d)
{
	struct prusalink *p = d;

	if (p->upload)
		http_cancel(p->upload); /* the printer drops what it has of it */
	p->upload = NULL;
	p->transfer = NULL;
	p->upload_waits = false;
}

/* --- turns ------------------------------------------------------------------------------------ */

void
prusalink_next(struct prusalink *p)
{
	if (p->upload_waits)
		send_file(p);
	if (p->order_waits && !p->order)
		send_order(p);
}

void
prusalink_drop_orders(struct prusalink *p)
{
	prusalink_abort(p);
	if (p->order)
		http_cancel(p->order);
	p->order = NULL;
	p->order_waits = false;
}
