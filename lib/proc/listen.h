/* The listening socket of a pool. Opened once by the supervisor; workers inherit it. */
#ifndef PROC_LISTEN_H
#define PROC_LISTEN_H

#include <stdbool.h>
#include <sys/types.h>

/* Backlog of every pool: nginx may open this many connections before a worker accepts one. */
#define PROC_BACKLOG 511

/* Opens a unix stream socket at path with exactly this mode, close-on-exec. A lock on
 * "<path>.lock", kept until the process ends, says that the path is in use; a socket that nobody
 * listens on any more is replaced atomically. Returns the descriptor, or -1 with errno: EADDRINUSE
 * when somebody listens there, ENOTSOCK when path is something else than a socket, ENAMETOOLONG
 * above 107 bytes. */
int proc_listen_unix(const char *path, mode_t mode, int backlog);

#endif
