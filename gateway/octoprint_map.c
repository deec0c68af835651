/* An OctoPrint's own terms → the common record. */
#include <stdlib.h>
#include <string.h>

#include "gateway/octoprint_state.h"
#include "gateway/reading.h"

void
octo_state_init(struct octo_state *o)
{
	memset(o, 0, sizeof(*o));
	octo_state_forget(o);
}

void
octo_state_forget(struct octo_state *o)
{
	struct octo_state keep = *o;

	memset(o, 0, sizeof(*o));
	o->last = keep.last;
	o->seen_state = keep.seen_state;
	o->outcome = keep.outcome;
	o->job = keep.job;
	o->started_ms = keep.started_ms;
	o->last_percent = keep.last_percent;
	o->percent = o->left_s = o->fan_pct = o->speed_pct = REC_NONE;
}

/* --- state and outcome ------------------------------------------------------------------------ */

enum printer_state
octo_own_state(const struct octo_state *o)
{
	uint32_t f = o->flags;

	if ((f & OCTO_ERROR) || ((f & OCTO_CLOSED) && o->error[0]))
		return PRINTER_ERROR;
	if (!(f & OCTO_OPERATIONAL))
		return PRINTER_OFFLINE;
	if (f & OCTO_PAUSED)
		return PRINTER_PAUSED;
	if (f & OCTO_STARTING)
		return PRINTER_PREPARING;
	/* Pausing is not paused yet: "resume" would be lost. */
	if (f & (OCTO_PRINTING | OCTO_PAUSING | OCTO_RESUMING | OCTO_FINISHING | OCTO_CANCELLING))
		return PRINTER_PRINTING;
	return f & OCTO_READY ? PRINTER_IDLE : PRINTER_PREPARING; /* sends a file to its card */
}

bool
octo_printer_gone(const struct octo_state *o)
{
	return !(o->flags & OCTO_OPERATIONAL);
}

/* How a job ended of which no event told: only the websocket tells, and polls may miss it. */
static enum job_outcome
guess(const struct octo_state *o, enum printer_state to)
{
	if (to != PRINTER_IDLE)
		return OUTCOME_FAILED;
	if (!o->selected.path[0]) /* a cancel leaves the file selected, a restart does not */
		return OUTCOME_FAILED;
	return o->percent == 100 ? OUTCOME_COMPLETED : OUTCOME_CANCELLED;
}

static enum printer_state
state_of_end(enum job_outcome how)
{
	return how == OUTCOME_COMPLETED ? PRINTER_FINISHED : PRINTER_FAILED;
}

static void
begin_job(struct octo_state *o, enum printer_state to, int64_t unix_ms)
{
	o->started_ms = o->seen_state ? unix_ms : 0;
	o->outcome = o->ended = OUTCOME_NONE;
	o->last_percent = 0;
	o->last = to;
}

static void
end_job(struct octo_state *o, enum printer_state to)
{
	o->outcome = o->ended != OUTCOME_NONE ? o->ended : guess(o, to);
	o->last = to == PRINTER_IDLE ? state_of_end(o->outcome) : to;
}

/* After a job's end OctoPrint is merely operational; its file stays selected. */
static bool
still_at_end(const struct octo_state *o)
{
	if (o->last != PRINTER_FINISHED && o->last != PRINTER_FAILED)
		return false;
	return !o->job.path[0] || strcmp(o->job.path, o->selected.path) == 0;
}

