/* A file sent to a printer: opened, uploaded, and started, each step once it is safe. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "base/buf.h"
#include "base/log.h"
#include "gateway/task_parts.h"

enum {
	UPLOAD_MS = 4 * 3600 * 1000, /* 40 MB take a small printer nine minutes */
	TRIES = 3,
	PAUSE_MS = 3000,   /* before the upload is tried again */
	RETRY_MS = 60000,  /* after a broken upload the printer has so long to come back */
	START_MS = 90000,  /* from the start to a sign of it */
	GUARD_MS = 120000, /* printers have shown FINISH for so long after a start they accepted */
	PROGRESS_MS = 1000,
};

/* --- parameters ------------------------------------------------------------------------------- */

/* As it is called at the printer: nothing that a file system or G-code could misread. */
static void
clean_name(struct str name, char *out, size_t size)
{
	reading_clean(name, out, size);
	for (char *p = out; *p; p++)
		if (strchr("/\\:*?\"<>|%#&;'`$!\x7f", *p))
			*p = '_';
	if (out[0] == '.')
		out[0] = '_';
}

static int32_t
number_of(struct json_object *v, const char *name, int32_t otherwise)
{
	int64_t n;

	if (!reading_i64(reading_member(v, name), &n) || n < INT32_MIN || n > INT32_MAX)
		return otherwise;
	return (int32_t)n;
}

static bool
option_of(struct json_object *v, const char *name, bool otherwise)
{
	bool on = otherwise;

	reading_bool(reading_member(v, name), &on);
	return on;
}

static void
read_mapping(struct json_object *list, struct transfer *tr)
{
	size_t most = sizeof(tr->slots) / sizeof(tr->slots[0]), n;

	if (!json_object_is_type(list, json_type_array))
		return;
	n = json_object_array_length(list);
	tr->has_mapping = true;
	tr->n_slots = (int32_t)(n < most ? n : most);
	for (int32_t i = 0; i < tr->n_slots; i++) {
		struct json_object *one = json_object_array_get_idx(list, (size_t)i);

		tr->slots[i].unit = number_of(one, "unit", REC_NONE);
		tr->slots[i].slot = number_of(one, "slot", REC_NONE);
	}
}

static void
read_transfer(struct task *t, const struct work_task *w)
{
	struct transfer *tr = &t->transfer;
	struct json_object *options = reading_member(w->params, "options");

	clean_name(w->file.filename, tr->filename, sizeof(tr->filename));
	reading_clean(w->file.kind, tr->kind, sizeof(tr->kind));
	tr->size = w->file.size;
	tr->has_sha256 = str_unhex(w->file.sha256, tr->sha256, sizeof(tr->sha256));
	tr->plate = number_of(w->params, "plate", 1);
	read_mapping(reading_member(w->params, "slot_mapping"), tr);
	tr->timelapse = option_of(options, "timelapse", false);
	tr->bed_leveling = option_of(options, "bed_leveling", true);
	tr->flow_calibration = option_of(options, "flow_calibration", false);
	tr->vibration_calibration = option_of(options, "vibration_calibration", true);
	tr->task_id = (int32_t)w->number;
}

void
task_take_send(struct task *t, const struct work_task *w)
{
	char file_id[UUID_TEXT_LEN + 1] = "";

	t->start = option_of(w->params, "start", true);
	t->blob = w->file.blob;
	t->remote = w->file.remote;
	reading_text(reading_member(w->params, "file_id"), file_id, sizeof(file_id));
	uuid_parse(str_from(file_id), &t->file);
	read_transfer(t, w);
	if (w->resumed && w->starting) { /* perhaps: nothing is started twice */
		t->stage = STAGE_STARTED;
		t->showed = true; /* perhaps: nobody knows what was there before */
		t->deadline_ms = tasks_within(t->ts, START_MS);
		return;
	}
	if (w->resumed)
		t->deadline_ms = tasks_within(t->ts, RETRY_MS);
	if (!w->file.present)
		task_fail(t, FAIL_FILE_GONE);
}

/* --- the file --------------------------------------------------------------------------------- */

static void
on_open(void *ctx, enum file_end end, int fd)
{
	struct task *t = ctx;

	t->opening = NULL;
	t->transfer.fd = fd;
	t->stage = STAGE_READY;
	t->deadline_ms = tasks_within(t->ts, RETRY_MS);
	if (end != FILE_OPEN)
		task_fail(t, end == FILE_GONE ? FAIL_FILE_GONE : FAIL_STORAGE);
	tasks_poke(t->ts);
}

