#include "courier/transfers.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum { EVENTS = 256 };

struct transfers {
	CURLM *multi;
	transfer_done done;
	int epoll_fd, stop_fd; /* stop_fd: that is watched; -1 */
	int64_t timer_ms;      /* when libcurl wants to be called, monotonic; -1: not by itself */
};

static int
set_timer(CURLM *multi, long in_ms, void *ctx)
{
	struct transfers *t = ctx;

	(void)multi;
	t->timer_ms = in_ms < 0 ? -1 : clock_mono_ms() + in_ms;
	return 0;
}

/* `known` is set once epoll has the descriptor. */
static int
set_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known)
{
	struct transfers *t = ctx;
	struct epoll_event e = {.data.fd = fd};

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(t->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	e.events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
	    (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
	if (epoll_ctl(t->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) != 0)
		return -1;
	curl_multi_assign(t->multi, fd, t);
	return 0;
}

struct transfers *
transfers_new(transfer_done done)
{
	struct transfers *t = calloc(1, sizeof(*t));

	must(t && curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
	t->done = done;
	t->stop_fd = t->epoll_fd = -1;
	t->timer_ms = -1;
	t->multi = curl_multi_init();
	t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	must(t->multi && t->epoll_fd >= 0);
	curl_multi_setopt(t->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
	curl_multi_setopt(t->multi, CURLMOPT_SOCKETDATA, t);
	curl_multi_setopt(t->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(t->multi, CURLMOPT_TIMERDATA, t);
	return t;
}

void
transfers_free(struct transfers *t)
{
	if (!t)
		return;
	curl_multi_cleanup(t->multi);
	close(t->epoll_fd);
	free(t);
	curl_global_cleanup();
}

void
transfers_add(struct transfers *t, CURL *easy, void *ctx)
{
	must(curl_easy_setopt(easy, CURLOPT_PRIVATE, ctx) == CURLE_OK);
	must(curl_multi_add_handle(t->multi, easy) == CURLM_OK);
}

void
transfers_drop(struct transfers *t, CURL *easy)
{
	curl_multi_remove_handle(t->multi, easy);
}

/* Watches stop_fd beside libcurl's. */
static void
watch_stop(struct transfers *t, int stop_fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = stop_fd};

	if (t->stop_fd == stop_fd)
		return;
	if (t->stop_fd >= 0)
		epoll_ctl(t->epoll_fd, EPOLL_CTL_DEL, t->stop_fd, NULL);
	t->stop_fd = stop_fd;
	if (stop_fd >= 0)
		must(epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, stop_fd, &e) == 0);
}

static void
settle(struct transfers *t)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(t->multi, &left)) != NULL) {
		CURL *easy = m->easy_handle;
		CURLcode code = m->data.result;
		void *ctx = NULL;

		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &ctx);
		curl_multi_remove_handle(t->multi, easy);
		t->done(ctx, easy, code);
	}
}

static int
patience(const struct transfers *t, int64_t wait_ms)
{
	int64_t left_ms = t->timer_ms < 0 ? wait_ms : t->timer_ms - clock_mono_ms();

	if (left_ms > wait_ms)
		left_ms = wait_ms;
	return left_ms < 0 ? 0 : (int)left_ms;
}

void
transfers_run(struct transfers *t, int stop_fd, int64_t wait_ms)
{
	struct epoll_event events[EVENTS];
	int n, running;

	watch_stop(t, stop_fd);
	n = epoll_wait(t->epoll_fd, events, EVENTS, patience(t, wait_ms));
	for (int i = 0; i < n; i++) {
		int what = 0;

		if (events[i].data.fd == stop_fd)
			continue;
		if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		curl_multi_socket_action(t->multi, events[i].data.fd, what, &running);
	}
	if (t->timer_ms >= 0 && clock_mono_ms() >= t->timer_ms) {
		t->timer_ms = -1;
		curl_multi_socket_action(t->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	settle(t);
}
