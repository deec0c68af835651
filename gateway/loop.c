#include "gateway/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum { TURN_EVENTS = 256 };

struct loop {
	int epfd;
	bool stop;
	int64_t now_ms;
	struct timer **heap;
	size_t n_timers, room;
	struct epoll_event turn[TURN_EVENTS];
	int n_turn, at_turn;
};

struct loop *
loop_new(void)
{
	struct loop *l = calloc(1, sizeof(*l));

	must(l != NULL);
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	must(l->epfd >= 0);
	l->now_ms = clock_mono_ms();
	return l;
}

void
loop_free(struct loop *l)
{
	if (!l)
		return;
	close(l->epfd);
	free(l->heap);
	free(l);
}

int64_t
loop_now(const struct loop *l)
{
	return l->now_ms;
}

void
loop_stop(struct loop *l)
{
	l->stop = true;
}

/* --- descriptors ---------------------------------------------------------------------------- */

bool
watch_set(struct loop *l, struct watch *w, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};
	int op = w->on ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (w->on && w->fd == fd && w->events == events)
		return true;
	if (w->on && w->fd != fd) {
		watch_stop(l, w);
		op = EPOLL_CTL_ADD;
	}
	if (epoll_ctl(l->epfd, op, fd, &ev) != 0)
		return false;
	w->fd = fd;
	w->events = events;
	w->on = true;
	return true;
}

void
watch_stop(struct loop *l, struct watch *w)
{
	if (!w->on)
		return;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, w->fd, NULL);
	w->on = false;
	for (int i = l->at_turn; i < l->n_turn; i++)
		if (l->turn[i].data.ptr == w)
			l->turn[i].data.ptr = NULL;
}

/* --- timers: a binary heap by time ---------------------------------------------------------- */

static void
heap_put(struct loop *l, size_t i, struct timer *t)
{
	l->heap[i] = t;
	t->pos = i + 1;
}

static void
heap_up(struct loop *l, size_t i)
{
	struct timer *t = l->heap[i];

	while (i > 0 && l->heap[(i - 1) / 2]->at_ms > t->at_ms) {
		heap_put(l, i, l->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(l, i, t);
}

static void
heap_down(struct loop *l, size_t i)
{
	struct timer *t = l->heap[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= l->n_timers)
			break;
		if (child + 1 < l->n_timers && l->heap[child + 1]->at_ms < l->heap[child]->at_ms)
			child++;
		if (l->heap[child]->at_ms >= t->at_ms)
			break;
		heap_put(l, i, l->heap[child]);
		i = child;
	}
	heap_put(l, i, t);
}

static void
heap_room(struct loop *l)
{
	if (l->n_timers < l->room)
		return;
	l->room = l->room ? l->room * 2 : 64;
	l->heap = realloc(l->heap, l->room * sizeof(*l->heap));
	must(l->heap != NULL);
}

void
timer_stop(struct loop *l, struct timer *t)
{
	size_t i = t->pos;
	struct timer *last;

	if (i == 0)
		return;
	t->pos = 0;
	last = l->heap[--l->n_timers];
	if (last == t)
		return;
	heap_put(l, --i, last);
	heap_up(l, i);
	heap_down(l, last->pos - 1);
}

void
timer_set(struct loop *l, struct timer *t, int64_t in_ms)
{
	timer_stop(l, t);
	t->at_ms = l->now_ms + (in_ms > 0 ? in_ms : 1); /* never within the running turn */
	heap_room(l);
	heap_put(l, l->n_timers++, t);
	heap_up(l, t->pos - 1);
}

bool
timer_is_set(const struct timer *t)
{
	return t->pos != 0;
}

static void
run_timers(struct loop *l)
{
	while (l->n_timers > 0 && l->heap[0]->at_ms <= l->now_ms && !l->stop) {
		struct timer *t = l->heap[0];

		timer_stop(l, t);
		t->fn(t->ctx);
	}
}

static int
wait_ms(const struct loop *l)
{
	int64_t left;

	if (l->n_timers == 0)
		return 60000;
	left = l->heap[0]->at_ms - l->now_ms;
	return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

static void
run_events(struct loop *l)
{
	for (l->at_turn = 0; l->at_turn < l->n_turn && !l->stop; l->at_turn++) {
		struct epoll_event *ev = &l->turn[l->at_turn];
		struct watch *w = ev->data.ptr;

		if (w)
			w->fn(w->ctx, ev->events);
	}
	l->n_turn = l->at_turn = 0;
}

void
loop_run(struct loop *l)
{
	l->stop = false;
	while (!l->stop) {
		int n = epoll_wait(l->epfd, l->turn, TURN_EVENTS, wait_ms(l));

		must(n >= 0 || errno == EINTR);
		l->n_turn = n > 0 ? n : 0;
		l->now_ms = clock_mono_ms();
		run_events(l);
		l->now_ms = clock_mono_ms();
		run_timers(l);
	}
}
