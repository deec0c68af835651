#include "gateway/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "base/log.h"
#include "gateway/task_parts.h"

/* --- ends --------------------------------------------------------------------------------------
 */

static const struct {
	const char *code, *message;
} failures[] = {
    [FAIL_EXPIRED] = {"expired", "It could not be begun in time."},
    [FAIL_UNSUPPORTED] = {"unsupported_by_printer", "The printer cannot do this."},
    [FAIL_STATE] = {"printer_state_conflict", "The printer's state does not allow this."},
    [FAIL_BUSY] = {"printer_busy", "The printer is at another job."},
    [FAIL_REFUSED] = {"refused", "The printer refused it."},
    [FAIL_NOT_CONFIRMED] = {"not_confirmed",
	"The printer took it, but does not show that it was carried out."},
    [FAIL_UNKNOWN] = {"outcome_unknown",
	"The connection broke or the gateway was replaced meanwhile; whether it was carried out is not "
	"known."},
    [FAIL_FILE_GONE] = {"file_gone", "The file was deleted meanwhile."},
    [FAIL_STORAGE] = {"storage_unavailable", "The file store cannot be read by the gateway."},
    [FAIL_UPLOAD] = {"upload_failed", "The file could not be brought to the printer."},
    [FAIL_UPLOAD_REFUSED] = {"upload_refused", "The printer did not take the file."},
    [FAIL_NO_SPACE] = {"no_space", "The printer's storage is full or missing."},
    [FAIL_NOT_STARTED] = {"not_started", "The printer went away before it could be told to start."},
    [FAIL_START_UNKNOWN] = {"start_unknown",
	"The printer was told to start and has shown no sign of it; look at it before trying again."},
};

void
task_over(struct task *t, const struct task_end *end)
{
	struct sink *sink = session_gateway(t->ts->s)->sink;

	if (t->over)
		return;
	t->over = true;
	t->ts->again = true; /* others may have waited for it */
	if (t->ts->awaiting == t)
		t->ts->awaiting = NULL;
	sink->ops->task_end(sink, t->job, end);
}

void
task_fail(struct task *t, enum failure f)
{
	char message[400];
	struct task_end end = {TASK_FAILED, failures[f].code, failures[f].message, STR_NONE};

	if (t->words[0]) {
		snprintf(message, sizeof(message), "%s It says: %s", end.message, t->words);
		end.message = message;
	}
	task_over(t, &end);
}

/* --- commands ----------------------------------------------------------------------------------
 */

static void
send_command(struct task *t)
{
	struct tasks *ts = t->ts;
	const struct driver *driver = session_driver(ts->s);
	const struct record *r = session_record(ts->s);

	if (!(driver->commands & CMD_BIT(t->command.kind)) || !driver->command) {
		task_fail(t, FAIL_UNSUPPORTED);
		return;
	}
	if (!command_makes_sense(&t->command, r)) {
		task_fail(t, FAIL_STATE);
		return;
	}
	t->stage = STAGE_SENT;
	t->showed = command_shows(&t->command, r);
	t->deadline_ms = tasks_within(ts, command_patience_ms(&t->command));
	if (ts->awaiting) { /* an emergency does not wait for another's answer, which is lost */
		ts->awaiting->answered = true;
		ts->awaiting->answer = ANSWER_LOST;
		ts->again = true;
	}
	ts->awaiting = t;
	driver->command(session_driver_data(ts->s), &t->command);
}

static bool
command_done(const struct task *t)
{
	bool shows = command_shows(&t->command, session_record(t->ts->s));

	if (command_confirm(&t->command) == CONFIRM_ANSWER)
		return t->answered && t->answer == ANSWER_ACCEPTED;
	return shows && (!t->showed || t->answered);
}

static void
watch_command(struct task *t)
{
	static const struct task_end done = {.outcome = TASK_SUCCEEDED};
	bool late = tasks_now(t->ts) >= t->deadline_ms;

	if (t->answered && answer_is_refusal(t->answer))
		task_fail(t, answer_failure(t->answer));
	else if (command_done(t))
		task_over(t, &done);
	else if (t->answered && t->answer == ANSWER_LOST &&
	    command_confirm(&t->command) == CONFIRM_ANSWER)
		task_fail(t, FAIL_UNKNOWN);
	else if (late)
		task_fail(t,
		    t->answered && t->answer == ANSWER_ACCEPTED ? FAIL_NOT_CONFIRMED
								: FAIL_UNKNOWN);
}

static void
advance_command(struct task *t)
{
	bool urgent = t->command.kind == CMD_EMERGENCY_STOP;

	if (t->stage == STAGE_SENT) {
		watch_command(t);
		return;
	}
	if (t->cancelled)
		task_over(t, &(struct task_end){.outcome = TASK_CANCELLED});
	else if (tasks_now(t->ts) >= t->deadline_ms)
		task_fail(t, FAIL_EXPIRED);
	else if (session_is_reporting(t->ts->s) && (urgent || !t->ts->awaiting))
		send_command(t);
}

/* --- the list ----------------------------------------------------------------------------------
 */

static void
task_free(struct task *t)
{
	if (t->opening)
		file_call_cancel(t->opening);
	if (t->transfer.fd >= 0)
		close(t->transfer.fd);
	command_fini(&t->command);
	free(t);
}

