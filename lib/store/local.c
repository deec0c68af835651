/* The local directory of store.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"
#include "store/digest.h"
#include "store/store.h"

enum {
	FILE_MODE = 0640,
	DIR_MODE = 0770,
	SHARDS = 256,
	KEY_LEN = 6 + UUID_TEXT_LEN, /* "c3/d4/<id>" */
	STAGED_NAME_LEN = UUID_TEXT_LEN + 16,
};

struct store {
	int root, blobs, staging, tmp;
	/* Fan-out directories whose entry in their parent this process knows to be on disk. */
	bool known[SHARDS], known_low[SHARDS][SHARDS];
};

static int
open_dir(int parent, const char *name)
{
	return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void
close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static bool
on_disk(int dir)
{
	return fsync(dir) == 0;
}

/* 36 random characters: the name of something that is on its way. */
static void
random_name(char out[UUID_TEXT_LEN + 1])
{
	uuid_text(uuid_v7(), out);
}

/* The group's, and so is what will be in it; a service that may not set the bit for that has the
 * store's group as its own. */
static bool
open_to_group(int parent, const char *name)
{
	return fchmodat(parent, name, DIR_MODE | S_ISGID, 0) == 0 ||
	    (errno == EPERM && fchmodat(parent, name, DIR_MODE, 0) == 0);
}

/* Makes the directory with its final mode, so that nobody meets it with the umask's. */
static bool
make_dir(int parent, int scratch, const char *name)
{
	char temp[UUID_TEXT_LEN + 1];
	int reason;

	random_name(temp);
	if (mkdirat(scratch, temp, 0700) != 0)
		return false;
	if (open_to_group(scratch, temp) &&
	    renameat2(scratch, temp, parent, name, RENAME_NOREPLACE) == 0)
		return true;
	reason = errno;
	unlinkat(scratch, temp, AT_REMOVEDIR);
	errno = reason;
	if (reason != EINVAL) /* else the filesystem cannot do it without replacing */
		return reason == EEXIST;
	return (mkdirat(parent, name, 0700) == 0 && open_to_group(parent, name)) || errno == EEXIST;
}

/* Opens it, made when missing; -1 with errno. */
static int
need_dir(int parent, int scratch, const char *name)
{
	int fd = open_dir(parent, name);

	if (fd >= 0 || errno != ENOENT || !make_dir(parent, scratch, name))
		return fd;
	return open_dir(parent, name);
}

struct store *
store_open(const char *directory)
{
	struct store *s = calloc(1, sizeof(*s));

	must(s != NULL);
	s->blobs = s->staging = s->tmp = -1;
	if (mkdir(directory, DIR_MODE) == 0)
		(void)open_to_group(AT_FDCWD, directory);
	s->root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->root >= 0)
		s->tmp = need_dir(s->root, s->root, "tmp");
	if (s->tmp >= 0)
		s->blobs = need_dir(s->root, s->tmp, "blobs");
	if (s->blobs >= 0)
		s->staging = need_dir(s->root, s->tmp, "staging");
	if (s->staging >= 0)
		return s;
	log_error("the store's directory cannot be used", LOG_Z("directory", directory),
	    LOG_Z("reason", strerror(errno)));
	store_close(s);
	return NULL;
}

void
store_close(struct store *s)
{
	if (!s)
		return;
	close_fd(s->root);
	close_fd(s->blobs);
	close_fd(s->staging);
	close_fd(s->tmp);
	free(s);
}

static void
key_text(struct uuid blob, char out[KEY_LEN + 1])
{
	char id[UUID_TEXT_LEN + 1];

	uuid_text(blob, id);
	snprintf(
	    out, KEY_LEN + 1, "%.2s/%.2s/%s", id + UUID_TEXT_LEN - 4, id + UUID_TEXT_LEN - 2, id);
}

struct str
store_key(struct arena *a, struct uuid blob)
{
	char key[KEY_LEN + 1];

	key_text(blob, key);
	return str_dup(a, str_from(key));
}