static void
open_file(struct task *t)
{
	t->stage = STAGE_OPENING;
	t->deadline_ms = tasks_within(t->ts, UPLOAD_MS);
	t->opening = file_box_open(
	    session_gateway(t->ts->s)->files, t->blob, t->remote, on_open, t);
	if (t->stage != STAGE_OPENING) /* told from within */
		t->opening = NULL;
}

/* --- the upload ------------------------------------------------------------------------------- */

static bool
is_busy(const struct tasks *ts)
{
	return printer_state_busy(session_record(ts->s)->state) ||
	    tasks_now(ts) < ts->guard_until_ms;
}

static void
upload(struct task *t)
{
	const struct driver *driver = session_driver(t->ts->s);

	if (!driver->upload || (t->start && !driver->start)) {
		task_fail(t, FAIL_UNSUPPORTED);
		return;
	}
	if (t->start && is_busy(t->ts)) {
		task_fail(t, FAIL_BUSY);
		return;
	}
	t->stage = STAGE_UPLOADING;
	t->deadline_ms = tasks_within(t->ts, UPLOAD_MS);
	t->tries++;
	driver->upload(session_driver_data(t->ts->s), &t->transfer);
}

void
tasks_upload_progress(struct tasks *ts, int64_t sent)
{
	struct sink *sink = session_gateway(ts->s)->sink;

	for (struct task *t = ts->first; t; t = t->next) {
		if (t->stage != STAGE_UPLOADING || t->over)
			continue;
		if (tasks_now(ts) - t->told_ms < PROGRESS_MS && sent < t->transfer.size)
			continue;
		t->told_ms = tasks_now(ts);
		sink->ops->task_progress(sink, t->job, sent, t->transfer.size);
	}
}

void
task_uploaded(struct task *t, enum upload_end end)
{
	static const enum failure failure_of[] = {[UPLOAD_REFUSED] = FAIL_UPLOAD_REFUSED,
	    [UPLOAD_BUSY] = FAIL_BUSY,
	    [UPLOAD_NO_SPACE] = FAIL_NO_SPACE,
	    [UPLOAD_BROKEN] = FAIL_UPLOAD};

	if (end == UPLOAD_DONE) {
		tasks_upload_progress(t->ts, t->transfer.size);
		t->stage = STAGE_MARKING;
		t->deadline_ms = tasks_within(t->ts, RETRY_MS);
	} else if ((end == UPLOAD_BROKEN || end == UPLOAD_BUSY) && t->tries < TRIES) {
		/* busy: perhaps with the rest of an upload that was called off */
		t->stage = STAGE_READY;
		t->again_ms = tasks_within(t->ts, PAUSE_MS);
		t->deadline_ms = tasks_within(t->ts, RETRY_MS);
	} else {
		task_fail(t, failure_of[end]);
	}
}

/* --- the start -------------------------------------------------------------------------------- */

static void
succeed(struct task *t, bool started)
{
	struct task_end end = {.outcome = TASK_SUCCEEDED};
	struct buf b;

	buf_init(&b, 2048);
	buf_fmt(&b,
	    "{\"started\":%s,\"task_id\":\"%d\",\"remote_name\":", started ? "true" : "false",
	    t->transfer.task_id);
	if (t->transfer.remote[0])
		buf_json_str(&b, str_from(t->transfer.remote));
	else
		buf_str(&b, STR("null"));
	buf_char(&b, '}');
	must(!b.overflow);
	end.result = (struct str){b.p, b.n};
	task_over(t, &end);
	buf_fini(&b);
}

static void
mark(struct task *t)
{
	struct sink *sink = session_gateway(t->ts->s)->sink;

	if (!t->start) {
		succeed(t, false);
		return;
	}
	if (t->cancelled) {
		task_over(t, &(struct task_end){.outcome = TASK_CANCELLED});
		return;
	}
	if (!t->marked)
		sink->ops->task_starting(sink, t->job);
	t->marked = true;
}

void
tasks_may_start(struct tasks *ts, struct uuid job, bool may)
{
	struct task *t = tasks_find(ts, job);

	if (!t || t->stage != STAGE_MARKING)
		return;
	t->stage = STAGE_STARTING;
	t->deadline_ms = tasks_within(ts, RETRY_MS);
	if (!may) /* cancelled meanwhile, or another's: then nobody listens */
		task_over(t, &(struct task_end){.outcome = TASK_CANCELLED});
	tasks_poke(ts);
}

