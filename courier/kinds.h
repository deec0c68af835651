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

#endif
