/* The local object store and digests. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "store/digest.h"
#include "store/store.h"
#include "tap.h"

static struct arena *arena;
static char root[64];
static struct store *store;

static const char *
under(const char *name)
{
	return str_fmt(arena, "%s/%s", root, name).p;
}

static void
put(const char *name, const char *text)
{
	int fd = open(under(name), O_WRONLY | O_CREAT | O_TRUNC, 0660);

	ok(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "wrote %s", name);
	close(fd);
}

static struct str
content(int fd)
{
	char *p = arena_alloc(arena, 4096);
	ssize_t n = fd >= 0 ? pread(fd, p, 4096, 0) : -1;

	if (fd >= 0)
		close(fd);
	return n < 0 ? STR_NONE : (struct str){p, (size_t)n};
}

static bool
keep_text(struct uuid blob, const char *text)
{
	int fd = store_temp(store);
	bool kept = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) &&
	    store_keep(store, fd, blob);

	if (fd >= 0)
		close(fd);
	return kept;
}

static int
entries(const char *name)
{
	DIR *d = opendir(under(name));
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n - 2;
}

static mode_t
mode_of(const char *name)
{
	struct stat st;

	return stat(under(name), &st) == 0 ? st.st_mode & 07777 : 0;
}

static void
test_digest(void)
{
	static const struct {
		const char *in, *want; /* FIPS 180-2's examples */
	} cases[] = {
	    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	};
	uint8_t out[DIGEST_LEN];

	TAP_EACH(cases, c)
	{
		struct digest *d = digest_new();

		for (const char *p = c->in; *p; p++)
			digest_add(d, p, 1);
		digest_end(d, out);
		digest_free(d);
		is_str(str_hex(arena, out, sizeof(out)), str_from(c->want), c->in);
	}
}

static bool
count_calls(void *ctx, int64_t done)
{
	int64_t *left = ctx;

	(void)done;
	return --*left > 0;
}

static void
test_digest_file(void)
{
	static char chunk[1 << 16];
	uint8_t a[DIGEST_LEN], b[DIGEST_LEN];
	struct digest *d = digest_new();
	int from = store_temp(store), to = store_temp(store);
	int64_t size = 0, calls = 100;

	for (int i = 0; i < 10; i++)
		ok(write(from, chunk, sizeof(chunk) - 1) > 0, "wrote");
	ok(digest_file(from, a, &size, count_calls, &calls), "digest of a file");
	is_int(size, 10 * (sizeof(chunk) - 1), "all of it");
	ok(calls < 100, "told of progress");
	ok(write(to, "x", 1) == 1, "something before");
	ok(digest_copy(from, to, d, &size, NULL, NULL), "copied");
	digest_end(d, b);
	ok(memcmp(a, b, sizeof(a)) == 0, "the same digest");
	is_int(lseek(to, 0, SEEK_END), size + 1, "appended");
	calls = 1;
	ok(!digest_file(from, a, &size, count_calls, &calls), "broken off");
	ok(!digest_file(-1, a, &size, NULL, NULL), "no file");
	digest_free(d);
	close(from);
	close(to);
}

static void
test_digest_no_room(void)
{
	struct digest *d = digest_new();
	int from = store_temp(store), full = open("/dev/full", O_WRONLY);
	int64_t size;

	ok(write(from, "x", 1) == 1, "wrote");
	ok(!digest_copy(from, full, d, &size, NULL, NULL), "a full disk is an error");
	digest_free(d);
	close(from);
	close(full);
}

static void
test_layout(void)
{
	struct uuid u;

	ok(uuid_parse(STR("0192d3a4-b5c6-7d8e-9f01-23456789c3d4"), &u), "an id");
	is_str(store_key(arena, u), STR("c3/d4/0192d3a4-b5c6-7d8e-9f01-23456789c3d4"), "key");
	ok(keep_text(u, "hello"), "kept");
	is_str(content(store_blob(store, u)), STR("hello"), "read back");
	is_int(mode_of("blobs/c3/d4/0192d3a4-b5c6-7d8e-9f01-23456789c3d4"), 0640, "file's mode");
	is_int(mode_of("blobs/c3/d4") & 0777, 0770, "low directory's mode");
	is_int(mode_of("blobs/c3") & 0777, 0770, "high directory's mode");
	is_int(mode_of("staging") & 0777, 0770, "staging's mode");
	is_int(entries("tmp"), 0, "nothing left in tmp");
	ok(store_free_bytes(store) > 0, "room");
	ok(store_drop(store, u), "dropped");
	ok(store_blob(store, u) < 0 && errno == ENOENT, "gone");
	ok(store_drop(store, u), "dropped again");
}

