/* Starts the HTTP server that the gateway's clients are tested against. */
#ifndef TESTS_PEER_H
#define TESTS_PEER_H

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

struct peer {
	pid_t pid;
	int stdin_fd;
	int port, raw_port;
};

static void
peer_start(struct peer *p)
{
	int in[2], out[2];
	char line[64] = "", *end;

	must(pipe(in) == 0 && pipe(out) == 0);
	p->pid = fork();
	must(p->pid >= 0);
	if (p->pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		execl("/usr/bin/python3", "/usr/bin/python3", "tests/unit/peers/http_peer.py",
		    (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	p->stdin_fd = in[1];
	for (size_t n = 0; n < sizeof(line) - 1; n++)
		if (read(out[0], line + n, 1) != 1 || line[n] == '\n')
			break;
	close(out[0]);
	p->port = (int)strtol(line, &end, 10);
	p->raw_port = (int)strtol(end, NULL, 10);
	must(p->port > 0 && p->raw_port > 0);
}

static void
peer_stop(struct peer *p)
{
	close(p->stdin_fd);
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
}

#endif
