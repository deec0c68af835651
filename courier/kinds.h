/* What the table of kinds.c names. */
#ifndef COURIER_KINDS_H
#define COURIER_KINDS_H

#include "courier/job.h"

/* file.import (imports.c) */
enum job_end import_run(struct job *j);
void import_given_up(struct job *j);

/* file.analyze (analyze.c) */
enum job_end analyze_run(struct job *j);
void analyze_given_up(struct job *j);

/* file.finalize {file_id} (finalize.c) */
enum job_end finalize_run(struct job *j);
void finalize_given_up(struct job *j);

/* file.expire {file_id, location} and file.purge {file_id} (retention.c) */
enum job_end expire_run(struct job *j);
enum job_end purge_run(struct job *j);
/* Removes what arrived of an upload; what does not work out says so with job_error. */
enum job_end staged_drop(struct job *j, struct uuid file, bool remote);

#endif
