/* Content negotiation as far as the contract has any: is one media type asked for by name? */
#ifndef HTTP_ACCEPT_TYPE_H
#define HTTP_ACCEPT_TYPE_H

#include "base/str.h"

/* accept: an Accept header's value (RFC 9110 section 12.5.1). True when `wanted` is named, with a
 * quality above 0 and at least that of `usual`; wildcards do not name anything. */
bool accept_names(struct str accept, struct str wanted, struct str usual);
/* Is a Content-Type value this media type, parameters aside? */
bool content_type_is(struct str content_type, struct str wanted);

#endif
