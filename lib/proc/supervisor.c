#include "proc/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proc/wire.h"

enum {
	WORKERS_MOST = 256,
	START_MS = 10000, /* default for start_ms */
	YOUNG_MS = 1000,  /* a worker that dies before this age died young */
	CALM_MS =
	    15000, /* young deaths further apart than this have nothing to do with each other */
	SPACE_MS = 100, /* between starts after the second young death in a row; doubles */
	SPACE_MOST_MS = 5000,
	KILL_AGAIN_MS = 250,
	RELOAD_TRIES = 3,
};

enum child_state { CHILD_FREE, CHILD_STARTING, CHILD_READY, CHILD_RETIRING, CHILD_STOPPING };

struct child {
	enum child_state state;
	pid_t pid;
	int pipe_fd; /* -1 once closed */
	int slot, generation;
	int64_t started_ms;
	int64_t kill_ms; /* STARTING, STOPPING: SIGKILL then */
};

struct generation {
	int number;
	int program_fd;
};

struct supervisor {
	const struct supervisor_config *cfg;
	char program[4096];
	struct child *children;
	struct pollfd *polls; /* one per child, and the signals' */
	size_t n_children;
	int signal_fd;
	struct generation now, before; /* before: while reloading, the one still in charge */
	int generations;               /* started so far */
	int young;                     /* deaths in a row before being ready */
	int64_t young_ms;              /* the last of them */
	int64_t crash_ms;              /* last young death of a worker that had been ready */
	int64_t start_ms;              /* no worker is started before this time */
	int64_t since_ms;              /* when this supervisor started */
	bool reloading, reload_again, stopping, announced;
};

static void
notify(const struct supervisor *s, const char *state)
{
	char text[256];

	snprintf(text, sizeof text, "%s\nMONOTONIC_USEC=%lld\nSTATUS=pool %s, generation %d%s",
	    state, (long long)clock_mono_us(), s->cfg->name, s->now.number,
	    s->stopping ? ", stopping" : "");
	sd_notify(0, text);
}

static int
count(const struct supervisor *s, int generation, enum child_state state)
{
	int n = 0;

	for (size_t i = 0; i < s->n_children; i++)
		n += s->children[i].state == state && s->children[i].generation == generation;
	return n;
}

/* Workers of the generation now in charge that serve or will serve. */
static int
present(const struct supervisor *s)
{
	return count(s, s->now.number, CHILD_STARTING) + count(s, s->now.number, CHILD_READY);
}

static bool
slot_taken(const struct supervisor *s, int slot)
{
	for (size_t i = 0; i < s->n_children; i++) {
		const struct child *c = &s->children[i];

		if ((c->state == CHILD_STARTING || c->state == CHILD_READY) &&
		    c->generation == s->now.number && c->slot == slot)
			return true;
	}
	return false;
}

static int
free_slot(const struct supervisor *s)
{
	int slot = 0;

	while (slot_taken(s, slot))
		slot++;
	return slot;
}

static struct child *
free_child(struct supervisor *s)
{
	for (size_t i = 0; i < s->n_children; i++) {
		if (s->children[i].state == CHILD_FREE)
			return &s->children[i];
	}
	return NULL;
}

/* --- starting ----------------------------------------------------------------------------- */

/* In the child, between fork and exec. */
__attribute__((noreturn)) static void
become_worker(const struct supervisor *s, const struct child *c, int ready_fd, pid_t parent)
{
	char start[96], title[128];
	char *argv[] = {title, NULL};
	sigset_t none;

	snprintf(start, sizeof start, "%d,%d,%d,%d,%d,%lld", s->cfg->listen_fd, ready_fd, c->slot,
	    c->generation, (int)parent, (long long)s->since_ms);
	snprintf(title, sizeof title, "soloprint: worker %s/%d", s->cfg->name, c->slot);
	sigemptyset(&none);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent && sigprocmask(SIG_SETMASK, &none, NULL) == 0 &&
	    (s->cfg->listen_fd < 0 || fcntl(s->cfg->listen_fd, F_SETFD, 0) == 0) &&
	    fcntl(ready_fd, F_SETFD, 0) == 0 && setenv(PROC_START_VAR, start, 1) == 0 &&
	    unsetenv("NOTIFY_SOCKET") == 0)
		fexecve(s->now.program_fd, argv, environ);
	_exit(127);
}

