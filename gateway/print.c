#include "gateway/print.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { NAMING_MS = 60000 };

static const char *const states[] = {"running", "completed", "cancelled", "failed", "unknown"};

const char *
print_state_name(enum print_state s)
{
	return states[s];
}

/* Queues the print as it is now; what is on its way already stays. */
static void
queue(struct status *s)
{
	int at = s->n_prints_sending;

	while (at < s->n_prints && !uuid_eq(s->prints[at].id, s->print.id))
		at++;
	if (at == STATUS_PRINTS) {
		log_warn("a print was given up", LOG_Z("why", "too many wait to be written"));
		at = STATUS_PRINTS - 1;
	}
	s->prints[at] = s->print;
	if (at >= s->n_prints)
		s->n_prints = at + 1;
	s->changed |= REC_PRINT;
}

static void
name_it(struct status *s)
{
	const struct rec_job *job = &s->record.job;

	if (!job->present)
		return;
	memcpy(s->print.name, job->name, sizeof(s->print.name));
	memcpy(s->print.filename, job->file, sizeof(s->print.filename));
}

static void
begin(struct status *s, const struct print_origin *origin)
{
	memset(&s->print, 0, sizeof(s->print));
	s->print.id = uuid_v7();
	s->print.operation = origin->operation;
	s->print.file = origin->file;
	s->print.started_ms = s->record.job.started_ms ? s->record.job.started_ms : clock_unix_ms();
	s->print.progress = REC_NONE;
	s->at_print = true;
	s->print_unsure = false;
	name_it(s);
	queue(s);
}

static void
end(struct status *s, enum print_state state)
{
	s->print.state = state;
	s->print.ended_ms = clock_unix_ms();
	s->print.progress = state == PRINT_COMPLETED ? 100 : s->record.job.progress;
	s->at_print = false;
	queue(s);
}

static enum print_state
state_of(enum job_outcome o)
{
	static const enum print_state of[] = {[OUTCOME_NONE] = PRINT_UNKNOWN,
	    [OUTCOME_COMPLETED] = PRINT_COMPLETED,
	    [OUTCOME_CANCELLED] = PRINT_CANCELLED,
	    [OUTCOME_FAILED] = PRINT_FAILED};

	return of[o];
}

void
print_verify(struct status *s)
{
	const struct print_origin nobody = {{{0}}, {{0}}};
	const char *name = s->record.job.name;

	if (!s->print_unsure || !s->at_print || !printer_state_busy(s->record.state) || !name[0])
		return;
	s->print_unsure = false;
	if (!s->print.name[0] || strcmp(s->print.name, name) == 0)
		return;
	end(s, PRINT_UNKNOWN);
	begin(s, &nobody);
}

void
print_follow(struct status *s, enum printer_state to, enum job_outcome outcome,
    const struct print_origin *origin)
{
	if (to == PRINTER_OFFLINE)
		return;
	if (!printer_state_busy(to)) {
		if (s->at_print)
			end(s, state_of(outcome));
		return;
	}
	print_verify(s);
	if (!s->at_print)
		begin(s, origin);
}

void
print_refine(struct status *s)
{
	const struct rec_job *job = &s->record.job;

	if (!s->at_print || s->print_unsure || !job->present || !job->name[0] ||
	    clock_unix_ms() - s->print.started_ms > NAMING_MS ||
	    strcmp(job->name, s->print.name) == 0)
		return;
	name_it(s);
	queue(s);
}

void
print_recall(struct status *s, struct uuid id, struct str name, int64_t started_ms)
{
	size_t n = name.n < sizeof(s->print.name) ? name.n : sizeof(s->print.name) - 1;

	memset(&s->print, 0, sizeof(s->print));
	s->print.id = id;
	s->print.progress = REC_NONE;
	s->print.started_ms = started_ms;
	if (n)
		memcpy(s->print.name, name.p, n);
	s->at_print = s->print_unsure = true;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void
put_text(struct buf *b, const char *name, const char *z)
{
	buf_fmt(b, ",\"%s\":", name);
	if (z[0])
		buf_json_str(b, str_from(z));
	else
		buf_str(b, STR("null"));
}

static void
put_id(struct buf *b, const char *name, struct uuid id)
{
	static const struct uuid none;
	char text[UUID_TEXT_LEN + 1] = "";

	if (!uuid_eq(id, none))
		uuid_text(id, text);
	put_text(b, name, text);
}

static void
put_print(struct buf *b, const struct status_print *p)
{
	buf_fmt(
	    b, "{\"state\":\"%s\",\"started\":%lld", states[p->state], (long long)p->started_ms);
	if (p->ended_ms)
		buf_fmt(b, ",\"ended\":%lld", (long long)p->ended_ms);
	if (p->progress != REC_NONE && p->progress >= 0 && p->progress <= 100)
		buf_fmt(b, ",\"progress\":%d", p->progress);
	put_id(b, "id", p->id);
	put_id(b, "operation", p->operation);
	put_id(b, "file", p->file);
	put_text(b, "name", p->name);
	put_text(b, "filename", p->filename);
	buf_char(b, '}');
}

void
print_rows_json(struct buf *b, const struct status *s, int n)
{
	buf_char(b, '[');
	for (int i = 0; i < n; i++) {
		if (i)
			buf_char(b, ',');
		put_print(b, &s->prints[i]);
	}
	buf_char(b, ']');
}

void
print_written(struct status *s, int n)
{
	memmove(s->prints, s->prints + n, (size_t)(s->n_prints - n) * sizeof(s->prints[0]));
	s->n_prints -= n;
}
