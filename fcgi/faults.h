/* Members of a body that the database refuses: rows of (pointer, code, message). */
#ifndef FCGI_FAULTS_H
#define FCGI_FAULTS_H

#include "query.h"

/* After the run: notes every row as a violation. NULL when there is none, err_validation_failed,
 * or the catalogue's entry for the first code when it has one. */
const struct err *faults_found(struct req *r, const struct query *q);

#endif