/* A kept object replaces one of its name: the same bytes after a crash, or a repair. */
static void
test_existing(void)
{
	struct uuid u = uuid_v7();
	int fd;

	ok(keep_text(u, "old"), "kept");
	fd = store_blob(store, u);
	ok(keep_text(u, "new"), "kept again");
	is_str(content(fd), STR("old"), "a reader in flight is not disturbed");
	is_str(content(store_blob(store, u)), STR("new"), "replaced");
	is_int(entries("tmp"), 0, "nothing left in tmp");
	ok(store_drop(store, u), "dropped");
}

static void
test_staged(void)
{
	struct uuid file = uuid_v7(), other = uuid_v7(), blob = uuid_v7(), second = uuid_v7();
	const char *name = str_fmt(arena, "staging/%s.0", uuid_str(arena, file).p).p;
	const char *part = str_fmt(arena, "staging/%s.12", uuid_str(arena, file).p).p;
	const char *theirs = str_fmt(arena, "staging/%s.0", uuid_str(arena, other).p).p;
	struct timespec old[2] = {{1000, 0}, {1000, 0}};
	struct stat st;
	int fd;

	put(name, "bytes");
	ok(utimensat(AT_FDCWD, under(name), old, 0) == 0, "sent long ago");
	fd = store_staged(store, file, 0);
	ok(store_keep(store, fd, second), "kept by its descriptor");
	is_str(content(fd), STR("bytes"), "still open");
	ok(store_keep_staged(store, file, 0, blob), "kept");
	fd = store_blob(store, blob);
	ok(fstat(fd, &st) == 0 && st.st_mtim.tv_sec > clock_unix_s() - 60, "new from now on");
	is_int(st.st_mode & 0777, 0640, "mode");
	is_str(content(fd), STR("bytes"), "content");
	ok(store_staged(store, file, 0) < 0 && errno == ENOENT, "gone from staging");
	ok(!store_keep_staged(store, file, 0, blob), "nothing staged, nothing kept");
	is_str(content(store_blob(store, blob)), STR("bytes"), "the object stays");

	put(name, "a");
	put(part, "b");
	put(theirs, "c");
	store_drop_staged(store, file);
	is_int(entries("staging"), 1, "all parts of one file");
	ok(unlink(under(theirs)) == 0, "the other's was left alone");
	ok(store_drop(store, blob) && store_drop(store, second), "dropped");
}

/* What was sent again while it was being read is not what is kept. */
static void
test_replaced_part(void)
{
	struct uuid file = uuid_v7(), blob = uuid_v7();
	const char *name = str_fmt(arena, "staging/%s.0", uuid_str(arena, file).p).p;
	int fd;

	put(name, "checked");
	fd = store_staged(store, file, 0);
	put("tmp/again", "other");
	ok(rename(under("tmp/again"), under(name)) == 0, "sent again");
	ok(store_keep(store, fd, blob), "kept by its descriptor");
	is_str(content(store_blob(store, blob)), STR("checked"), "what was read");
	close(fd);
	store_drop_staged(store, file);
	store_drop(store, blob);
}

static int
keep_many(struct uuid shared, int n)
{
	struct store *own = store_open(root);
	int bad = 0;

	store_close(store);
	store = own;
	for (int i = 0; i < n; i++) {
		struct uuid u = uuid_v7();

		u.b[14] =
		    (uint8_t)(0xa0 + i % 4); /* in directories that all processes want to make */
		u.b[15] = (uint8_t)i;
		bad += !keep_text(u, "many");
		bad += !keep_text(shared, "same");
	}
	return bad;
}

static bool
count_objects(void *ctx, const struct store_entry *e)
{
	*(int *)ctx += !uuid_is_zero(e->blob) && e->size == 4;
	return true;
}

