#include "gateway/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"

enum { THREADS = 4 };

struct resolve {
	struct resolve *next;
	void (*done)(void *ctx, const char *address);
	void *ctx;
	bool cancelled; /* the loop's alone */
	bool found;
	char host[256], address[RESOLVE_TEXT];
};

struct resolver {
	struct loop *loop;
	struct watch watch;
	int fd;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct resolve *wanted, **wanted_last, *finished;
	bool stop;
	int n_threads;
	pthread_t threads[THREADS];
};

static void
look_up(struct resolve *job)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG},
			*list = NULL;

	if (getaddrinfo(job->host, NULL, &hints, &list) == 0 && list)
		job->found = getnameinfo(list->ai_addr, list->ai_addrlen, job->address,
				 sizeof(job->address), NULL, 0, NI_NUMERICHOST) == 0;
	if (list)
		freeaddrinfo(list);
}

static void *
run(void *ctx)
{
	struct resolver *r = ctx;

	pthread_mutex_lock(&r->lock);
	while (!r->stop) {
		struct resolve *job = r->wanted;
		uint64_t one = 1;

		if (!job) {
			pthread_cond_wait(&r->work, &r->lock);
			continue;
		}
		r->wanted = job->next;
		if (!r->wanted)
			r->wanted_last = &r->wanted;
		pthread_mutex_unlock(&r->lock);
		look_up(job);
		pthread_mutex_lock(&r->lock);
		job->next = r->finished;
		r->finished = job;
		if (write(r->fd, &one, sizeof(one)) < 0)
			continue; /* it is readable already */
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

static void
on_finished(void *ctx, uint32_t events)
{
	struct resolver *r = ctx;
	struct resolve *job;
	uint64_t n;

	(void)events;
	if (read(r->fd, &n, sizeof(n)) < 0)
		return;
	pthread_mutex_lock(&r->lock);
	job = r->finished;
	r->finished = NULL;
	pthread_mutex_unlock(&r->lock);
	while (job) {
		struct resolve *next = job->next;

		if (!job->cancelled)
			job->done(job->ctx, job->found ? job->address : NULL);
		free(job);
		job = next;
	}
}

struct resolver *
resolver_new(struct loop *loop)
{
	struct resolver *r = calloc(1, sizeof(*r));

	must(r != NULL);
	r->loop = loop;
	r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	must(r->fd >= 0);
	r->wanted_last = &r->wanted;
	r->watch = (struct watch){.fn = on_finished, .ctx = r};
	must(pthread_mutex_init(&r->lock, NULL) == 0 && pthread_cond_init(&r->work, NULL) == 0);
	must(watch_set(loop, &r->watch, r->fd, EPOLLIN));
	return r;
}

static void
free_list(struct resolve *job)
{
	while (job) {
		struct resolve *next = job->next;

		free(job);
		job = next;
	}
}

void
resolver_free(struct resolver *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_broadcast(&r->work);
	pthread_mutex_unlock(&r->lock);
	for (int i = 0; i < r->n_threads; i++)
		pthread_join(r->threads[i], NULL);
	watch_stop(r->loop, &r->watch);
	close(r->fd);
	free_list(r->wanted);
	free_list(r->finished);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->work);
	free(r);
}

bool
resolve_literal(const char *host, char out[RESOLVE_TEXT])
{
	unsigned char bytes[16];

	if (strlen(host) >= RESOLVE_TEXT ||
	    (inet_pton(AF_INET, host, bytes) != 1 && inet_pton(AF_INET6, host, bytes) != 1))
		return false;
	snprintf(out, RESOLVE_TEXT, "%s", host);
	return true;
}

/* Threads start with the first names, signals blocked: those belong to the loop. */
static void
start_thread(struct resolver *r)
{
	sigset_t all, old;

	if (r->n_threads == THREADS)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&r->threads[r->n_threads], NULL, run, r) == 0)
		r->n_threads++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

struct resolve *
resolve_start(
    struct resolver *r, const char *host, void (*done)(void *ctx, const char *address), void *ctx)
{
	struct resolve *job = calloc(1, sizeof(*job));

	must(job != NULL && strlen(host) < sizeof(job->host));
	snprintf(job->host, sizeof(job->host), "%s", host);
	job->done = done;
	job->ctx = ctx;
	start_thread(r);
	pthread_mutex_lock(&r->lock);
	*r->wanted_last = job;
	r->wanted_last = &job->next;
	pthread_cond_signal(&r->work);
	pthread_mutex_unlock(&r->lock);
	return job;
}

void
resolve_cancel(struct resolve *job)
{
	job->cancelled = true;
}
