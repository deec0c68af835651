/* The Content-Disposition header (RFC 6266). */
#ifndef HTTP_DISPOSITION_H
#define HTTP_DISPOSITION_H

#include "base/str.h"

struct arena;

/* kind: "attachment" or "inline". The name goes along in ASCII and, for programs that know RFC
 * 8187, as it is. In the arena. */
struct str disposition(struct arena *a, struct str kind, struct str name);

#endif