static void
test_concurrent(void)
{
	enum { PROCESSES = 8, EACH = 40 };
	struct uuid shared = uuid_v7();
	int bad = 0, objects = 0, status;

	fflush(stdout);
	for (int i = 0; i < PROCESSES; i++) {
		if (fork() == 0)
			_exit(keep_many(shared, EACH) ? 1 : 0);
	}
	while (wait(&status) > 0)
		bad += status != 0;
	is_int(bad, 0, "every process kept everything");
	ok(store_each(store, 0, count_objects, &objects), "walked");
	is_int(objects, PROCESSES * EACH + 1, "objects");
	is_str(content(store_blob(store, shared)), STR("same"), "the one that all wrote");
	is_int(entries("tmp"), 0, "nothing left in tmp");
}

enum { LATER = 8 }; /* a shard that the test's own object comes before */

struct seen {
	int known, strange, early, last_shard; /* early: known, and before LATER */
	bool in_order;
	int most;
};

static bool
see(void *ctx, const struct store_entry *e)
{
	struct seen *seen = ctx;

	seen->in_order = seen->in_order && e->shard >= seen->last_shard;
	seen->last_shard = e->shard;
	if (uuid_is_zero(e->blob))
		seen->strange++;
	else
		seen->known++;
	if (!uuid_is_zero(e->blob) && e->shard < LATER)
		seen->early++;
	return seen->known + seen->strange < seen->most;
}

static void
test_each(void)
{
	struct seen all = {.in_order = true, .last_shard = -1, .most = 10000};
	struct seen some = all, few = all;
	struct uuid u = uuid_v7();

	u.b[14] = 0x07;
	u.b[15] = 0x01;
	ok(keep_text(u, "1234"), "kept");
	put("blobs/stranger", "x");
	put("blobs/07/stranger", "x");
	put("blobs/07/01/stranger", "x");
	put("blobs/07/01/0192d3a4-b5c6-7d8e-9f01-23456789c3d4", "elsewhere");
	ok(store_each(store, 0, see, &all), "walked");
	is_int(all.strange, 4, "what is no object, or not in its place");
	ok(all.in_order, "in the order of the fan-out");
	ok(all.early > 0, "something is before a place");
	ok(store_each(store, LATER, see, &some), "walked from that place on");
	is_int(some.known, all.known - all.early, "without what is before");
	is_int(some.strange, 0, "nor beside");
	few.most = 3;
	ok(!store_each(store, 0, see, &few), "broken off");
	is_int(few.known + few.strange, 3, "at once");
}

static bool
keep_second(void *ctx, struct uuid file)
{
	return uuid_eq(*(const struct uuid *)ctx, file);
}

static void
age(const char *name)
{
	struct timespec old[2] = {{1000, 0}, {1000, 0}};

	ok(utimensat(AT_FDCWD, under(name), old, 0) == 0, "%s is old", name);
}

static void
test_sweep(void)
{
	struct uuid gone = uuid_v7(), open_one = uuid_v7(), fresh = uuid_v7();
	const char *a = str_fmt(arena, "staging/%s.0", uuid_str(arena, gone).p).p;
	const char *b = str_fmt(arena, "staging/%s.0", uuid_str(arena, open_one).p).p;
	const char *c = str_fmt(arena, "staging/%s.0", uuid_str(arena, fresh).p).p;

	put(a, "a");
	put(b, "b");
	put(c, "c");
	put("tmp/d", "d");
	put("staging/odd", "e");
	age(a);
	age(b);
	age("tmp/d");
	age("staging/odd");
	ok(mkdir(under("tmp/dir"), 0700) == 0, "a directory that a crash left");
	age("tmp/dir");
	is_int(store_sweep_staging(store, clock_unix_s() - 3600, keep_second, &open_one), 4,
	    "old leftovers");
	is_int(entries("staging"), 2, "the open upload's and the fresh one's stay");
	is_int(store_sweep_staging(store, clock_unix_s() - 3600, NULL, NULL), 1,
	    "no one asks for it any more");
	is_int(store_sweep_staging(store, clock_unix_s() - 3600, NULL, NULL), 0, "nothing to do");
}