/* A worker died before it was ready, or could not be started: spaces the next starts. Workers
 * started together that die together count once. */
static void
slow_down(struct supervisor *s, int64_t started_ms, int64_t now)
{
	int64_t space = 0;

	if (started_ms < s->young_ms)
		return;
	s->young = now - s->young_ms > CALM_MS ? 1 : s->young + 1;
	s->young_ms = now;
	if (s->young > 1)
		space = s->young > 8 ? SPACE_MOST_MS : (int64_t)SPACE_MS << (s->young - 2);
	if (space > SPACE_MOST_MS)
		space = SPACE_MOST_MS;
	s->start_ms = now + space;
	if (space)
		log_warn("workers die young, waiting before the next start",
		    LOG_Z("pool", s->cfg->name), LOG_I("deaths", s->young),
		    LOG_I("wait_ms", space));
}

/* A worker had been ready and died young: requests may be what kills them. The others and the next
 * ones serve on, so starts are only kept from following each other without a pause. */
static void
space_out(struct supervisor *s, int64_t now)
{
	int64_t earliest = s->crash_ms + SPACE_MS;

	if (now >= earliest)
		s->crash_ms = now;
	else if (s->start_ms < earliest)
		s->start_ms = earliest;
}

static void
start_child(struct supervisor *s, struct child *c, int64_t now)
{
	pid_t parent = getpid();
	int fds[2];

	*c = (struct child){.pipe_fd = -1, .slot = free_slot(s), .generation = s->now.number};
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
		slow_down(s, now, now);
		return;
	}
	c->pid = fork();
	if (c->pid == 0)
		become_worker(s, c, fds[1], parent);
	close(fds[1]);
	if (c->pid < 0) {
		log_error("cannot start a worker", LOG_I("errno", errno));
		close(fds[0]);
		slow_down(s, now, now);
		return;
	}
	c->state = CHILD_STARTING;
	c->pipe_fd = fds[0];
	c->started_ms = now;
	c->kill_ms = now + (s->cfg->start_ms > 0 ? s->cfg->start_ms : START_MS);
}

static void
start_missing(struct supervisor *s, int64_t now)
{
	while (!s->stopping && present(s) < s->cfg->workers && now >= s->start_ms) {
		struct child *c = free_child(s);

		if (!c)
			return; /* too many are draining: one of them ends soon */
		start_child(s, c, now);
	}
}

/* --- stopping ----------------------------------------------------------------------------- */

static void
stop_child(struct supervisor *s, struct child *c, int64_t now)
{
	kill(c->pid, SIGTERM);
	c->state = CHILD_STOPPING;
	c->kill_ms = now + s->cfg->drain_ms;
}

static void
stop_where(struct supervisor *s, int generation, bool equal, int64_t now)
{
	for (size_t i = 0; i < s->n_children; i++) {
		struct child *c = &s->children[i];

		if (c->state != CHILD_FREE && c->state != CHILD_STOPPING &&
		    (c->generation == generation) == equal)
			stop_child(s, c, now);
	}
}

/* A retiring worker goes when there is one more than needed. */
static void
stop_retired(struct supervisor *s, int64_t now)
{
	int spare = count(s, s->now.number, CHILD_READY) + count(s, s->now.number, CHILD_RETIRING) -
	    s->cfg->workers;

	for (size_t i = 0; i < s->n_children && spare > 0; i++) {
		struct child *c = &s->children[i];

		if (c->state != CHILD_RETIRING || c->generation != s->now.number)
			continue;
		stop_child(s, c, now);
		spare--;
	}
}

static void
press_late(struct supervisor *s, int64_t now)
{
	for (size_t i = 0; i < s->n_children; i++) {
		struct child *c = &s->children[i];

		if ((c->state != CHILD_STARTING && c->state != CHILD_STOPPING) || now < c->kill_ms)
			continue;
		log_warn("worker is late, killing it", LOG_I("worker", c->pid),
		    LOG_Z("when", c->state == CHILD_STARTING ? "starting" : "stopping"));
		kill(c->pid, SIGKILL);
		c->kill_ms = now + KILL_AGAIN_MS;
	}
}

