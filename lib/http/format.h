/* The text formats and regular expressions that the contract names. */
#ifndef HTTP_FORMAT_H
#define HTTP_FORMAT_H

#include "base/str.h"

struct pattern;

/* format: uuid, date-time (RFC 3339; years from 1, UTC offsets below 16 h, as Postgres takes them),
 * hostname (RFC 1123), ipv4, ipv6, host (any of the three), cidr (an address or a network without
 * host bits), uri (RFC 3986, absolute). s is UTF-8. */
bool format_ok(const char *format, struct str s);
/* Does p match anywhere in s? */
bool pattern_ok(struct pattern *p, struct str s);
/* Code points of well-formed UTF-8. */
size_t text_length(struct str s);

#endif
