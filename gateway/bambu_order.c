/* Commands and starts on their way: one is sent at a time, its answer is awaited, and what the
 * printer reports meanwhile is looked at. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/bambu_session.h"

enum {
	ANSWER_MS = 10000,
	UNSIGNED_MS = 3000, /* where a missing signature is not answered but only shown */
	GUARD_MS = 120000,
};

static const char words_unsigned[] =
    "the printer is not in Developer Mode and takes no commands over the network";
static const char words_busy[] = "a job runs, or a start was sent a moment ago";

static struct loop *
loop_of(const struct bambu *b)
{
	return session_gateway(b->s)->loop;
}

static struct bambu_about
about(struct bambu *b)
{
	return (struct bambu_about){b->model, &b->state, session_record(b->s), &b->sequence};
}

/* --- the guard of starts ---------------------------------------------------------------------- */

static bool
busy(struct bambu *b)
{
	return printer_state_busy(b->state.last);
}

static bool
guarded(const struct bambu *b)
{
	return b->guard.until_ms > clock_mono_ms();
}

static void
guard_drop(struct bambu *b)
{
	memset(&b->guard, 0, sizeof(b->guard));
}

static void
guard_follow(struct bambu *b)
{
	if (!b->guard.until_ms)
		return;
	if (busy(b))
		b->guard.seen = true;
	else if (b->guard.seen)
		guard_drop(b);
}

/* A report may carry the new job's numbers while the old one's FINISH still stands. */
bool
bambu_is_its_job(const void *d, const struct transfer *t, const struct record *r)
{
	const struct bambu *b = d;

	if (guarded(b) && b->guard.task_id == t->task_id && !b->guard.seen &&
	    !printer_state_busy(r->state))
		return false;
	return bambu_is_job(&b->state, t, r);
}

/* --- the end of an order ---------------------------------------------------------------------- */

static void
finish(struct bambu *b, enum answer a, const char *words)
{
	bool start = b->order.start != NULL;

	timer_stop(loop_of(b), &b->order.timer);
	b->order.waiting = false;
	b->order.start = NULL;
	if (start && a != ANSWER_ACCEPTED && a != ANSWER_LOST)
		guard_drop(b);
	session_answer(b->s, a, words);
}

void
bambu_order_drop(struct bambu *b, bool tell)
{
	timer_stop(loop_of(b), &b->order.timer);
	if (b->order.waiting && tell)
		finish(b, ANSWER_LOST, NULL);
	b->order.waiting = false;
	b->order.start = NULL;
}

static bool
needs_signature(const struct bambu *b)
{
	return strcmp(b->order.section, "print") == 0 && bambu_developer_mode_off(&b->state);
}

static int64_t
waited_ms(const struct bambu *b)
{
	return (clock_mono_us() - b->order.sent_us) / 1000;
}

/* Nothing came back. A start that shows was taken; one that does not is never repeated: the session
 * may be half dead, so it is made anew. */
static void
on_patience(void *ctx)
{
	struct bambu *b = ctx;
	const struct transfer *start = b->order.start;
	bool idle = !busy(b);

	if (needs_signature(b)) {
		finish(b, ANSWER_REFUSED, words_unsigned);
		return;
	}
	if (waited_ms(b) < ANSWER_MS) {
		timer_set(loop_of(b), &b->order.timer, ANSWER_MS - waited_ms(b));
		return;
	}
	log_warn("no answer to a command", LOG_Z("serial", session_serial(b->s)),
	    LOG_Z("command", b->order.command));
	finish(b, ANSWER_LOST, NULL);
	if (start && idle)
		bambu_start_over(b);
}

void
bambu_order_report(struct bambu *b)
{
	guard_follow(b);
	if (!b->order.waiting)
		return;
	if (b->order.start && busy(b) &&
	    bambu_is_job(&b->state, b->order.start, session_record(b->s)))
		finish(b, ANSWER_ACCEPTED, NULL);
	else if (!b->order.was_unsigned && needs_signature(b))
		finish(b, ANSWER_REFUSED, words_unsigned);
}

void
bambu_order_answer(struct bambu *b, const struct bambu_answer *a)
{
	if (!b->order.waiting ||
	    !bambu_answer_is_of(a, b->order.section, b->order.command, b->order.sequence))
		return;
	session_round_trip(b->s, clock_mono_us() - b->order.sent_us);
	if (a->good) {
		if (strcmp(a->section, "print") == 0)
			b->state.refused = false;
		finish(b, ANSWER_ACCEPTED, NULL);
	} else if (a->unsigned_) {
		finish(b, ANSWER_REFUSED, words_unsigned);
	} else if (a->busy || (b->order.start && busy(b))) {
		finish(b, ANSWER_BUSY, a->words[0] ? a->words : words_busy);
	} else {
		finish(b, ANSWER_REFUSED, a->words[0] ? a->words : NULL);
	}
}

/* --- sending ---------------------------------------------------------------------------------- */

/* False: not even the awaited one could be given to the connection. */
static bool
send_all(struct bambu *b, const struct bambu_messages *messages, const struct transfer *start)
{
	const struct bambu_message *awaited = &messages->m[messages->awaited];
	bool sent = false;

	bambu_order_drop(b, false);
	b->order.waiting = true;
	b->order.was_unsigned = bambu_developer_mode_off(&b->state);
	b->order.section = awaited->section;
	b->order.command = awaited->command;
	b->order.sequence = awaited->sequence;
	b->order.start = start;
	b->order.sent_us = clock_mono_us();
	timer_set(loop_of(b), &b->order.timer, UNSIGNED_MS);
	for (int i = 0; i < messages->n; i++) {
		bool good = bambu_send(b, &messages->m[i]);

		if (&messages->m[i] == awaited)
			sent = good;
	}
	return sent;
}

void
bambu_command(void *d, const struct command *c)
{
	struct bambu *b = d;
	struct bambu_about what = about(b);
	struct bambu_messages messages;
	const char *words;
	enum answer a = bambu_command_messages(c, &what, &messages, &words);

	if (a != ANSWER_ACCEPTED)
		session_answer(b->s, a, words);
	else if (!send_all(b, &messages, NULL))
		finish(b, ANSWER_LOST, NULL);
	bambu_messages_fini(&messages);
}

/* To some models a start while a job runs is the end of that job. */
void
bambu_start(void *d, struct transfer *t)
{
	struct bambu *b = d;
	struct bambu_about what = about(b);
	struct bambu_messages messages;
	const char *words;
	enum answer a;

	if (busy(b) || guarded(b)) {
		session_answer(b->s, ANSWER_BUSY, words_busy);
		return;
	}
	a = bambu_start_messages(t, &what, &messages, &words);
	if (a != ANSWER_ACCEPTED) {
		session_answer(b->s, a, words);
	} else {
		b->guard = (struct bambu_guard){.until_ms = clock_mono_ms() +
			GUARD_MS * session_gateway(b->s)->patience_pct / 100,
		    .task_id = t->task_id};
		if (!send_all(b, &messages, t))
			finish(b, ANSWER_LOST, NULL);
	}
	bambu_messages_fini(&messages);
}

void
bambu_order_init(struct bambu *b)
{
	b->order.timer = (struct timer){.fn = on_patience, .ctx = b};
}
