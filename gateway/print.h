/* The prints of one printer, as its states tell them: whoever started them. */
#ifndef GATEWAY_PRINT_H
#define GATEWAY_PRINT_H

#include "gateway/status.h"

/* Who asked for the job that the record shows; zero ids: somebody at the printer. */
struct print_origin {
	struct uuid operation, file;
};

/* The printer's state goes to `to`: begins a print, ends it, or goes on with it. */
void print_follow(struct status *s, enum printer_state to, enum job_outcome outcome,
    const struct print_origin *origin);
/* With each report: after a time without any (print_unsure) it may be at another job. */
void print_verify(struct status *s);
/* The job's name may come some reports after its state. */
void print_refine(struct status *s);
/* Of the print that it was at before this process. */
void print_recall(struct status *s, struct uuid id, struct str name, int64_t started_ms);

const char *print_state_name(enum print_state s);
/* Appends the array of prints to be written: the first n. */
void print_rows_json(struct buf *b, const struct status *s, int n);
/* The first n were written. */
void print_written(struct status *s, int n);

#endif
