#include "media/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "media/kind.h"
#include "media/scan_wire.h"

enum { BEAT_MS = 1000 };

struct child {
	int pidfd;
	int answer; /* our end of the pipe */
};

struct verdict {
	const char *code; /* NULL: it ended well */
	const char *reason;
};

/* The program beside the running one, unless the setting says otherwise. */
static void
program_path(char out[PATH_MAX])
{
	const char *set = getenv("SOLOPRINT_SCAN");
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (set && *set)
		snprintf(out, PATH_MAX, "%s", set);
	else
		snprintf(
		    out, PATH_MAX, "%.*ssoloprint-scan", slash ? (int)(slash - self) + 1 : 0, self);
}

/* Adds the descriptors: nothing but the three and /dev/null is open in the child. */
static int
place_fds(posix_spawn_file_actions_t *actions, const int fds[3])
{
	int rc = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDWR, 0);

	rc |= posix_spawn_file_actions_adddup2(actions, 0, 1);
#if !defined(__SANITIZE_ADDRESS__)
	rc |= posix_spawn_file_actions_adddup2(actions, 0, 2);
#endif
	for (int i = 0; i < 3; i++)
		rc |= posix_spawn_file_actions_adddup2(actions, fds[i], SCAN_FD_IN + i);
	return rc | posix_spawn_file_actions_addclosefrom_np(actions, SCAN_FDS_END);
}

static int
spawn_with(pid_t *pid, char *const argv[], const int fds[3])
{
	char *const env[] = {NULL};
	char path[PATH_MAX];
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int rc;

	program_path(path);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	rc = place_fds(&actions, fds);
	rc |= posix_spawnattr_setsigmask(&attr, &none);
	rc |= posix_spawnattr_setsigdefault(&attr, &all);
	rc |= posix_spawnattr_setflags(
	    &attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (rc == 0)
		rc = posix_spawn(pid, path, &actions, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

/* Copies of the descriptors above the numbers they get in the child. */
static bool
lift(const int fds[3], int out[3])
{
	bool good = true;

	for (int i = 0; i < 3; i++) {
		out[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, SCAN_FDS_END);
		good = good && out[i] >= 0;
	}
	return good;
}

/* The new child's pidfd, or an error number. */
static int
spawn_pidfd(int *pidfd, char *const argv[], const int fds[3])
{
	pid_t pid;
	int rc = spawn_with(&pid, argv, fds);

	if (rc != 0)
		return rc;
	*pidfd = pidfd_open(pid, 0);
	if (*pidfd >= 0)
		return 0;
	rc = errno;
	kill(pid, SIGKILL); /* nobody has waited for it: the number is still its own */
	waitpid(pid, NULL, 0);
	return rc;
}

static int
spawn_child(struct child *c, char *const argv[], int in, int out)
{
	int ends[2], lifted[3], rc;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return errno;
	rc = lift((int[3]){in, ends[1], out}, lifted) ? spawn_pidfd(&c->pidfd, argv, lifted)
						      : errno;
	for (int i = 0; i < 3; i++)
		if (lifted[i] >= 0)
			close(lifted[i]);
	close(ends[1]);
	c->answer = ends[0];
	if (rc != 0)
		close(ends[0]);
	return rc;
}

/* How long to wait for a child, and who is told meanwhile. */
struct watch {
	int64_t deadline;
	bool (*beat)(void *ctx); /* or NULL */
	void *ctx;
	bool stopped; /* beat said so */
};

/* Waits for the descriptor until the deadline. */
static bool
ready(int fd, struct watch *w)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	for (;;) {
		int64_t left = w->deadline - clock_mono_ms();
		int n = poll(&p, 1, left <= 0 ? 0 : left < BEAT_MS ? (int)left : BEAT_MS);

		if (n > 0 || (n == 0 && left <= 0))
			return n > 0;
		if (n < 0 && errno != EINTR)
			return false;
		if (n == 0 && w->beat && !w->beat(w->ctx)) {
			w->stopped = true;
			return false;
		}
	}
}

/* True when the child has closed its end before the deadline. */
static bool
read_answer(const struct child *c, struct watch *w, struct buf *answer)
{
	char chunk[16384];

	while (ready(c->answer, w)) {
		ssize_t n = read(c->answer, chunk, sizeof(chunk));

		if (n == 0 || answer->overflow)
			return true;
		if (n > 0)
			buf_add(answer, chunk, (size_t)n);
		else if (errno != EINTR)
			return true;
	}
	return false;
}

static struct verdict
verdict_of_signal(int signal)
{
	static const struct {
		int signal;
		struct verdict v;
	} known[] = {
	    {SIGXCPU, {"timeout", "Reading the file took too long."}},
	    {SIGXFSZ, {"too_complex", "The file holds more than can be taken out of it."}},
	    {SIGABRT, {"too_complex", "Reading the file took too much memory."}},
	    {SIGTRAP, {"too_complex", "Reading the file took too much memory."}},
	    {SIGKILL, {"too_complex", "Reading the file took too much memory."}},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].signal == signal)
			return known[i].v;
	return (struct verdict){"crashed", "The file could not be read."};
}

static struct verdict
verdict_of(const siginfo_t *info)
{
	if (info->si_code != CLD_EXITED) {
		struct verdict v = verdict_of_signal(info->si_status);

		log_warn(
		    "a scan was ended", LOG_I("signal", info->si_status), LOG_Z("reason", v.code));
		return v;
	}
	if (info->si_status == 0)
		return (struct verdict){NULL, NULL};
	log_error("a scan failed", LOG_I("status", info->si_status));
	return (struct verdict){"crashed", "The file could not be read."};
}

/* The child is no more when this returns. */
static struct verdict
end_child(const struct child *c, bool in_time, struct watch *w)
{
	siginfo_t info = {.si_code = CLD_EXITED};
	bool late;

	close(c->answer); /* a child that still writes ends of it */
	late = !in_time || !ready(c->pidfd, w);
	if (late)
		pidfd_send_signal(c->pidfd, SIGKILL, NULL, 0);
	while (waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED) != 0 && errno == EINTR)
		;
	close(c->pidfd);
	return late ? verdict_of_signal(SIGXCPU) : verdict_of(&info);
}

