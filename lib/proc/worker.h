/* The worker's side of the supervisor: how a process learns that it is one, and what it tells. */
#ifndef PROC_WORKER_H
#define PROC_WORKER_H

#include <stdbool.h>
#include <stdint.h>

struct proc_worker {
	int listen_fd;    /* shared by all workers of the pool; blocking; -1: none */
	int ready_fd;     /* for proc_worker_ready and proc_worker_retire */
	int slot;         /* 0 … workers-1 */
	int generation;   /* counts reloads, from 1 */
	int64_t since_ms; /* when the supervisor started, monotonic */
};

/* True when a supervisor started this process; then *w is filled, SIGTERM sets the flag below and
 * the process ends with its supervisor. Call it in main before opening anything. */
bool proc_worker_boot(struct proc_worker *w);

/* Connections are made, requests may come: start-up counts from here. Call it once. A database that
 * is down is no reason to wait: a worker answers 503 until it is back. */
void proc_worker_ready(int ready_fd);

/* The request limit is reached: asks for a replacement. Go on serving; SIGTERM comes when the
 * replacement is ready. */
void proc_worker_retire(int ready_fd);

/* SIGTERM or SIGINT has come: finish the request at hand and exit 0. In a worker, accept() on
 * listen_fd then fails with ENOTSOCK, also when it was waiting; other system calls go on. libfcgi
 * keeps these handlers when installed before FCGX_Init; FCGX_Accept_r then answers below 0. */
bool proc_stop_asked(void);
/* A descriptor that can be read from then on, to wait on together with others; never read it. -1
 * before proc_worker_boot or proc_stop_install. */
int proc_stop_fd(void);
/* For programs that are no workers: the same flag; system calls that wait return EINTR. */
void proc_stop_install(void);

/* No core files, no ptrace by the same user: memory holds credentials. */
void proc_harden(void);

#endif
