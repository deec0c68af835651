#include "gateway/notes.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/record.h"

/* A row a second in the long run, 64 at once. */
static const struct pace_limits limits = {1000000, 64};

struct note_told {
	char code[24];
	const char *severity;
};

void
notes_fini(struct notes *n)
{
	free(n->list);
	free(n->told);
	n->list = NULL;
	n->told = NULL;
	n->n = n->n_told = n->sending = 0;
}

/* The place of a new note; NULL when there is none to be had. Those on their way stay. */
static struct status_note *
append(struct notes *n, enum note_kind kind)
{
	struct status_note *new;

	if (!pace_try(&n->pace, &limits, clock_mono_us()) || n->sending == NOTES_MOST) {
		n->lost++;
		return NULL;
	}
	if (!n->list) {
		n->list = calloc(NOTES_MOST, sizeof(*n->list));
		must(n->list != NULL);
	}
	if (n->n == NOTES_MOST) {
		n->lost++;
		n->n--;
		memmove(n->list + n->sending, n->list + n->sending + 1,
		    (size_t)(n->n - n->sending) * sizeof(*n->list));
	}
	new = &n->list[n->n++];
	*new = (struct status_note){.id = uuid_v7(), .at_ms = clock_unix_ms(), .kind = kind};
	return new;
}

void
note_connection(struct notes *n, const char *state, const char *reason)
{
	struct status_note *new = append(n, NOTE_CONNECTION);

	if (!new)
		return;
	new->a = state;
	new->b = reason;
}

void
note_state(struct notes *n, struct uuid id, const char *from, const char *to, const char *outcome)
{
	struct status_note *new = append(n, NOTE_STATE);

	if (!new)
		return;
	new->id = id;
	new->a = from;
	new->b = to;
	new->c = outcome;
}

/* --- errors ----------------------------------------------------------------------------------- */

static void
note_error(struct notes *n, const char *code, const char *severity, bool active)
{
	struct status_note *new = append(n, NOTE_ERROR);

	if (!new)
		return;
	new->a = severity;
	new->active = active;
	memcpy(new->code, code, sizeof(new->code));
}

static bool
is_told(const struct notes *n, const char *code)
{
	for (int i = 0; i < n->n_told; i++)
		if (strcmp(n->told[i].code, code) == 0)
			return true;
	return false;
}

static bool
is_there(const struct rec_errors *errors, const char *code)
{
	for (int i = 0; i < errors->n; i++)
		if (strcmp(errors->e[i].code, code) == 0)
			return true;
	return false;
}

static void
remember(struct notes *n, const char *code, const char *severity)
{
	struct note_told *t;

	if (!n->told) {
		n->told = calloc(REC_ERRORS_MOST, sizeof(*n->told));
		must(n->told != NULL);
	}
	if (n->n_told == REC_ERRORS_MOST)
		return;
	t = &n->told[n->n_told++];
	memcpy(t->code, code, sizeof(t->code));
	t->severity = severity;
}

void
notes_errors(struct notes *n, const struct rec_errors *errors)
{
	if (errors->n == 0 && n->n_told == 0)
		return;
	for (int i = 0; i < n->n_told; i++) {
		if (is_there(errors, n->told[i].code))
			continue;
		note_error(n, n->told[i].code, n->told[i].severity, false);
		n->told[i--] = n->told[--n->n_told];
	}
	for (int i = 0; i < errors->n; i++) {
		const struct rec_error *e = &errors->e[i];

		if (is_told(n, e->code))
			continue;
		note_error(n, e->code, severity_name(e->severity), true);
		remember(n, e->code, severity_name(e->severity));
	}
}

void
notes_recall(struct notes *n, struct str codes)
{
	char code[24];

	while (codes.n > 0) {
		struct str one = str_cut(&codes, ' ');

		if (one.n == 0 || one.n >= sizeof(code))
			continue;
		memset(code, 0, sizeof(code));
		memcpy(code, one.p, one.n);
		remember(n, code, NULL);
	}
}

/* --- handing on ------------------------------------------------------------------------------- */

void
notes_sent(struct notes *n)
{
	n->n -= n->sending;
	if (n->n > 0)
		memmove(n->list, n->list + n->sending, (size_t)n->n * sizeof(*n->list));
	n->sending = 0;
	if (n->n > 0)
		return;
	free(n->list);
	n->list = NULL;
}

static void
put_word(struct buf *b, const char *key, const char *word)
{
	buf_fmt(b, "\"%s\":", key);
	if (word)
		buf_json_str(b, str_from(word));
	else
		buf_str(b, STR("null"));
}

static void
put_detail(struct buf *b, const struct status_note *n)
{
	static const char *const names[][3] = {
	    [NOTE_CONNECTION] = {"state", "reason", NULL},
	    [NOTE_STATE] = {"from", "to", "outcome"},
	    [NOTE_ERROR] = {"severity", NULL, NULL},
	};
	const char *const words[] = {n->a, n->b, n->c};

	buf_char(b, '{');
	for (int i = 0; i < 3 && names[n->kind][i]; i++) {
		if (i)
			buf_char(b, ',');
		put_word(b, names[n->kind][i], words[i]);
	}
	if (n->kind == NOTE_ERROR) {
		buf_char(b, ',');
		put_word(b, "code", n->code);
		buf_fmt(b, ",\"active\":%s", n->active ? "true" : "false");
	}
	buf_char(b, '}');
}

/* In COPY's text format a backslash escapes; JSON has no other character that means something
 * there. */
static void
escape(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\')
			buf_char(b, '\\');
		buf_char(b, s.p[i]);
	}
}

void
note_line(struct buf *b, struct uuid org, struct uuid printer, const struct status_note *n)
{
	static const char *const kinds[] = {"connection", "state", "error"};
	char org_text[UUID_TEXT_LEN + 1], printer_text[UUID_TEXT_LEN + 1], id[UUID_TEXT_LEN + 1];
	char at[40];
	struct buf detail;

	uuid_text(org, org_text);
	uuid_text(printer, printer_text);
	uuid_text(n->id, id);
	clock_rfc3339_to(at, n->at_ms);
	buf_fmt(b, "%s\t%s\t%s\t%s\t%s\t", org_text, printer_text, at, id, kinds[n->kind]);
	buf_init(&detail, 1024);
	put_detail(&detail, n);
	must(!detail.overflow);
	escape(b, buf_view(&detail));
	buf_fini(&detail);
	buf_char(b, '\n');
}
