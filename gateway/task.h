/* What one printer is asked to do: commands and files, each begun once, one of each sort at a time,
 * confirmed by what the printer then shows. How it ends goes to the sink.
 *
 * Codes of failures: expired, unsupported_by_printer, printer_state_conflict, printer_busy,
 * refused, not_confirmed, outcome_unknown, file_gone, storage_unavailable, upload_failed,
 * upload_refused, no_space, not_started, start_unknown. */
#ifndef GATEWAY_TASK_H
#define GATEWAY_TASK_H

#include "gateway/session.h"

struct tasks;

struct tasks *tasks_new(struct session *s);
/* What is under way is left to whoever gets the printer next. */
void tasks_free(struct tasks *ts);

/* A new task, a predecessor's, or one known already that shall be cancelled. */
void tasks_take(struct tasks *ts, const struct work_task *w);
/* The answer to sink_ops.task_starting. */
void tasks_may_start(struct tasks *ts, struct uuid job, bool may);
/* The record or the connection has changed. */
void tasks_poke(struct tasks *ts);
/* The connection is gone, and what was under way on it. */
void tasks_cut_off(struct tasks *ts);

/* From the driver; see session.h. */
void tasks_answer(struct tasks *ts, enum answer a, const char *words);
void tasks_upload_progress(struct tasks *ts, int64_t sent);
void tasks_upload_done(struct tasks *ts, enum upload_end end, const char *words);

/* Whose job the record shows: true when it is that of a send that is under way. */
bool tasks_started(
    const struct tasks *ts, const struct record *r, struct uuid *operation, struct uuid *file);

#endif