static bool
is_ours(const struct task *t)
{
	const struct driver *driver = session_driver(t->ts->s);

	return driver && driver->is_job && session_is_reporting(t->ts->s) &&
	    driver->is_job(session_driver_data(t->ts->s), &t->transfer, session_record(t->ts->s));
}

/* The last look at the printer before it is told. */
static void
start(struct task *t)
{
	struct tasks *ts = t->ts;

	if (!session_is_reporting(ts->s) || ts->awaiting)
		return;
	if (is_busy(ts)) {
		task_fail(t, FAIL_BUSY);
		return;
	}
	t->stage = STAGE_STARTED;
	t->showed = is_ours(t);
	t->deadline_ms = tasks_within(ts, START_MS);
	ts->guard_until_ms = tasks_within(ts, GUARD_MS);
	ts->awaiting = t;
	session_driver(ts->s)->start(session_driver_data(ts->s), &t->transfer);
}

static bool
carries_number(const struct task *t)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", t->transfer.task_id);
	return strcmp(session_record(t->ts->s)->job.task_id, number) == 0;
}

/* A job that has finished may be an older one of the same file. */
static bool
shows_start(const struct task *t)
{
	enum printer_state state = session_record(t->ts->s)->state;

	if (!is_ours(t))
		return false;
	return printer_state_busy(state) ||
	    (state == PRINTER_FINISHED && (!t->showed || carries_number(t)));
}

static void
watch_start(struct task *t)
{
	if (shows_start(t)) {
		t->ts->guard_until_ms = 0;
		succeed(t, true);
	} else if (t->answered && answer_is_refusal(t->answer)) {
		t->ts->guard_until_ms = 0;
		task_fail(t, answer_failure(t->answer));
	} else if (tasks_now(t->ts) >= t->deadline_ms) {
		task_fail(t, FAIL_START_UNKNOWN);
	}
}

bool
tasks_started(
    const struct tasks *ts, const struct record *r, struct uuid *operation, struct uuid *file)
{
	const struct driver *driver = session_driver(ts->s);

	for (const struct task *t = ts->first; t && driver && driver->is_job; t = t->next) {
		if (!t->is_send || t->stage != STAGE_STARTED ||
		    !driver->is_job(session_driver_data(ts->s), &t->transfer, r))
			continue;
		*operation = t->job;
		*file = t->file;
		return true;
	}
	return false;
}

/* --- the order of it -------------------------------------------------------------------------- */

static void
cancel(struct task *t)
{
	if (t->stage == STAGE_UPLOADING && session_driver(t->ts->s))
		session_driver(t->ts->s)->abort(session_driver_data(t->ts->s));
	task_over(t, &(struct task_end){.outcome = TASK_CANCELLED});
}

static void
too_late(struct task *t)
{
	static const enum failure failure_of[] = {[STAGE_WAITING] = FAIL_EXPIRED,
	    [STAGE_OPENING] = FAIL_STORAGE,
	    [STAGE_READY] = FAIL_UPLOAD,
	    [STAGE_UPLOADING] = FAIL_UPLOAD,
	    [STAGE_MARKING] = FAIL_NOT_STARTED,
	    [STAGE_STARTING] = FAIL_NOT_STARTED};

	if (t->stage == STAGE_UPLOADING && session_driver(t->ts->s))
		session_driver(t->ts->s)->abort(session_driver_data(t->ts->s));
	task_fail(t, failure_of[t->stage]);
}

void
task_advance_send(struct task *t)
{
	bool up = session_is_reporting(t->ts->s);

	if (t->cancelled && t->stage < STAGE_MARKING) {
		cancel(t);
		return;
	}
	if (t->stage == STAGE_STARTED) {
		watch_start(t);
		return;
	}
	if (tasks_now(t->ts) >= t->deadline_ms) {
		too_late(t);
		return;
	}
	if (t->stage == STAGE_WAITING && up)
		open_file(t);
	if (t->stage == STAGE_READY && up && !t->over && tasks_now(t->ts) >= t->again_ms)
		upload(t);
	if (t->stage == STAGE_MARKING && !t->over)
		mark(t);
	if (t->stage == STAGE_STARTING && !t->over)
		start(t);
}