/* An unnamed file where O_TMPFILE is unknown: it can be copied only, not linked. */
static int
nameless(struct store *s)
{
	char name[UUID_TEXT_LEN + 1];
	int fd;

	random_name(name);
	fd = openat(s->tmp, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
	if (fd >= 0)
		unlinkat(s->tmp, name, 0);
	return fd;
}

int
store_temp(struct store *s)
{
	int fd = openat(s->tmp, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, FILE_MODE);

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
		return nameless(s);
	return fd;
}

/* The blob's directory, made when missing and then on disk with all above it; -1 with errno. */
static int
shard_dir(struct store *s, struct uuid blob)
{
	uint8_t high = blob.b[14], low = blob.b[15];
	char name[3];
	int upper, fd;

	snprintf(name, sizeof(name), "%02x", high);
	upper = need_dir(s->blobs, s->tmp, name);
	if (upper < 0)
		return -1;
	snprintf(name, sizeof(name), "%02x", low);
	fd = need_dir(upper, s->tmp, name);
	/* Whoever made them may not have come to sync them. */
	if (fd >= 0 && !s->known[high])
		s->known[high] = on_disk(s->blobs);
	if (fd >= 0 && !s->known_low[high][low])
		s->known_low[high][low] = on_disk(upper);
	if (fd >= 0 && !(s->known[high] && s->known_low[high][low])) {
		close(fd);
		fd = -1;
	}
	close(upper);
	return fd;
}

/* A second file in tmp/ with the same bytes, for descriptors that cannot be linked. */
static bool
copy_named(struct store *s, int from, const char *name)
{
	struct digest *d = digest_new();
	int to = openat(s->tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
	int64_t size;
	bool good = to >= 0 && digest_copy(from, to, d, &size, NULL, NULL) &&
	    fchmod(to, FILE_MODE) == 0 && fsync(to) == 0;

	close_fd(to);
	digest_free(d);
	return good;
}

/* Gives the descriptor's file a name in tmp/. */
static bool
name_temp(struct store *s, int fd, const char *name)
{
	char self[40];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, self, s->tmp, name, AT_SYMLINK_FOLLOW) == 0)
		return true;
	return copy_named(s, fd, name);
}

/* On disk, readable for the group, and new: sweeps go by the time at which an object became one.
 * The file may be another user's (nginx'), who gave the group what it needs. */
static bool
settle(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || futimens(fd, NULL) != 0)
		return false;
	if ((st.st_mode & 0777) != FILE_MODE && fchmod(fd, FILE_MODE) != 0 &&
	    (errno != EPERM || !(st.st_mode & 0040)))
		return false;
	return fsync(fd) == 0;
}

static bool
tell(const char *what, struct uuid blob)
{
	int reason = errno;
	char id[UUID_TEXT_LEN + 1];

	uuid_text(blob, id);
	log_error(what, LOG_Z("blob_id", id), LOG_Z("reason", strerror(reason)));
	errno = reason;
	return false;
}

bool
store_keep(struct store *s, int fd, struct uuid blob)
{
	char temp[UUID_TEXT_LEN + 1], id[UUID_TEXT_LEN + 1];
	int dir = shard_dir(s, blob);
	bool kept;

	random_name(temp);
	uuid_text(blob, id);
	kept = dir >= 0 && settle(fd) && name_temp(s, fd, temp) &&
	    renameat(s->tmp, temp, dir, id) == 0 && on_disk(dir);
	if (!kept) {
		tell("an object could not be stored", blob);
		(void)unlinkat(s->tmp, temp, 0);
	}
	close_fd(dir);
	return kept;
}

static void
staged_name(struct uuid file, int part, char out[STAGED_NAME_LEN])
{
	char id[UUID_TEXT_LEN + 1];

	uuid_text(file, id);
	snprintf(out, STAGED_NAME_LEN, "%s.%d", id, part);
}

bool
store_keep_staged(struct store *s, struct uuid file, int part, struct uuid blob)
{
	char name[STAGED_NAME_LEN], id[UUID_TEXT_LEN + 1];
	int dir = shard_dir(s, blob), fd = store_staged(s, file, part);
	bool kept;

	staged_name(file, part, name);
	uuid_text(blob, id);
	kept = dir >= 0 && fd >= 0 && settle(fd) && renameat(s->staging, name, dir, id) == 0 &&
	    on_disk(dir);
	if (!kept)
		tell("an uploaded part could not be stored", blob);
	close_fd(fd);
	close_fd(dir);
	return kept;
}

