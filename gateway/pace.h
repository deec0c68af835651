/* So many at once, then one every so often: a leaky bucket that is one number. A zeroed struct is a
 * full one. */
#ifndef GATEWAY_PACE_H
#define GATEWAY_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
	int64_t next_us; /* monotonic: when the next one is due */
};

struct pace_limits {
	int64_t gap_us, burst; /* burst: how many may come together after a rest, at least 1 */
};

/* Takes a place and says how many microseconds from now it is; 0: now. Places are taken in order.
 */
int64_t pace_take(struct pace *p, const struct pace_limits *l, int64_t now_us);
/* Takes one only if it is now. */
bool pace_try(struct pace *p, const struct pace_limits *l, int64_t now_us);

#endif