static void
follow(struct octo_state *o, int64_t unix_ms)
{
	enum printer_state to = octo_own_state(o);
	bool was_busy = o->seen_state && printer_state_busy(o->last);

	if (printer_state_busy(to)) {
		if (!was_busy)
			begin_job(o, to, unix_ms);
		o->last = to;
		o->job = o->selected;
	} else if (was_busy) {
		end_job(o, to);
	} else if (to != PRINTER_IDLE) {
		/* An error comes behind the loss of the connection or the end of the job that it
		 * caused. */
		if (to != o->last &&
		    !(to == PRINTER_ERROR &&
			(o->last == PRINTER_OFFLINE || o->last == PRINTER_FAILED)))
			o->outcome = OUTCOME_NONE;
		o->last = to;
	} else if (o->last == PRINTER_OFFLINE && o->outcome == OUTCOME_FAILED) {
		o->last = PRINTER_FAILED; /* it is told now that the printer is back */
	} else if (still_at_end(o)) {
		if (!o->job.path[0]) /* taken over from before this process */
			o->job = o->selected;
	} else {
		o->outcome = OUTCOME_NONE;
		o->last = to;
	}
	o->seen_state = true;
}

void
octo_ended(struct octo_state *o, enum job_outcome how, const struct octo_file *file)
{
	if (o->ended != OUTCOME_NONE)
		return;
	if (file->path[0] && strcmp(file->path, o->job.path) != 0)
		o->job = o->selected = *file;
	o->ended = how;
	if (o->last != PRINTER_FINISHED && o->last != PRINTER_FAILED)
		return;
	o->outcome = how; /* the state was quicker than the event */
	o->last = state_of_end(how);
}

void
octo_dismiss(struct octo_state *o)
{
	if (printer_state_busy(o->last))
		return;
	o->outcome = OUTCOME_NONE;
	o->last = octo_own_state(o);
}

static uint32_t
map_state(struct octo_state *o, int64_t unix_ms, struct record *r)
{
	follow(o, unix_ms);
	if (o->last == r->state)
		return 0;
	r->state = o->last;
	return REC_STATE;
}

/* --- job -------------------------------------------------------------------------------------- */

static const char *
stage_name(uint32_t flags)
{
	static const struct {
		uint32_t flag;
		const char *name;
	} stages[] = {
	    {OCTO_CANCELLING, "cancelling"},
	    {OCTO_FINISHING, "finishing"},
	    {OCTO_PAUSING, "pausing"},
	    {OCTO_RESUMING, "resuming"},
	    {OCTO_STARTING, "starting"},
	};

	for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
		if (flags & stages[i].flag)
			return stages[i].name;
	return NULL;
}

static uint32_t
map_job(struct octo_state *o, struct record *r)
{
	bool busy = printer_state_busy(o->last);
	struct rec_job j;

	memset(&j, 0, sizeof(j));
	j.present = busy || o->outcome != OUTCOME_NONE;
	if (!j.present) {
		o->started_ms = 0;
		memset(&o->job, 0, sizeof(o->job));
		return RECORD_SET(r, job, &j, REC_JOB);
	}
	if (busy && o->percent != REC_NONE)
		o->last_percent = o->percent;
	reading_clean(str_from(o->job.path), j.file, sizeof(j.file));
	memcpy(j.name, o->job.name, sizeof(j.name));
	j.progress = o->last == PRINTER_FINISHED ? 100 : o->last_percent;
	j.remaining_s = busy ? o->left_s : REC_NONE;
	j.layer = j.total_layers = REC_NONE;
	j.outcome = o->outcome;
	j.stage = busy ? stage_name(o->flags) : NULL;
	j.started_ms = o->started_ms;
	return RECORD_SET(r, job, &j, REC_JOB);
}

/* --- the rest --------------------------------------------------------------------------------- */

static uint32_t
map_temperatures(const struct octo_state *o, struct record *r)
{
	struct rec_temperatures t;

	memset(&t, 0, sizeof(t));
	t.present = o->has_temperatures;
	t.bed = (struct rec_temp){REC_NONE, REC_NONE};
	if (!t.present)
		return RECORD_SET(r, temperatures, &t, REC_TEMPERATURES);
	t.n_nozzles = o->n_tools;
	for (int32_t i = 0; i < o->n_tools; i++) {
		t.nozzles[i].id = o->tools[i].id;
		t.nozzles[i].t = o->tools[i].t;
	}
	if (o->has_bed)
		t.bed = o->bed;
	if (o->chamber.actual_dc != REC_NONE) {
		t.has_chamber = true;
		t.chamber = o->chamber;
	}
	return RECORD_SET(r, temperatures, &t, REC_TEMPERATURES);
}