int
store_blob(struct store *s, struct uuid blob)
{
	char key[KEY_LEN + 1];

	key_text(blob, key);
	return openat(s->blobs, key, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

int
store_staged(struct store *s, struct uuid file, int part)
{
	char name[STAGED_NAME_LEN];

	staged_name(file, part, name);
	return openat(s->staging, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

bool
store_drop(struct store *s, struct uuid blob)
{
	char key[KEY_LEN + 1];

	key_text(blob, key);
	return unlinkat(s->blobs, key, 0) == 0 || errno == ENOENT || tell("an object stays", blob);
}

int64_t
store_free_bytes(const struct store *s)
{
	struct statvfs v;

	return fstatvfs(s->blobs, &v) == 0 ? (int64_t)v.f_bavail * (int64_t)v.f_frsize : 0;
}

/* The open directory from its beginning, with its own position; NULL with errno. */
static DIR *
list_dir(int parent, const char *name)
{
	int fd = open_dir(parent, name);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

	if (!d && fd >= 0)
		close(fd);
	return d;
}

/* The next name but "." and "..", with its stat; false at the end. */
static bool
list_next(DIR *d, const char **name, struct stat *st)
{
	struct dirent *e;

	while ((e = readdir(d))) { /* cppcheck-suppress readdirCalled; each has its own stream */
		if (str_eq(str_from(e->d_name), STR(".")) || str_eq(str_from(e->d_name), STR("..")))
			continue;
		if (fstatat(dirfd(d), e->d_name, st, AT_SYMLINK_NOFOLLOW) != 0)
			continue; /* gone meanwhile */
		*name = e->d_name;
		return true;
	}
	return false;
}

void
store_drop_staged(struct store *s, struct uuid file)
{
	char prefix[UUID_TEXT_LEN + 2];
	DIR *d = list_dir(s->root, "staging");
	const char *name;
	struct stat st;

	uuid_text(file, prefix);
	prefix[UUID_TEXT_LEN] = '.';
	prefix[UUID_TEXT_LEN + 1] = '\0';
	while (d && list_next(d, &name, &st))
		if (str_starts(str_from(name), str_from(prefix)))
			(void)unlinkat(s->staging, name, 0);
	if (d)
		closedir(d);
}

typedef bool (*each_fn)(void *ctx, const struct store_entry *e);

/* A directory of the fan-out, named by one byte. */
static bool
is_shard(const char *name, const struct stat *st, uint8_t *byte)
{
	struct str s = str_from(name);

	return S_ISDIR(st->st_mode) && s.n == 2 && str_unhex(s, byte, 1);
}

static void
entry_of(const char *name, const struct stat *st, int high, int low, struct store_entry *e)
{
	struct uuid u;

	*e = (struct store_entry){
	    .shard = high, .size = st->st_size, .modified_s = st->st_mtim.tv_sec};
	if (S_ISREG(st->st_mode) && uuid_parse(str_from(name), &u) && u.b[14] == high &&
	    u.b[15] == low)
		e->blob = u;
}

/* The objects of blobs/<high>/<name>; of blobs/<high> itself when low < 0. */
static bool
each_in(DIR *d, int high, int low, each_fn fn, void *ctx)
{
	const char *name;
	struct stat st;
	struct store_entry e;
	uint8_t byte;
	bool go = true;

	while (go && list_next(d, &name, &st)) {
		DIR *lower = low < 0 && is_shard(name, &st, &byte) ? list_dir(dirfd(d), name)
								   : NULL;

		if (lower) {
			go = each_in(lower, high, byte, fn, ctx);
			closedir(lower);
		} else {
			entry_of(name, &st, high, low, &e);
			go = fn(ctx, &e);
		}
	}
	return go;
}

/* What lies in blobs/ beside the fan-out. */
static bool
each_stranger(struct store *s, each_fn fn, void *ctx)
{
	DIR *d = list_dir(s->root, "blobs");
	const char *name;
	struct stat st;
	struct store_entry e;
	uint8_t byte;
	bool go = d != NULL;

	while (go && list_next(d, &name, &st)) {
		if (is_shard(name, &st, &byte))
			continue;
		entry_of(name, &st, -1, -1, &e);
		go = fn(ctx, &e);
	}
	if (d)
		closedir(d);
	return go;
}

bool
store_each(struct store *s, int first, each_fn fn, void *ctx)
{
	bool go = first > 0 || each_stranger(s, fn, ctx);

	for (int high = first; go && high < SHARDS; high++) {
		char name[3];
		DIR *d;

		snprintf(name, sizeof(name), "%02x", (unsigned)high);
		d = list_dir(s->blobs, name);
		if (!d && errno == ENOENT)
			continue;
		go = d && each_in(d, high, -1, fn, ctx);
		if (d)
			closedir(d);
	}
	return go;
}

static struct uuid
staged_file(const char *name)
{
	struct str s = str_from(name);
	struct uuid file;

	if (s.n <= UUID_TEXT_LEN || s.p[UUID_TEXT_LEN] != '.')
		return (struct uuid){{0}};
	s.n = UUID_TEXT_LEN;
	return uuid_parse(s, &file) ? file : (struct uuid){{0}};
}

static int
sweep_dir(struct store *s, const char *which, int64_t before_s, keep_fn keep, void *ctx)
{
	DIR *d = list_dir(s->root, which);
	const char *name;
	struct stat st;
	int n = 0;

	while (d && list_next(d, &name, &st)) {
		struct uuid file = staged_file(name);
		int how = S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0;

		if (st.st_mtim.tv_sec >= before_s ||
		    (keep && !uuid_is_zero(file) && keep(ctx, file)))
			continue;
		n += unlinkat(dirfd(d), name, how) == 0;
	}
	if (d)
		closedir(d);
	return n;
}

int
store_sweep_staging(struct store *s, int64_t before_s, keep_fn keep, void *ctx)
{
	return sweep_dir(s, "staging", before_s, keep, ctx) +
	    sweep_dir(s, "tmp", before_s, NULL, NULL);
}