/* --- reload ------------------------------------------------------------------------------- */

static bool
open_generation(struct supervisor *s)
{
	int fd = open(s->program, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		log_error(
		    "cannot open the program", LOG_Z("path", s->program), LOG_I("errno", errno));
		return false;
	}
	s->now = (struct generation){++s->generations, fd};
	return true;
}

static void
reload_begin(struct supervisor *s)
{
	struct generation in_charge = s->now;

	s->reload_again = s->reloading;
	if (s->reloading || s->stopping || !open_generation(s))
		return;
	s->before = in_charge;
	s->reloading = true;
	s->young = 0;
	s->young_ms = 0;
	s->start_ms = 0;
	log_info("reloading", LOG_Z("pool", s->cfg->name), LOG_I("generation", s->now.number));
	notify(s, "RELOADING=1");
}

static void
reload_end(struct supervisor *s)
{
	close(s->before.program_fd);
	s->reloading = false;
	notify(s, "READY=1");
	if (s->reload_again)
		reload_begin(s);
}

static void
reload_step(struct supervisor *s, int64_t now)
{
	if (count(s, s->now.number, CHILD_READY) >= s->cfg->workers) {
		log_info(
		    "reloaded", LOG_Z("pool", s->cfg->name), LOG_I("generation", s->now.number));
		stop_where(s, s->now.number, false, now);
		reload_end(s);
	} else if (s->young >= RELOAD_TRIES) {
		struct generation failed = s->now;

		log_error("reload failed, the workers in charge stay", LOG_Z("pool", s->cfg->name),
		    LOG_I("generation", failed.number));
		stop_where(s, failed.number, true, now);
		s->now = s->before;
		s->before = failed;
		s->young = 0;
		s->start_ms = 0;
		reload_end(s);
	}
}

/* --- events ------------------------------------------------------------------------------- */

/* What a worker says. One that has become ready ends a row of failed starts. */
static void
read_pipe(struct supervisor *s, struct child *c)
{
	char said[16];
	ssize_t n = read(c->pipe_fd, said, sizeof said);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close(c->pipe_fd);
		c->pipe_fd = -1;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (said[i] == PROC_SAYS_READY && c->state == CHILD_STARTING) {
			c->state = CHILD_READY;
			s->young = c->generation == s->now.number ? 0 : s->young;
		} else if (said[i] == PROC_SAYS_RETIRE && c->state == CHILD_READY) {
			c->state = CHILD_RETIRING;
		}
	}
}

static void
child_ended(struct supervisor *s, struct child *c, int status, int64_t now)
{
	bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	bool asked = c->state == CHILD_STOPPING;
	enum log_level level = clean || asked ? LOG_INFO : LOG_ERROR;

	LOG_AT_(level, "worker ended", LOG_Z("pool", s->cfg->name), LOG_I("worker", c->pid),
	    LOG_I("slot", c->slot), LOG_I("generation", c->generation),
	    LOG_I("status", WIFEXITED(status) ? WEXITSTATUS(status) : -1),
	    LOG_I("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
	    LOG_I("age_ms", now - c->started_ms));
	if (!asked && c->generation == s->now.number && c->state == CHILD_STARTING)
		slow_down(s, c->started_ms, now);
	else if (!asked && !clean && now - c->started_ms < YOUNG_MS)
		space_out(s, now);
	if (c->pipe_fd >= 0)
		close(c->pipe_fd);
	*c = (struct child){.pipe_fd = -1};
}

static void
reap(struct supervisor *s, int64_t now)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (size_t i = 0; i < s->n_children; i++) {
			if (s->children[i].state != CHILD_FREE && s->children[i].pid == pid)
				child_ended(s, &s->children[i], status, now);
		}
	}
}

static void
stop_begin(struct supervisor *s, int64_t now)
{
	if (s->stopping)
		return;
	s->stopping = true;
	log_info("stopping", LOG_Z("pool", s->cfg->name), LOG_I("drain_ms", s->cfg->drain_ms));
	notify(s, "STOPPING=1");
	stop_where(s, 0, false, now);
}

