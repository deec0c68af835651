/* What happened to one printer and is to stand in its history: noted where it is seen, handed on
 * once the status that shows it was written. What is not written by a gateway that holds the lease
 * never becomes history. */
#ifndef GATEWAY_NOTES_H
#define GATEWAY_NOTES_H

#include "base/buf.h"
#include "base/uuid.h"
#include "gateway/pace.h"
#include "gateway/record_sections.h"

enum { NOTES_MOST = 32 };

enum note_kind { NOTE_CONNECTION, NOTE_STATE, NOTE_ERROR };

struct status_note {
	struct uuid id; /* makes a repeated write harmless */
	int64_t at_ms;  /* Unix time */
	enum note_kind kind;
	bool active;           /* of an error: it appeared; else it was cleared */
	const char *a, *b, *c; /* of constant tables, or NULL: see the functions below */
	char code[24];         /* of an error */
};

/* A zeroed struct has none. */
struct notes {
	struct status_note *list; /* NOTES_MOST, NULL while there are none */
	struct note_told *told; /* the errors as they were told last, REC_ERRORS_MOST; NULL: none */
	int n, n_told;
	int sending; /* the first ones, whose status is on its way to the database */
	int64_t lost;
	struct pace pace; /* a printer that changes its mind all the time does not fill the disk */
};

void notes_fini(struct notes *n);

/* reason may be NULL. */
void note_connection(struct notes *n, const char *state, const char *reason);
/* id: of the event that tells the same; outcome may be NULL. */
void note_state(
    struct notes *n, struct uuid id, const char *from, const char *to, const char *outcome);
/* Notes what appeared and what was cleared since the last call. */
void notes_errors(struct notes *n, const struct rec_errors *errors);
/* Codes divided by blanks, as a predecessor told them: they are no news. */
void notes_recall(struct notes *n, struct str codes);

/* The first `sending` have been handed on. */
void notes_sent(struct notes *n);

/* Appends one as a line of COPY's text format: org_id, printer_id, at, id, kind, detail. */
void note_line(struct buf *b, struct uuid org, struct uuid printer, const struct status_note *n);

#endif
