/* What passes between a supervisor and its workers; nobody else needs it. */
#ifndef PROC_WIRE_H
#define PROC_WIRE_H

/* Environment of a worker: "listen_fd,ready_fd,slot,generation,supervisor's pid,its start
 * (monotonic ms)". */
#define PROC_START_VAR "SOLOPRINT_WORKER_START"

/* Bytes a worker writes to its ready pipe. */
enum proc_says { PROC_SAYS_READY = '+', PROC_SAYS_RETIRE = '-' };

#endif
