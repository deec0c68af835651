/* A PrusaLink printer's own terms → the common record. */
#include <stdio.h>
#include <string.h>

#include "gateway/prusalink_state.h"

enum {
	WATCHED_MS = 60000, /* a job's end between two statuses that far apart was watched */
	NEARLY_S = 30,      /* a job with so little left that is gone afterwards was finished */
	NEARLY_PERCENT = 99,
};

/* --- state and outcome ------------------------------------------------------------------------ */

/* The job is not the one that `last` speaks of. */
static bool
is_another(const struct prusalink_state *p)
{
	return p->running != PRUSALINK_NO_JOB && p->job != PRUSALINK_NO_JOB && p->job != p->running;
}

/* As the printer's own state says; `last` for a word that says nothing. */
static enum printer_state
own_state(const struct prusalink_state *p)
{
	static const struct {
		const char *word;
		enum printer_state with_job, without;
	} words[] = {
	    {"ATTENTION", PRINTER_PAUSED, PRINTER_ERROR},
	    {"BUSY", PRINTER_PREPARING, PRINTER_IDLE},
	    {"ERROR", PRINTER_ERROR, PRINTER_ERROR},
	    {"FINISHED", PRINTER_FINISHED, PRINTER_FINISHED},
	    {"IDLE", PRINTER_IDLE, PRINTER_IDLE},
	    {"PAUSED", PRINTER_PAUSED, PRINTER_PAUSED},
	    {"PRINTING", PRINTER_PRINTING, PRINTER_PRINTING},
	    {"READY", PRINTER_IDLE, PRINTER_IDLE},
	    {"STOPPED", PRINTER_FAILED, PRINTER_FAILED},
	};
	bool has_job = p->job != PRUSALINK_NO_JOB;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(p->word, words[i].word) != 0)
			continue;
		/* Busy with something in the midst of a job: a filament's change, parking. */
		if (words[i].with_job == PRINTER_PREPARING && has_job && !is_another(p) &&
		    (p->last == PRINTER_PRINTING || p->last == PRINTER_PAUSED))
			return p->last;
		return has_job ? words[i].with_job : words[i].without;
	}
	return p->last;
}

/* How a job ended whose end no status has told. */
static enum job_outcome
unseen_end(const struct prusalink_state *p, enum printer_state to, int64_t now_ms)
{
	int64_t gap_ms = p->heard_ms ? now_ms - p->heard_ms : INT64_MAX;

	if (to == PRINTER_ERROR)
		return OUTCOME_FAILED;
	if (p->last_percent >= NEARLY_PERCENT)
		return OUTCOME_COMPLETED;
	if (p->last_remaining_s != REC_NONE &&
	    gap_ms / 1000 + NEARLY_S >= (int64_t)p->last_remaining_s)
		return OUTCOME_COMPLETED;
	return gap_ms <= WATCHED_MS ? OUTCOME_CANCELLED : OUTCOME_FAILED;
}

/* The printer is past a job without having said how it ended: back to idle, in error, or at the
 * next one. */
static bool
slipped_away(const struct prusalink_state *p, enum printer_state to)
{
	if (!p->seen_state || !printer_state_busy(p->last))
		return false;
	return to == PRINTER_IDLE || to == PRINTER_ERROR || is_another(p);
}

static void
enter_busy(struct prusalink_state *p, const struct prusalink_when *now)
{
	p->outcome = OUTCOME_NONE;
	if (p->seen_state && printer_state_busy(p->last))
		return;
	p->last_percent = 0;
	p->started_ms = now->unix_ms;
	if (p->printing_s != REC_NONE)
		p->started_ms -= (int64_t)p->printing_s * 1000;
}

static void
enter(struct prusalink_state *p, enum printer_state to, const struct prusalink_when *now)
{
	if (printer_state_busy(to)) {
		enter_busy(p, now);
	} else if (to == PRINTER_FINISHED) {
		p->outcome = OUTCOME_COMPLETED;
	} else if (to == PRINTER_FAILED) {
		p->outcome = OUTCOME_CANCELLED;
	} else if (to != PRINTER_ERROR || p->last != PRINTER_FAILED) {
		p->outcome = OUTCOME_NONE;
		p->started_ms = 0;
	} /* else an error has ended a job, which is still there to be seen */
	p->last = to;
	p->seen_state = true;
}

/* Follows the printer's state. A job that slipped away is given an end of its own first, which
 * stands until the next status. */
static void
follow(struct prusalink_state *p, const struct prusalink_when *now)
{
	enum printer_state to = own_state(p);

	if (to == PRINTER_OFFLINE) /* nothing is known yet, and the word is none of the known */
		return;
	p->passing = slipped_away(p, to);
	if (p->passing) {
		p->outcome = unseen_end(p, to, now->mono_ms);
		p->last = p->outcome == OUTCOME_COMPLETED ? PRINTER_FINISHED : PRINTER_FAILED;
	} else if (!p->seen_state || to != p->last) {
		enter(p, to, now);
	}
	p->heard_ms = now->mono_ms;
	p->last_remaining_s = p->remaining_s;
	if (!p->passing && p->job != PRUSALINK_NO_JOB)
		p->running = p->job;
	else if (p->last == PRINTER_IDLE)
		p->running = PRUSALINK_NO_JOB;
}