static void
close_fd(void *fd)
{
	close((int)(intptr_t)fd);
}

static void
put(void *object)
{
	json_object_put(object);
}

/* The answer as an object that is freed with the arena; NULL when it is none. */
static struct json_object *
parse(struct arena *a, const struct buf *text)
{
	struct json_tokener *t = json_tokener_new_ex(32);
	struct json_object *o = NULL;

	if (t && !text->overflow && text->n) {
		json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
		o = json_tokener_parse_ex(t, text->p, (int)text->n);
	}
	if (t)
		json_tokener_free(t);
	if (o)
		arena_defer(a, put, o);
	return json_object_is_type(o, json_type_object) ? o : NULL;
}

/* Runs soloprint-scan to its end; on NULL *answer is its JSON object, freed with the arena. */
static struct verdict
run(struct arena *a, char *const argv[], int in, int out, struct watch *w,
    struct json_object **answer)
{
	struct child c = {-1, -1};
	struct verdict v;
	struct buf text;
	int rc = spawn_child(&c, argv, in, out);

	if (rc != 0) {
		log_error("soloprint-scan cannot be started", LOG_Z("reason", strerror(rc)));
		return (struct verdict){"unavailable", "The file could not be read at this time."};
	}
	buf_init(&text, SCAN_ANSWER_MOST);
	v = end_child(&c, read_answer(&c, w, &text), w);
	if (!v.code)
		*answer = parse(a, &text);
	if (!v.code && !*answer)
		v = verdict_of_signal(SIGSEGV);
	buf_fini(&text);
	return v;
}

static struct str
text_of(struct arena *a, struct json_object *o, const char *name)
{
	struct json_object *v = json_object_object_get(o, name);

	if (!json_object_is_type(v, json_type_string))
		return STR_NONE;
	return str_dup(
	    a, (struct str){json_object_get_string(v), (size_t)json_object_get_string_len(v)});
}

static int64_t
number_of(struct json_object *o, const char *name)
{
	struct json_object *v = json_object_object_get(o, name);

	return json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : -1;
}

static size_t
count_of(struct json_object *list, size_t most)
{
	size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	return n < most ? n : most;
}

/* The child was in a stranger's hands: what it says of its pictures is checked. */
static bool
take_thumbnail(struct json_object *o, int64_t size, struct scan_thumbnail *t)
{
	static const char *const types[] = {"image/png", "image/jpeg", "image/x-qoi"};
	const char *type = json_object_get_string(json_object_object_get(o, "content_type"));
	int64_t width = number_of(o, "width"), height = number_of(o, "height");
	int64_t plate = number_of(o, "plate");

	t->offset = number_of(o, "offset");
	t->length = number_of(o, "length");
	t->content_type = NULL;
	for (size_t i = 0; type && i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(type, types[i]) == 0)
			t->content_type = types[i];
	if (!t->content_type || t->offset < 0 || t->length <= 0 || t->offset > size ||
	    t->length > size - t->offset)
		return false;
	if (width <= 0 || width > INT16_MAX || height <= 0 || height > INT16_MAX || plate < 0 ||
	    plate > INT16_MAX)
		return false;
	t->plate = (int)plate;
	t->width = (int)width;
	t->height = (int)height;
	return true;
}

