#include "proc/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "proc/wire.h"

static volatile sig_atomic_t stop_flag;
static int stop_listen_fd = -1, stop_null_fd = -1, stop_event_fd = -1;

/* A worker's listening descriptor becomes /dev/null: the accept that is waiting, or the next one,
 * fails with ENOTSOCK, while a read of a request that is under way goes on (SA_RESTART). No instant
 * is missed. */
static void
on_stop(int signo)
{
	const uint64_t one = 1;
	int saved = errno;
	ssize_t n;

	(void)signo;
	stop_flag = 1;
	n = write(stop_event_fd, &one, sizeof one);
	(void)n; /* full: it can be read already */
	if (stop_listen_fd >= 0)
		dup2(stop_null_fd, stop_listen_fd);
	errno = saved;
}

static void
install(int flags)
{
	struct sigaction sa = {.sa_handler = on_stop, .sa_flags = flags};

	stop_event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	must(stop_event_fd >= 0);
	sigemptyset(&sa.sa_mask);
	must(sigaction(SIGTERM, &sa, NULL) == 0 && sigaction(SIGINT, &sa, NULL) == 0);
}

bool
proc_stop_asked(void)
{
	return stop_flag != 0;
}

int
proc_stop_fd(void)
{
	return stop_event_fd;
}

void
proc_stop_install(void)
{
	install(0);
}

void
proc_harden(void)
{
	struct rlimit none = {0, 0};

	must(setrlimit(RLIMIT_CORE, &none) == 0);
	/* The leak checker of a sanitizer build must be able to trace its own process. */
#if !defined(__SANITIZE_ADDRESS__)
	must(prctl(PR_SET_DUMPABLE, 0) == 0);
#endif
}

/* "listen,ready,slot,generation,parent,since"; listen may be -1. */
static bool
parse_start(struct str text, struct proc_worker *w, pid_t *parent)
{
	int64_t v[6];

	for (size_t i = 0; i < 6; i++) {
		if (!str_to_i64(str_cut(&text, ','), &v[i]) || v[i] < (i == 0 ? -1 : 0) ||
		    (i < 5 && v[i] > INT32_MAX))
			return false;
	}
	*w = (struct proc_worker){.listen_fd = (int)v[0],
	    .ready_fd = (int)v[1],
	    .slot = (int)v[2],
	    .generation = (int)v[3],
	    .since_ms = v[5]};
	*parent = (pid_t)v[4];
	return text.n == 0;
}

bool
proc_worker_boot(struct proc_worker *w)
{
	const char *text = getenv(PROC_START_VAR);
	pid_t parent;

	if (!text)
		return false;
	must(parse_start(str_from(text), w, &parent));
	unsetenv(PROC_START_VAR);
	must((w->listen_fd < 0 || fcntl(w->listen_fd, F_SETFD, FD_CLOEXEC) == 0) &&
	    fcntl(w->ready_fd, F_SETFD, FD_CLOEXEC) == 0);
	stop_null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	must(stop_null_fd >= 0);
	stop_listen_fd = w->listen_fd;
	install(SA_RESTART);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NAME, "worker");
	must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
	if (getppid() != parent)
		_exit(0);
	return true;
}

static void
tell(int fd, char what)
{
	ssize_t n;

	do
		n = write(fd, &what, 1);
	while (n < 0 && errno == EINTR);
}

void
proc_worker_ready(int ready_fd)
{
	tell(ready_fd, PROC_SAYS_READY);
}

void
proc_worker_retire(int ready_fd)
{
	tell(ready_fd, PROC_SAYS_RETIRE);
}
