#include "scan/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* What reading needs: bytes of descriptors that are open, memory, time, the end. */
static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(preadv),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(pwrite64),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(close),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(sched_yield),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack), /* a sanitizer at exit */
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

/* What a library may try and can do without: refused, not punished. */
static const int refused[] = {
    SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat), SCMP_SYS(newfstatat), SCMP_SYS(statx),
    SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
    SCMP_SYS(ioctl), SCMP_SYS(fcntl), SCMP_SYS(sysinfo), /* qsort */
};

static bool
add_rules(scmp_filter_ctx ctx)
{
	int rc = 0;

	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		rc |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		rc |= seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), refused[i], 0);
	/* Memory is never executable, and never a file's. */
	rc |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
	    SCMP_A2(SCMP_CMP_MASKED_EQ, 4 /* PROT_EXEC */, 0),
	    SCMP_A3(SCMP_CMP_MASKED_EQ, 32 /* MAP_ANONYMOUS */, 32));
	rc |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
	    SCMP_A2(SCMP_CMP_MASKED_EQ, 4 /* PROT_EXEC */, 0));
	/* abort() */
	rc |= seccomp_rule_add(
	    ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A2(SCMP_CMP_EQ, SIGABRT, 0));
	return rc == 0;
}

static bool
filter_calls(void)
{
	/* A sanitizer's report needs more than reading does: what is unknown is refused there. */
	uint32_t otherwise = SANITIZED ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_KILL_PROCESS;
	scmp_filter_ctx ctx = seccomp_init(otherwise);
	bool good = ctx && add_rules(ctx) && seccomp_load(ctx) == 0;

	if (ctx)
		seccomp_release(ctx);
	return good;
}

static bool
limit(__rlimit_resource_t what, int64_t most)
{
	return setrlimit(what, &(struct rlimit){(rlim_t)most, (rlim_t)most}) == 0;
}

bool
sandbox_enter(const struct sandbox_limits *limits)
{
	/* The soft limit's signal says why; the hard one, a second later, ends all doubt. */
	struct rlimit cpu = {(rlim_t)limits->cpu_s, (rlim_t)limits->cpu_s + 1};
	bool good = limit(RLIMIT_CORE, 0) && setrlimit(RLIMIT_CPU, &cpu) == 0 &&
	    limit(RLIMIT_FSIZE, limits->file_bytes) && limit(RLIMIT_NOFILE, 0);

	if (!SANITIZED) /* whose shadow memory is terabytes of addresses */
		good = good && limit(RLIMIT_AS, (int64_t)SANDBOX_MEMORY_MIB << 20);
	return good && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && filter_calls();
}