static void
test_unusable(void)
{
	struct uuid u = uuid_v7();

	ok(!store_open("/proc/no-such/place"), "a place that cannot be made");
	ok(!store_open("/dev/null"), "no directory");
	ok(store_blob(store, u) < 0 && errno == ENOENT, "no such object");
	store_close(NULL);
}

/* As a user who may read the store but not write to it. */
static void
test_read_only(void)
{
	int status;
	struct uuid u = uuid_v7();

	ok(keep_text(u, "seen"), "kept");
	fflush(stdout);
	if (fork() == 0) {
		int fd = store_temp(store), bad = 0;

		/* Root writes everywhere. */
		if (geteuid() == 0 && (setegid(65534) != 0 || seteuid(65534) != 0))
			_exit(9);
		ok(store_temp(store) < 0 && errno == EACCES, "no new file");
		bad += !(fd >= 0 && !store_keep(store, fd, uuid_v7()));
		bad += store_drop(store, u);
		_exit(bad);
	}
	wait(&status);
	is_int(status, 0, "nothing is written by one who may not");
	is_str(content(store_blob(store, u)), STR("seen"), "the object stays");
}

static int
fill(const char *dir)
{
	static char chunk[1 << 16];
	struct store *s;
	struct uuid u = uuid_v7();
	int fd, bad = 0;
	bool full = false;

	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("none", dir, "tmpfs", 0, "size=1m,nr_inodes=40") != 0)
		return 77;
	s = store_open(dir);
	fd = store_temp(s);
	while (!full)
		full = write(fd, chunk, sizeof(chunk)) < 0;
	bad += errno != ENOSPC;
	close(fd);
	fd = store_temp(s);
	bad += fd < 0 || write(fd, "x", 1) != 1; /* what was not kept takes no room */
	for (int i = 0; i < 40 && store_keep(s, fd, u); i++)
		u.b[14]++; /* two directories each, until there are no inodes */
	bad += store_blob(s, u) >= 0;
	store_close(s);
	return bad;
}

static void
test_full(void)
{
	int status;

	ok(mkdir(under("full"), 0700) == 0, "a place to mount");
	fflush(stdout);
	if (fork() == 0)
		_exit(fill(under("full")));
	wait(&status);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		ok(true, "a full disk # SKIP may not mount");
	else
		is_int(status, 0, "a full disk is an error, and nothing is half there");
	rmdir(under("full"));
}

/* As systemd's RestrictSUIDSGID= has it. */
static int
open_without_setgid(const char *dir)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	struct scmp_arg_cmp setgid = SCMP_A2(SCMP_CMP_MASKED_EQ, S_ISGID, S_ISGID);
	struct store *s;
	struct stat st;

	if (!filter ||
	    seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(fchmodat), 1, setgid) ||
	    seccomp_load(filter))
		return 77;
	s = store_open(dir);
	return !s || fstatat(AT_FDCWD, dir, &st, 0) != 0 || (st.st_mode & 07777) != 0770;
}

static void
test_restricted(void)
{
	int status;

	fflush(stdout);
	if (fork() == 0)
		_exit(open_without_setgid(under("restricted")));
	wait(&status);
	is_int(status, 0, "a service that may set no special bits");
}

static void
remove_all(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		execlp("rm", "rm", "-rf", "--", root, (char *)NULL);
	waitpid(pid, &status, 0);
	is_int(status, 0, "cleaned up");
}

int
main(void)
{
	arena = arena_new(16 << 20);
	snprintf(root, sizeof(root), "/tmp/slp-store-XXXXXX");
	ok(mkdtemp(root) != NULL, "a directory");
	umask(0777); /* modes do not depend on it */
	store = store_open(root);
	umask(077);
	ok(store != NULL, "opened");
	test_digest();
	test_digest_file();
	test_digest_no_room();
	test_layout();
	test_existing();
	test_staged();
	test_replaced_part();
	test_concurrent();
	test_each();
	test_sweep();
	test_unusable();
	test_read_only();
	test_full();
	test_restricted();
	store_close(store);
	remove_all();
	arena_free(arena);
	return tap_done();
}