static uint32_t
map_told(const struct octo_state *o, struct record *r)
{
	struct rec_fans f;
	struct rec_speed s;
	uint32_t changed;

	memset(&f, 0, sizeof(f));
	memset(&s, 0, sizeof(s));
	f.present = o->fan_pct != REC_NONE;
	if (f.present) {
		f.part_cooling_pct = o->fan_pct;
		f.auxiliary_pct = f.chamber_pct = f.heatbreak_pct = REC_NONE;
	}
	s.present = o->speed_pct != REC_NONE;
	if (s.present) {
		s.percent = o->speed_pct;
		s.level = REC_NONE;
	}
	changed = RECORD_SET(r, fans, &f, REC_FANS);
	return changed | RECORD_SET(r, speed, &s, REC_SPEED);
}

static uint32_t
map_errors(const struct octo_state *o, struct record *r)
{
	struct rec_errors list;

	memset(&list, 0, sizeof(list));
	if (octo_own_state(o) == PRINTER_ERROR) {
		static const char code[] = "octoprint_error";

		list.n = 1;
		memcpy(list.e[0].code, code, sizeof(code));
		list.e[0].severity = SEVERITY_SERIOUS;
		list.e[0].module = "octoprint";
		list.e[0].message =
		    "OctoPrint lost the printer, or it halted; its terminal says why.";
	}
	return RECORD_SET(r, errors, &list, REC_ERRORS);
}

static uint32_t
map_firmware(const struct octo_state *o, struct record *r)
{
	static const char name[] = "octoprint";
	struct rec_firmware f;

	memset(&f, 0, sizeof(f));
	f.present = true;
	memcpy(f.version, o->firmware, sizeof(f.version));
	f.n = 1;
	memcpy(f.module[0].name, name, sizeof(name));
	memcpy(f.module[0].version, o->server, sizeof(f.module[0].version));
	return record_set_firmware(r, &f);
}

uint32_t
octo_map(struct octo_state *o, int64_t unix_ms, struct record *r)
{
	uint32_t changed = map_state(o, unix_ms, r);

	changed |= map_job(o, r);
	changed |= map_temperatures(o, r);
	changed |= map_told(o, r);
	changed |= map_errors(o, r);
	return changed | map_firmware(o, r);
}

/* --- G-code that was sent --------------------------------------------------------------------- */

/* The number behind a letter in the words of a line, REC_NONE when it is not there. */
static int32_t
parameter(struct str words, char letter)
{
	while (words.n > 0) {
		struct str word = str_cut(&words, ' ');
		char digits[16] = "", *end;
		double d;

		if (word.n < 2 || word.n > sizeof(digits) || word.p[0] != letter)
			continue;
		memcpy(digits, word.p + 1, word.n - 1);
		d = strtod(digits, &end);
		if (end == digits || !(d >= 0 && d <= 10000))
			return REC_NONE;
		return (int32_t)d;
	}
	return REC_NONE;
}

static void
told_fan(struct octo_state *o, struct str words)
{
	int32_t fan = parameter(words, 'P'), level = parameter(words, 'S');

	if (fan != REC_NONE && fan != 0)
		return;
	if (level == REC_NONE || level > 255)
		level = 255;
	o->fan_pct = (level * 100 + 127) / 255;
}

void
octo_told(struct octo_state *o, const char *line)
{
	struct str rest = str_from(line), words = str_trim(str_cut(&rest, '*')), word;

	word = str_cut(&words, ' ');
	if (word.n > 1 && word.p[0] == 'N')
		word = str_cut(&words, ' ');
	if (str_eq(word, STR("M106")))
		told_fan(o, words);
	else if (str_eq(word, STR("M107")) && parameter(words, 'P') <= 0)
		o->fan_pct = 0;
	else if (str_eq(word, STR("M220")) && parameter(words, 'S') > 0)
		o->speed_pct = parameter(words, 'S');
}
