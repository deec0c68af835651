/* One epoll loop per process: file descriptors and timers. Not for use from other threads. */
#ifndef GATEWAY_LOOP_H
#define GATEWAY_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;

/* A descriptor that is waited for. The owner keeps the struct; it may go away once unwatched. */
struct watch {
	void (*fn)(void *ctx, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLHUP … */
	void *ctx;
	int fd;
	uint32_t events;
	bool on;
};

/* One-shot. The owner keeps the struct; it may go away once stopped. */
struct timer {
	void (*fn)(void *ctx);
	void *ctx;
	int64_t at_ms;
	size_t pos; /* place in the heap + 1; 0: not set */
};

struct loop *loop_new(void);
void loop_free(struct loop *l);
/* Runs until loop_stop is called from within. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* Monotonic milliseconds, read once per turn. */
int64_t loop_now(const struct loop *l);

/* Waits for `events` on fd from now on; a second call changes them. False when the kernel refuses.
 */
bool watch_set(struct loop *l, struct watch *w, int fd, uint32_t events);
/* Allowed within callbacks: events of this turn are dropped. Call it before the descriptor is
 * closed. */
void watch_stop(struct loop *l, struct watch *w);

/* Fires once, `in_ms` from now; a second call moves it. */
void timer_set(struct loop *l, struct timer *t, int64_t in_ms);
void timer_stop(struct loop *l, struct timer *t);
bool timer_is_set(const struct timer *t);

#endif
