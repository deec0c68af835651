/* One request from route to staged reply, in the order of precedence that the contract promises:
 * 404/405 of the route, 401, 429, 403, 400/415/422, 404 of the object, 409/412. */
#ifndef FCGI_SERVE_H
#define FCGI_SERVE_H

#include "req.h"

/* Always stages a reply. */
void serve(struct req *r);

#endif