static void
sweep(struct tasks *ts)
{
	struct task **at = &ts->first;

	while (*at) {
		struct task *t = *at;

		if (!t->over) {
			at = &t->next;
			continue;
		}
		*at = t->next;
		task_free(t);
	}
}

static void
set_timer(struct tasks *ts)
{
	struct loop *loop = session_gateway(ts->s)->loop;
	int64_t first = INT64_MAX;

	for (const struct task *t = ts->first; t; t = t->next) {
		int64_t next = t->again_ms > tasks_now(ts) ? t->again_ms : t->deadline_ms;

		if (next < first)
			first = next;
	}
	if (first == INT64_MAX)
		timer_stop(loop, &ts->timer);
	else
		timer_set(loop, &ts->timer, first - tasks_now(ts));
}

/* Drivers answer from within; what that leads to is done when they have returned. */
void
tasks_poke(struct tasks *ts)
{
	if (!ts->first)
		return;
	ts->again = true;
	if (ts->running)
		return;
	ts->running = true;
	while (ts->again) {
		ts->again = false;
		for (struct task *t = ts->first; t; t = t->next) {
			if (t->over)
				continue;
			if (t->is_send)
				task_advance_send(t);
			else
				advance_command(t);
		}
	}
	ts->running = false;
	sweep(ts);
	set_timer(ts);
}

static void
on_timer(void *ctx)
{
	tasks_poke(ctx);
}

struct tasks *
tasks_new(struct session *s)
{
	struct tasks *ts = calloc(1, sizeof(*ts));

	must(ts != NULL);
	ts->s = s;
	ts->timer = (struct timer){.fn = on_timer, .ctx = ts};
	return ts;
}

void
tasks_free(struct tasks *ts)
{
	timer_stop(session_gateway(ts->s)->loop, &ts->timer);
	while (ts->first) {
		struct task *t = ts->first;

		ts->first = t->next;
		task_free(t);
	}
	free(ts);
}

int64_t
tasks_now(const struct tasks *ts)
{
	return loop_now(session_gateway(ts->s)->loop);
}

int64_t
tasks_within(const struct tasks *ts, int64_t ms)
{
	return tasks_now(ts) + ms * session_gateway(ts->s)->patience_pct / 100;
}

struct task *
tasks_find(const struct tasks *ts, struct uuid job)
{
	for (struct task *t = ts->first; t; t = t->next)
		if (uuid_eq(t->job, job) && !t->over)
			return t;
	return NULL;
}

static struct task *
add(struct tasks *ts, const struct work_task *w)
{
	struct task *t = calloc(1, sizeof(*t)), **last = &ts->first;

	must(t != NULL);
	t->ts = ts;
	t->job = w->job;
	t->is_send = str_eq(w->kind, STR("printer.send"));
	t->transfer.fd = -1;
	t->cancelled = w->cancelled;
	t->deadline_ms = tasks_now(ts) + (w->patience_ms > 0 ? w->patience_ms : 0);
	while (*last)
		last = &(*last)->next;
	*last = t;
	return t;
}

static void
take_command(struct task *t, const struct work_task *w)
{
	if (!command_parse(w->params, &t->command)) {
		task_fail(t, FAIL_UNSUPPORTED);
		return;
	}
	if (!w->resumed)
		return;
	if (command_confirm(&t->command) == CONFIRM_ANSWER) { /* which went to another */
		task_fail(t, FAIL_UNKNOWN);
		return;
	}
	t->stage = STAGE_SENT; /* perhaps: nothing is sent twice */
	t->deadline_ms = tasks_within(t->ts, command_patience_ms(&t->command));
}

void
tasks_take(struct tasks *ts, const struct work_task *w)
{
	struct task *t = tasks_find(ts, w->job);

	if (t) {
		t->cancelled = t->cancelled || w->cancelled;
		tasks_poke(ts);
		return;
	}
	t = add(ts, w);
	if (t->is_send)
		task_take_send(t, w);
	else
		take_command(t, w);
	tasks_poke(ts);
}

/* --- what drivers tell -------------------------------------------------------------------------
 */

static void
note_words(struct task *t, const char *words)
{
	if (words)
		reading_clean(str_from(words), t->words, sizeof(t->words));
}

bool
answer_is_refusal(enum answer a)
{
	return a == ANSWER_REFUSED || a == ANSWER_BUSY || a == ANSWER_UNSUPPORTED;
}

enum failure
answer_failure(enum answer a)
{
	if (a == ANSWER_BUSY)
		return FAIL_BUSY;
	return a == ANSWER_UNSUPPORTED ? FAIL_UNSUPPORTED : FAIL_REFUSED;
}

void
tasks_answer(struct tasks *ts, enum answer a, const char *words)
{
	struct task *t = ts->awaiting;

	if (!t)
		return;
	ts->awaiting = NULL;
	t->answered = true;
	t->answer = a;
	note_words(t, words);
	tasks_poke(ts);
}

void
tasks_upload_done(struct tasks *ts, enum upload_end end, const char *words)
{
	for (struct task *t = ts->first; t; t = t->next) {
		if (t->over || t->stage != STAGE_UPLOADING)
			continue;
		note_words(t, end == UPLOAD_DONE ? NULL : words);
		task_uploaded(t, end);
	}
	tasks_poke(ts);
}

void
tasks_cut_off(struct tasks *ts)
{
	if (ts->awaiting)
		tasks_answer(ts, ANSWER_LOST, NULL);
	tasks_upload_done(ts, UPLOAD_BROKEN, NULL);
}
