#include "proc/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool
address(struct sockaddr_un *sa, const char *path, const char *suffix)
{
	int n = snprintf(sa->sun_path, sizeof sa->sun_path, "%s%s", path, suffix);

	sa->sun_family = AF_UNIX;
	if (n > 0 && (size_t)n < sizeof sa->sun_path)
		return true;
	errno = ENAMETOOLONG;
	return false;
}

/* The lock's descriptor stays open on purpose: the kernel lets go of it with the process. */
static bool
lock_path(const char *path)
{
	char name[sizeof((struct sockaddr_un *)0)->sun_path + 8];
	int n = snprintf(name, sizeof name, "%s.lock", path);
	int fd;

	if (n < 0 || (size_t)n >= sizeof name) {
		errno = ENAMETOOLONG;
		return false;
	}
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return false;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	close(fd);
	errno = EADDRINUSE;
	return false;
}

/* The lock is ours, yet a program that knows nothing of it may listen there. */
static bool
path_is_free(const char *path, const struct sockaddr_un *sa)
{
	struct stat st;
	int fd, rc;

	if (lstat(path, &st) != 0)
		return errno == ENOENT;
	if (!S_ISSOCK(st.st_mode)) {
		errno = ENOTSOCK;
		return false;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	rc = connect(fd, (const struct sockaddr *)sa, sizeof *sa);
	if (rc != 0 && errno == ECONNREFUSED) {
		close(fd);
		return true;
	}
	close(fd);
	errno = EADDRINUSE;
	return false;
}

/* Bound under a passing name and renamed, so that path never has another mode nor refuses. */
static int
open_at(const struct sockaddr_un *passing, const char *path, mode_t mode, int backlog)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int saved;

	if (fd < 0)
		return -1;
	unlink(passing->sun_path);
	if (bind(fd, (const struct sockaddr *)passing, sizeof *passing) == 0 &&
	    chmod(passing->sun_path, mode) == 0 && listen(fd, backlog) == 0 &&
	    rename(passing->sun_path, path) == 0)
		return fd;
	saved = errno;
	unlink(passing->sun_path);
	close(fd);
	errno = saved;
	return -1;
}

int
proc_listen_unix(const char *path, mode_t mode, int backlog)
{
	struct sockaddr_un sa, passing;

	if (!address(&sa, path, "") || !address(&passing, path, ".new"))
		return -1;
	if (!lock_path(path) || !path_is_free(path, &sa))
		return -1;
	return open_at(&passing, path, mode, backlog);
}
