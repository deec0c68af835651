/* A pool of workers that do what the test tells them: one line in, one line out, per connection.
 *   pool_stub SOCKET WORKERS DRAIN_MS
 * Lines: "ping"; "slow MS"; "die"; "retire"; "deaf" (ignores SIGTERM from now on).
 * Every answer is "<pid> <generation> <size of the program>". STUB_FAIL_FILE: workers exit before
 * they are ready while that file exists. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "proc/listen.h"
#include "proc/supervisor.h"
#include "proc/worker.h"

static int64_t
number(const char *text)
{
	struct str rest = str_from(text);
	int64_t v = 0;

	must(str_to_i64(str_cut(&rest, '\n'), &v));
	return v;
}

static void
pause_ms(int64_t ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000};

	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

static void
obey(const struct proc_worker *w, const char *line)
{
	if (strncmp(line, "slow ", 5) == 0)
		pause_ms(number(line + 5));
	else if (strncmp(line, "die", 3) == 0)
		_exit(3);
	else if (strncmp(line, "retire", 6) == 0)
		proc_worker_retire(w->ready_fd);
	else if (strncmp(line, "deaf", 4) == 0)
		signal(SIGTERM, SIG_IGN);
}

static void
serve(const struct proc_worker *w, int fd)
{
	char line[128] = "";
	struct stat st = {0};
	ssize_t n = recv(fd, line, sizeof line - 1, 0);

	if (n > 0)
		obey(w, line);
	stat("/proc/self/exe", &st);
	dprintf(fd, "%d %d %lld\n", (int)getpid(), w->generation, (long long)st.st_size);
	close(fd);
}

static int
work(const struct proc_worker *w)
{
	const char *fail = getenv("STUB_FAIL_FILE");

	if (fail && access(fail, F_OK) == 0)
		return 3;
	proc_worker_ready(w->ready_fd);
	while (!proc_stop_asked()) {
		int fd = accept(w->listen_fd, NULL, NULL);

		if (fd >= 0)
			serve(w, fd);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	struct proc_worker w;
	struct supervisor_config cfg = {.name = "stub", .program = argv[0], .start_ms = 1000};

	log_init("stub", LOG_DEBUG);
	proc_harden();
	if (proc_worker_boot(&w))
		return work(&w);
	must(argc == 4);
	cfg.workers = (int)number(argv[2]);
	cfg.drain_ms = number(argv[3]);
	cfg.listen_fd = proc_listen_unix(argv[1], 0660, PROC_BACKLOG);
	if (cfg.listen_fd < 0) {
		log_error("cannot listen", LOG_Z("reason", strerror(errno)));
		return 1;
	}
	return supervisor_run(&cfg);
}