static void
take_thumbnails(struct json_object *answer, struct scan_result *out, int fd)
{
	struct json_object *list = json_object_object_get(answer, "thumbnails");
	size_t n = count_of(list, SCAN_THUMBNAILS_MOST);
	struct stat st;

	if (fstat(fd, &st) != 0)
		return;
	for (size_t i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		struct scan_thumbnail *t = &out->thumbnails[out->n_thumbnails];

		if (json_object_is_type(o, json_type_object) && take_thumbnail(o, st.st_size, t))
			out->n_thumbnails++;
	}
	if (out->n_thumbnails)
		out->thumbnails_fd = fd;
}

static void
take_keys(struct arena *a, struct json_object *answer, struct scan_result *out)
{
	struct json_object *list = json_object_object_get(answer, "keys");
	size_t n = count_of(list, SCAN_KEYS_MOST);

	out->keys = arena_array(a, n, sizeof(*out->keys));
	for (size_t i = 0; i < n; i++) {
		struct json_object *v = json_object_array_get_idx(list, i);
		const char *z = json_object_is_type(v, json_type_string) ? json_object_get_string(v)
									 : "";

		if (*z)
			out->keys[out->n_keys++] = str_dup(a, str_from(z));
	}
}

static void
take_answer(struct arena *a, struct json_object *answer, struct scan_result *out, int pictures)
{
	struct json_object *metadata = json_object_object_get(answer, "metadata");
	const char *kind = kind_named(text_of(a, answer, "kind"));

	if (kind)
		out->kind = str_from(kind);
	out->reason_code = text_of(a, answer, "reason_code");
	out->reason = text_of(a, answer, "reason");
	if (json_object_is_type(metadata, json_type_object))
		out->metadata = metadata;
	take_keys(a, answer, out);
	take_thumbnails(answer, out, pictures);
}

/* A file without a name, gone with the arena. */
static int
unlinked_file(struct arena *a)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		fd = memfd_create("pictures", MFD_CLOEXEC);
	if (fd >= 0)
		arena_defer(a, close_fd, (void *)(intptr_t)fd);
	return fd;
}

bool
scan_file_beating(struct arena *a, int fd, struct str filename, bool (*beat)(void *ctx), void *ctx,
    struct scan_result *out)
{
	struct watch w = {clock_mono_ms() + SCAN_DEADLINE_MS, beat, ctx, false};
	char *const argv[] = {
	    (char[]){"soloprint-scan"}, (char[]){"file"}, str_z(a, filename), NULL};
	struct json_object *answer = NULL;
	int pictures = unlinked_file(a);
	struct verdict v;

	*out = (struct scan_result){
	    .kind = str_from(kind_by_name(filename)),
	    .thumbnails_fd = -1,
	};
	v = run(a, argv, fd, pictures, &w, &answer);
	if (answer)
		take_answer(a, answer, out, pictures);
	else
		out->reason_code = str_from(v.code), out->reason = str_from(v.reason);
	return !w.stopped;
}

void
scan_file(struct arena *a, int fd, struct str filename, struct scan_result *out)
{
	(void)scan_file_beating(a, fd, filename, NULL, NULL, out);
}

static void
take_fields(struct arena *a, struct json_object *answer, struct scan_form *out)
{
	struct json_object *list = json_object_object_get(answer, "fields");
	size_t n = count_of(list, sizeof(out->fields) / sizeof(out->fields[0]));

	for (size_t i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		if (!json_object_is_type(o, json_type_object))
			continue;
		out->fields[out->n_fields].name = text_of(a, o, "name");
		out->fields[out->n_fields++].value = text_of(a, o, "value");
	}
}

void
scan_form(struct arena *a, int body_fd, struct str content_type, int out_fd, struct scan_form *out)
{
	char *const argv[] = {
	    (char[]){"soloprint-scan"}, (char[]){"form"}, str_z(a, content_type), NULL};
	struct json_object *answer = NULL;
	struct watch w = {.beat = NULL};
	struct verdict v;
	struct stat body, file;
	int64_t more_ms = fstat(body_fd, &body) == 0 ? body.st_size / (SCAN_FORM_BYTES_PER_S / 1000)
						     : 0;

	*out = (struct scan_form){.filename = STR("")};
	w.deadline = clock_mono_ms() + SCAN_DEADLINE_MS + more_ms;
	v = run(a, argv, body_fd, out_fd, &w, &answer);
	if (!answer) {
		out->error = str_from(v.reason);
		out->unavailable = str_eq(str_from(v.code), STR("unavailable"));
		return;
	}
	out->error = text_of(a, answer, "error");
	out->size = number_of(answer, "size");
	out->filename = text_of(a, answer, "filename");
	out->content_type = text_of(a, answer, "content_type");
	take_fields(a, answer, out);
	if (!out->error.p && (fstat(out_fd, &file) != 0 || file.st_size != out->size))
		out->error = STR("The body could not be taken apart.");
}

struct str
scan_form_field(const struct scan_form *f, struct str name)
{
	for (size_t i = 0; i < f->n_fields; i++)
		if (str_eq(f->fields[i].name, name))
			return f->fields[i].value;
	return STR_NONE;
}
