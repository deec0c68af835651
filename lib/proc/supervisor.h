/* A prefork supervisor: keeps a number of workers running, on one listening socket if there is one.
 *
 * A worker is a fresh execution of the same program (fork and exec), so that each one has its own
 * address layout and that a reload picks up a new program; the supervisor opens the program once
 * per generation, so one generation never mixes two of them. main() must therefore begin with
 *
 *	if (proc_worker_boot(&w))
 *		return worker_main(…, w.listen_fd, w.ready_fd);
 *
 * SIGHUP: reload. A new generation starts; once all of it is ready the old one gets SIGTERM and
 * finishes its requests. When the new one does not come up, the old one stays.
 * SIGTERM, SIGINT: stop. Workers get SIGTERM, after drain_ms SIGKILL.
 *
 * A worker that dies is replaced at once. When workers keep dying before they are ready, starts
 * are spaced from 100 ms, doubling, to 5 s; when they keep dying soon after, 100 ms.
 * Speaks sd_notify (READY, RELOADING, STOPPING, STATUS) when NOTIFY_SOCKET is set. */
#ifndef PROC_SUPERVISOR_H
#define PROC_SUPERVISOR_H

#include <stdint.h>

struct supervisor_config {
	const char *name;    /* of the pool, for log lines and process titles */
	const char *program; /* argv[0]; without a '/' the running program's own path is taken */
	int listen_fd;       /* borrowed; -1: the workers listen on nothing */
	int workers;         /* 1-256 */
	int64_t drain_ms;    /* how long a worker may take to finish after SIGTERM */
	int64_t start_ms;    /* a worker that is not ready by then is killed; 0: 10 s */
};

/* Returns the exit status of the process: 0 after a clean stop. */
int supervisor_run(const struct supervisor_config *cfg);

#endif
