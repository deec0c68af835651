/* The listening socket and the worker's view of its start. */
#include "proc/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/wire.h"
#include "proc/worker.h"
#include "tap.h"

static char folder[] = "/tmp/slp-listen-XXXXXX";

static const char *
in_folder(const char *name)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static void
test_opens(void)
{
	const char *path = in_folder("s");
	struct stat st;
	int fd = proc_listen_unix(path, 0660, PROC_BACKLOG);

	ok(fd >= 0, "opens");
	ok(stat(path, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 07777) == 0660,
	    "with its mode");
	ok((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0, "close-on-exec");
	ok(proc_listen_unix(path, 0660, 1) == -1 && errno == EADDRINUSE, "not twice");
	close(fd);
}

static void
test_refuses(void)
{
	char longer[200];
	int fd = open(in_folder("file"), O_CREAT | O_WRONLY, 0600);

	close(fd);
	ok(proc_listen_unix(in_folder("file"), 0660, 1) == -1 && errno == ENOTSOCK,
	    "a file is left alone");
	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	ok(proc_listen_unix(longer, 0660, 1) == -1 && errno == ENAMETOOLONG, "too long a path");
	ok(proc_listen_unix(in_folder("no/such"), 0660, 1) == -1 && errno == ENOENT,
	    "no such folder");
}

static void
test_no_worker(void)
{
	struct proc_worker w;

	unsetenv(PROC_START_VAR);
	ok(!proc_worker_boot(&w), "a process nobody supervises is no worker");
	proc_stop_install();
	ok(!proc_stop_asked(), "not asked to stop");
	kill(getpid(), SIGTERM);
	ok(proc_stop_asked(), "asked to stop");
}

static void
remove_all(void)
{
	static const char *const names[] = {"s", "s.lock", "file", "file.lock"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		unlink(in_folder(names[i]));
	rmdir(folder);
}

int
main(void)
{
	if (!mkdtemp(folder))
		return 1;
	test_opens();
	test_refuses();
	test_no_worker();
	remove_all();
	return tap_done();
}