static void
read_signals(struct supervisor *s, int64_t now)
{
	struct signalfd_siginfo si;

	while (read(s->signal_fd, &si, sizeof si) == (ssize_t)sizeof si) {
		if (si.ssi_signo == SIGCHLD)
			reap(s, now);
		else if (si.ssi_signo == SIGHUP)
			reload_begin(s);
		else
			stop_begin(s, now);
	}
}

static void
step(struct supervisor *s, int64_t now)
{
	start_missing(s, now);
	if (s->reloading && !s->stopping)
		reload_step(s, now);
	stop_retired(s, now);
	press_late(s, now);
	if (!s->announced && !s->stopping &&
	    count(s, s->now.number, CHILD_READY) >= s->cfg->workers) {
		s->announced = true;
		log_info("ready", LOG_Z("pool", s->cfg->name), LOG_I("workers", s->cfg->workers));
		notify(s, "READY=1");
	}
}

/* Until the next deadline; -1 when there is none. */
static int
wait_ms(const struct supervisor *s, int64_t now)
{
	int64_t at = INT64_MAX;

	if (!s->stopping && present(s) < s->cfg->workers)
		at = s->start_ms;
	for (size_t i = 0; i < s->n_children; i++) {
		const struct child *c = &s->children[i];

		if ((c->state == CHILD_STARTING || c->state == CHILD_STOPPING) && c->kill_ms < at)
			at = c->kill_ms;
	}
	if (at == INT64_MAX)
		return -1;
	return at <= now ? 1 : (int)(at - now);
}

static void
wait_event(struct supervisor *s)
{
	size_t n = s->n_children;

	for (size_t i = 0; i < n; i++)
		s->polls[i] = (struct pollfd){
		    .fd = s->children[i].state == CHILD_FREE ? -1 : s->children[i].pipe_fd,
		    .events = POLLIN};
	s->polls[n] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
	if (poll(s->polls, n + 1, wait_ms(s, clock_mono_ms())) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		if (s->polls[i].revents)
			read_pipe(s, &s->children[i]);
	}
	if (s->polls[n].revents)
		read_signals(s, clock_mono_ms());
}

static bool
any_child(const struct supervisor *s)
{
	for (size_t i = 0; i < s->n_children; i++) {
		if (s->children[i].state != CHILD_FREE)
			return true;
	}
	return false;
}

/* --- set-up ------------------------------------------------------------------------------- */

static bool
find_program(struct supervisor *s)
{
	ssize_t n;

	if (strchr(s->cfg->program, '/'))
		n = snprintf(s->program, sizeof s->program, "%s", s->cfg->program);
	else
		n = readlink("/proc/self/exe", s->program, sizeof s->program - 1);
	return n > 0 && (size_t)n < sizeof s->program;
}

static bool
open_signals(struct supervisor *s)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return false;
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signal_fd >= 0;
}

static bool
init(struct supervisor *s, const struct supervisor_config *cfg)
{
	*s = (struct supervisor){
	    .cfg = cfg, .signal_fd = -1, .n_children = (size_t)cfg->workers * 4};
	must(cfg->workers > 0 && cfg->workers <= WORKERS_MOST);
	s->children = calloc(s->n_children, sizeof *s->children);
	s->polls = calloc(s->n_children + 1, sizeof *s->polls);
	must(s->children && s->polls);
	return find_program(s) && open_generation(s) && open_signals(s);
}

int
supervisor_run(const struct supervisor_config *cfg)
{
	struct supervisor s;

	if (!init(&s, cfg)) {
		log_error("cannot set up the supervisor", LOG_I("errno", errno));
		return 1;
	}
	s.since_ms = clock_mono_ms();
	while (!s.stopping || any_child(&s)) {
		step(&s, clock_mono_ms());
		if (s.stopping && !any_child(&s))
			break;
		wait_event(&s);
	}
	log_info("stopped", LOG_Z("pool", cfg->name));
	free(s.children);
	free(s.polls);
	close(s.signal_fd);
	close(s.now.program_fd);
	return 0;
}
