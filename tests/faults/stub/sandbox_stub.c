/* Enters scan/sandbox.c and then tries to get out of it.
 *   sandbox_stub ATTEMPT
 * Exit status 0: it was possible; 1: refused; a signal: killed. "sandbox_stub list" names them. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "scan/sandbox.h"

enum { FILE_BYTES = 1 << 20, CPU_S = 1 };

/* Had before the sandbox. */
static int tcp, file_fd;

static bool
reads_and_writes(void)
{
	char c = 'x';
	void *p = malloc(1 << 20);

	return p && clock_mono_ms() > 0 && pwrite(file_fd, &c, 1, 0) == 1 &&
	    pread(file_fd, &c, 1, 0) == 1 && lseek(file_fd, 0, SEEK_END) == 1;
}

static bool
tries_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) >= 0;
}

static bool
tries_unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
}

static bool
tries_connect(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return connect(tcp, (struct sockaddr *)&to, sizeof(to)) == 0 || errno == ECONNREFUSED;
}

static bool
tries_send(void)
{
	return sendto(tcp, "x", 1, MSG_NOSIGNAL, NULL, 0) >= 0 || errno == EPIPE ||
	    errno == ENOTCONN;
}

static bool
tries_open(void)
{
	return open("/etc/passwd", O_RDONLY) >= 0;
}

static bool
tries_old_open(void)
{
	return syscall(SYS_open, "/etc/passwd", O_RDONLY) >= 0;
}

static bool
tries_openat2(void)
{
	uint64_t how[3] = {O_RDONLY};

	return syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", how, sizeof(how)) >= 0;
}

static bool
tries_create(void)
{
	return open("/tmp/slp-sandbox-was-here", O_CREAT | O_WRONLY, 0600) >= 0;
}

static bool
tries_unlink(void)
{
	return unlink("/tmp/slp-no-such-file") == 0 || errno == ENOENT;
}

static bool
tries_stat(void)
{
	struct stat st;

	return stat("/etc/passwd", &st) == 0;
}

static bool
tries_execve(void)
{
	char *const argv[] = {(char[]){"/bin/true"}, NULL};

	execve(argv[0], argv, argv + 1);
	return false;
}

static bool
tries_fork(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid > 0;
}

static bool
tries_vfork(void)
{
	return syscall(SYS_vfork) >= 0;
}

static bool
tries_clone3(void)
{
	uint64_t args[11] = {0};

	return syscall(SYS_clone3, args, sizeof(args)) >= 0;
}

static bool
tries_ptrace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

static bool
tries_peeking(void)
{
	return syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0) >= 0;
}

static bool
tries_kill(void)
{
	return kill(getppid(), 0) == 0;
}

static bool
tries_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		   0) != MAP_FAILED;
}

static bool
tries_late_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p != MAP_FAILED && mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0;
}

static bool
tries_limits(void)
{
	return setrlimit(RLIMIT_NOFILE, &(struct rlimit){99, 99}) == 0;
}

static bool
tries_dup(void)
{
	return dup(file_fd) >= 0;
}

static bool
tries_memfd(void)
{
	return memfd_create("x", 0) >= 0;
}

static bool
tries_io_uring(void)
{
	struct io_uring_params p = {0};

	return syscall(SYS_io_uring_setup, 1, &p) >= 0;
}

static bool
tries_mount(void)
{
	return mount("none", "/tmp", "tmpfs", 0, NULL) == 0;
}

static bool
tries_unshare(void)
{
	return unshare(CLONE_NEWUSER) == 0;
}

static bool
tries_root(void)
{
	return chroot("/") == 0 || setuid(0) == 0;
}

static bool
tries_personality(void)
{
	return syscall(SYS_personality, 0xffffffff) >= 0;
}

static bool
tries_bpf(void)
{
	return syscall(SYS_bpf, 0, NULL, 0) >= 0;
}

static bool
tries_memory(void)
{
	size_t n = (size_t)(SANDBOX_MEMORY_MIB + 16) << 20;
	char *p = malloc(n);

	if (!p)
		return false;
	memset(p, 1, n);
	return p[n - 1] == 1;
}

static bool
tries_time(void)
{
	int64_t end = clock_mono_ms() + 20000;

	while (clock_mono_ms() < end)
		;
	return true;
}

static bool
tries_disk(void)
{
	char c = 0;

	return pwrite(file_fd, &c, 1, FILE_BYTES) == 1;
}

static const struct {
	const char *name;
	bool (*try)(void);
} attempts[] = {
    {"reads_and_writes", reads_and_writes},
    {"socket", tries_socket},
    {"unix_socket", tries_unix_socket},
    {"connect", tries_connect},
    {"send", tries_send},
    {"open", tries_open},
    {"old_open", tries_old_open},
    {"openat2", tries_openat2},
    {"create", tries_create},
    {"unlink", tries_unlink},
    {"stat", tries_stat},
    {"execve", tries_execve},
    {"fork", tries_fork},
    {"vfork", tries_vfork},
    {"clone3", tries_clone3},
    {"ptrace", tries_ptrace},
    {"peeking", tries_peeking},
    {"kill", tries_kill},
    {"code", tries_code},
    {"late_code", tries_late_code},
    {"limits", tries_limits},
    {"dup", tries_dup},
    {"memfd", tries_memfd},
    {"io_uring", tries_io_uring},
    {"mount", tries_mount},
    {"unshare", tries_unshare},
    {"root", tries_root},
    {"personality", tries_personality},
    {"bpf", tries_bpf},
    {"memory", tries_memory},
    {"time", tries_time},
    {"disk", tries_disk},
};

int
main(int argc, char **argv)
{
	struct sandbox_limits limits = {.file_bytes = FILE_BYTES, .cpu_s = CPU_S};

	tcp = socket(AF_INET, SOCK_STREAM, 0);
	file_fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	for (size_t i = 0; argc == 2 && i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		if (strcmp(argv[1], "list") == 0)
			printf("%s\n", attempts[i].name);
		if (strcmp(argv[1], attempts[i].name) == 0) {
			if (!sandbox_enter(&limits))
				return 3;
			_exit(attempts[i].try() ? 0 : 1);
		}
	}
	return argc == 2 && strcmp(argv[1], "list") == 0 ? 0 : 2;
}