static uint32_t
map_state(struct prusalink_state *p, const struct prusalink_when *now, struct record *r)
{
	follow(p, now);
	if (!p->seen_state || p->last == r->state)
		return 0;
	r->state = p->last;
	return REC_STATE;
}

/* --- the sections ----------------------------------------------------------------------------- */

static int32_t
percent_of(struct prusalink_state *p)
{
	if (p->last == PRINTER_FINISHED)
		return 100;
	if (!p->passing && p->progress != REC_NONE)
		p->last_percent = p->progress;
	return p->last_percent;
}

static void
names_of(const struct prusalink_state *p, struct rec_job *j)
{
	if (p->running == PRUSALINK_NO_JOB || p->named != p->running)
		return;
	prusalink_path(&p->file, j->file, sizeof(j->file));
	memcpy(j->name, p->file.display, sizeof(j->name));
}

static uint32_t
map_job(struct prusalink_state *p, struct record *r)
{
	struct rec_job j;

	memset(&j, 0, sizeof(j));
	j.present = printer_state_busy(p->last) || p->outcome != OUTCOME_NONE;
	if (!j.present) {
		p->last_percent = 0;
		return RECORD_SET(r, job, &j, REC_JOB);
	}
	names_of(p, &j);
	if (p->running != PRUSALINK_NO_JOB)
		snprintf(j.task_id, sizeof(j.task_id), "%lld", (long long)p->running);
	j.progress = percent_of(p);
	j.remaining_s = printer_state_busy(p->last) ? p->remaining_s : REC_NONE;
	j.layer = j.total_layers = REC_NONE;
	j.outcome = p->outcome;
	j.started_ms = p->started_ms;
	return RECORD_SET(r, job, &j, REC_JOB);
}

static uint32_t
map_temperatures(const struct prusalink_state *p, struct record *r)
{
	struct rec_temperatures t;

	memset(&t, 0, sizeof(t));
	t.present = true;
	t.n_nozzles = 1;
	t.nozzles[0].t = (struct rec_temp){p->nozzle_dc, p->nozzle_target_dc};
	t.bed = (struct rec_temp){p->bed_dc, p->bed_target_dc};
	return RECORD_SET(r, temperatures, &t, REC_TEMPERATURES);
}

static uint32_t
map_speed(const struct prusalink_state *p, struct record *r)
{
	struct rec_speed s;

	memset(&s, 0, sizeof(s));
	s.present = p->speed_pct != REC_NONE;
	s.level = REC_NONE;
	s.percent = p->speed_pct;
	return RECORD_SET(r, speed, &s, REC_SPEED);
}

static void
add_error(struct rec_errors *list, const char *code, enum severity severity, const char *message)
{
	struct rec_error *e = &list->e[list->n++];

	snprintf(e->code, sizeof(e->code), "%s", code);
	e->severity = severity;
	e->module = "unknown";
	e->message = message;
}

static uint32_t
map_errors(const struct prusalink_state *p, struct record *r)
{
	struct rec_errors list;

	memset(&list, 0, sizeof(list));
	if (strcmp(p->word, "ATTENTION") == 0)
		add_error(&list, "ATTENTION", SEVERITY_SERIOUS,
		    "The printer waits for somebody; its screen says why.");
	else if (strcmp(p->word, "ERROR") == 0)
		add_error(&list, "ERROR", SEVERITY_FATAL,
		    "The printer is in error; its screen says which.");
	else if (p->not_ok)
		add_error(&list, "STATUS_PRINTER", SEVERITY_COMMON,
		    "The printer reports a problem of its own; its screen says which.");
	return RECORD_SET(r, errors, &list, REC_ERRORS);
}

static uint32_t
map_extra(const struct prusalink_state *p, struct record *r)
{
	struct rec_extra e;

	memset(&e, 0, sizeof(e));
	e.present = true;
	memcpy(e.product, p->product, sizeof(e.product));
	e.storage = p->has_storage;
	e.door_open = REC_NONE;
	return RECORD_SET(r, extra, &e, REC_EXTRA);
}

uint32_t
prusalink_map(struct prusalink_state *p, const struct prusalink_when *now, struct record *r)
{
	uint32_t changed;

	if (!p->full)
		return 0;
	changed = map_state(p, now, r);
	changed |= map_job(p, r);
	changed |= map_temperatures(p, r);
	changed |= map_speed(p, r);
	changed |= map_errors(p, r);
	changed |= map_extra(p, r);
	if (p->firmware.present)
		changed |= record_set_firmware(r, &p->firmware);
	return changed;
}

bool
prusalink_wants_names(const struct prusalink_state *p)
{
	if (p->job == PRUSALINK_NO_JOB || slipped_away(p, own_state(p)))
		return false;
	return p->named != p->job || !p->names_fresh;
}
