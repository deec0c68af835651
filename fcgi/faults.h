/* Members of a body that are refused for more than their form: by the database, in rows of
 * (pointer, code, message), and URLs by the rules for those that we are to fetch from or send to.
 */
#ifndef FCGI_FAULTS_H
#define FCGI_FAULTS_H

#include "net/fetch.h"
#include "query.h"

/* After the run: notes every row as a violation. NULL when there is none, err_validation_failed,
 * or the catalogue's entry for the first code when it has one. */
const struct err *faults_found(struct req *r, const struct query *q);

/* What can be said of a URL without asking a network. False: noted as a violation of the member at
 * `pointer`. The strings of *out are in the request's arena. */
bool url_allowed(struct req *r, struct str pointer, struct str url, struct fetch_url *out);

#endif
