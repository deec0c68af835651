/* The only place that reads time. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#include "str.h"

/* Monotonic, for timeouts and intervals. */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
/* Wall clock, Unix time. */
int64_t clock_unix_ms(void);
int64_t clock_unix_s(void);
/* RFC 3339 in UTC with milliseconds, "2026-11-20T20:24:20.123Z". */
/* The same into a caller's buffer, NUL-terminated. */
void clock_rfc3339_to(char out[40], int64_t unix_ms);
struct str clock_rfc3339(struct arena *a, int64_t unix_ms);

#endif
