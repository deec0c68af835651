/* The generic cell rate algorithm: `limit` requests per window, any of them at once, then evenly
 * spaced. A bucket is one number, the theoretical arrival time (TAT). */
#ifndef NET_GCRA_H
#define NET_GCRA_H

#include <stdbool.h>
#include <stdint.h>

struct gcra {
	bool allowed;
	int64_t tat_us;    /* the bucket's new value once the request is taken */
	int64_t remaining; /* requests left at once, this one taken when allowed */
	int64_t reset_us;  /* until the bucket is full again */
	int64_t retry_us;  /* refused: until one request would be allowed */
};

/* Looks, takes nothing: to take, keep tat_us. A new bucket is 0. limit below 1 counts as 1. */
struct gcra gcra_look(int64_t tat_us, int64_t now_us, int64_t limit, int64_t window_us);

#endif
