#include "media/zip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "base/arena.h"
#include "base/buf.h"

/* Where an entry lies in the file: its local header and its stored bytes. */
struct range {
	int64_t start, end;
};

struct entry {
	struct str name;
	int64_t stored, size; /* as the directory says */
	int method;
};

struct unzip {
	struct media *m;
	zip_t *zip;
	struct entry *entries;
	size_t n;
	int64_t inflated;
	/* The descriptor as libzip's source, and which of its bytes were read since `low` was
	 * reset. */
	int64_t at, low, last;
	zip_error_t error;
	char chunk[UNZIP_CHUNK];
};

static zip_int64_t
source_read(struct unzip *z, void *data, zip_uint64_t n)
{
	ssize_t got;

	do
		got = pread(z->m->fd, data, n, z->at);
	while (got < 0 && errno == EINTR);
	if (got < 0) {
		zip_error_set(&z->error, ZIP_ER_READ, errno);
		return -1;
	}
	z->low = z->at < z->low ? z->at : z->low;
	z->last = z->at;
	z->at += got;
	return got;
}

static zip_int64_t
source_seek(struct unzip *z, void *data, zip_uint64_t n)
{
	zip_int64_t to = zip_source_seek_compute_offset(
	    (zip_uint64_t)z->at, (zip_uint64_t)z->m->size, data, n, &z->error);

	if (to < 0)
		return -1;
	z->at = to;
	return 0;
}

static zip_int64_t
source_stat(struct unzip *z, void *data)
{
	zip_stat_t *st = data;

	zip_stat_init(st);
	st->size = (zip_uint64_t)z->m->size;
	st->valid = ZIP_STAT_SIZE;
	return (zip_int64_t)sizeof(*st);
}

static zip_int64_t
source(void *ctx, void *data, zip_uint64_t n, zip_source_cmd_t cmd)
{
	struct unzip *z = ctx;

	switch (cmd) {
	case ZIP_SOURCE_OPEN:
		z->at = 0;
		return 0;
	case ZIP_SOURCE_READ:
		return source_read(z, data, n);
	case ZIP_SOURCE_STAT:
		return source_stat(z, data);
	case ZIP_SOURCE_SEEK:
		return source_seek(z, data, n);
	case ZIP_SOURCE_TELL:
		return z->at;
	case ZIP_SOURCE_ERROR:
		return zip_error_to_data(&z->error, data, n);
	case ZIP_SOURCE_SUPPORTS:
		return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ,
		    ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE,
		    ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_SUPPORTS, -1);
	default:
		return 0;
	}
}

/* What libzip says, in our words. */
static const struct {
	int error;
	const char *code, *text;
} failures[] = {
    {ZIP_ER_NOZIP, "truncated", "The archive has no directory at its end."},
    {ZIP_ER_INCONS, "zip_corrupt",
	"The archive's directory and its entries contradict each other."},
    {ZIP_ER_MEMORY, "too_many_entries", "The archive's directory does not fit into memory."},
    {ZIP_ER_EOF, "truncated", "An entry of the archive is cut off."},
    {ZIP_ER_CRC, "zip_corrupt", "The checksum of an entry of the archive is wrong."},
    {ZIP_ER_ZLIB, "zip_corrupt", "The compressed data of an entry is damaged."},
    {ZIP_ER_COMPRESSED_DATA, "zip_corrupt", "The compressed data of an entry is damaged."},
    {ZIP_ER_COMPNOTSUPP, "zip_method", "An entry is compressed by a method that is not read."},
    {ZIP_ER_SEEK, "zip_corrupt", "The archive's directory is not where the archive says."},
    {ZIP_ER_READ, "zip_corrupt", "The archive's directory is not where the archive says."},
    {ZIP_ER_MULTIDISK, "unparsable", "The archive is spread over several disks."},
};

static bool
fail(struct unzip *z, const zip_error_t *e)
{
	int code = zip_error_code_zip(e);

	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++)
		if (failures[i].error == code)
			return media_fail(z->m, failures[i].code, "%s", failures[i].text);
	return media_fail(z->m, "unparsable", "The archive cannot be read.");
}

static void
discard(void *p)
{
	struct unzip *z = p;

	if (z->zip)
		zip_discard(z->zip);
	zip_error_fini(&z->error);
}

static bool
open_archive(struct unzip *z)
{
	zip_error_t error;
	zip_source_t *s;

	zip_error_init(&error);
	s = zip_source_function_create(source, z, &error);
	if (s)
		z->zip = zip_open_from_source(s, ZIP_RDONLY, &error);
	if (!z->zip) {
		fail(z, &error);
		if (s)
			zip_source_free(s);
	}
	zip_error_fini(&error);
	return z->zip != NULL;
}

/* Does the name lead out of the archive, when somebody takes it for a path? */
static bool
leads_out(struct str name)
{
	struct str rest = name, part;

	if (name.n && (name.p[0] == '/' || name.p[0] == '\\' || (name.n > 1 && name.p[1] == ':')))
		return true;
	while (rest.n) {
		part = str_cut(&rest, '/');
		if (str_eq(part, STR("..")) || str_starts(part, STR("..\\")))
			return true;
	}
	return false;
}

static bool
take_entry(struct unzip *z, size_t i)
{
	zip_uint32_t attributes = 0;
	zip_uint8_t system = 0;
	zip_stat_t st;

	if (zip_stat_index(z->zip, i, ZIP_FL_UNCHANGED, &st) != 0)
		return fail(z, zip_get_error(z->zip));
	if ((st.valid & ZIP_STAT_ENCRYPTION_METHOD) && st.encryption_method != ZIP_EM_NONE)
		return media_fail(z->m, "zip_encrypted", "An entry of the archive is encrypted.");
	zip_file_get_external_attributes(z->zip, i, ZIP_FL_UNCHANGED, &system, &attributes);
	if (system == ZIP_OPSYS_UNIX && S_ISLNK(attributes >> 16))
		return media_fail(
		    z->m, "zip_symlink", "An entry of the archive is a symbolic link.");
	z->entries[i] = (struct entry){.name = str_from(st.name),
	    .stored = st.comp_size > INT64_MAX ? INT64_MAX : (int64_t)st.comp_size,
	    .size = st.size > INT64_MAX ? INT64_MAX : (int64_t)st.size,
	    .method = st.comp_method};
	if (leads_out(z->entries[i].name))
		media_fail(z->m, "path_traversal",
		    "The name of an entry leads out of the archive; it was not read.");
	return true;
}

/* Opens the entry and sees which bytes libzip touches: the local header first, the data last. */
static bool
find_range(struct unzip *z, size_t i, struct range *r)
{
	zip_file_t *f;
	char byte;
	bool good;

	z->low = INT64_MAX;
	f = zip_fopen_index(z->zip, i, ZIP_FL_COMPRESSED | ZIP_FL_UNCHANGED);
	if (!f)
		return fail(z, zip_get_error(z->zip));
	r->start = z->low;
	r->end = z->at;
	good = z->entries[i].stored == 0 || zip_fread(f, &byte, 1) == 1;
	if (z->entries[i].stored > 0)
		r->end = z->last + (good ? z->entries[i].stored : 0);
	if (!good)
		media_fail(z->m, "truncated", "An entry of the archive is cut off.");
	zip_fclose(f);
	return good;
}

static int
by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static bool
check_overlap(struct unzip *z)
{
	struct range *ranges = arena_array(z->m->arena, z->n + 1, sizeof(*ranges));

	for (size_t i = 0; i < z->n; i++) {
		if (z->entries[i].stored > z->m->size)
			return media_fail(z->m, "truncated",
			    "An entry of the archive is larger than the archive.");
		if (!find_range(z, i, &ranges[i]))
			return false;
	}
	qsort(ranges, z->n, sizeof(*ranges), by_start);
	for (size_t i = 1; i < z->n; i++)
		if (ranges[i].start < ranges[i - 1].end)
			return media_fail(z->m, "zip_overlap",
			    "Entries of the archive lie on top of each other.");
	return true;
}

static bool
take_directory(struct unzip *z)
{
	zip_int64_t n = zip_get_num_entries(z->zip, ZIP_FL_UNCHANGED);

	if (n > UNZIP_ENTRIES_MOST)
		return media_fail(z->m, "too_many_entries",
		    "The archive has %lld entries, at most %d are read.", (long long)n,
		    UNZIP_ENTRIES_MOST);
	z->n = n > 0 ? (size_t)n : 0;
	z->entries = arena_array(z->m->arena, z->n + 1, sizeof(*z->entries));
	for (size_t i = 0; i < z->n; i++)
		if (!take_entry(z, i))
			return false;
	return check_overlap(z);
}

struct unzip *
unzip_open(struct media *m)
{
	struct unzip *z = ARENA_NEW(m->arena, struct unzip);

	z->m = m;
	zip_error_init(&z->error);
	arena_defer(m->arena, discard, z);
	return open_archive(z) && take_directory(z) ? z : NULL;
}

size_t
unzip_count(const struct unzip *z)
{
	return z->n;
}

struct str
unzip_name(const struct unzip *z, size_t i)
{
	return z->entries[i].name;
}

ptrdiff_t
unzip_find(const struct unzip *z, struct str name)
{
	ptrdiff_t other = -1;

	for (size_t i = 0; i < z->n; i++) {
		if (str_eq(z->entries[i].name, name))
			return (ptrdiff_t)i;
		if (other < 0 && str_ieq(z->entries[i].name, name))
			other = (ptrdiff_t)i;
	}
	return other;
}

/* Counts what was really inflated. */
static bool
within_limits(struct unzip *z, const struct entry *e, int64_t n)
{
	if (n > UNZIP_RATIO_FROM && n / UNZIP_RATIO_MOST > e->stored)
		return media_fail(z->m, "zip_bomb",
		    "An entry of the archive inflates to more than %d times its size.",
		    UNZIP_RATIO_MOST);
	if (n > UNZIP_ENTRY_MOST)
		return media_fail(z->m, "entry_too_large",
		    "An entry of the archive is over %d MiB when inflated.",
		    UNZIP_ENTRY_MOST >> 20);
	if (z->inflated > UNZIP_TOTAL_MOST)
		return media_fail(z->m, "zip_bomb", "The archive is over %d MiB when inflated.",
		    UNZIP_TOTAL_MOST >> 20);
	return true;
}

static bool
inflate_all(struct unzip *z, const struct entry *e, zip_file_t *f, unzip_fn fn, void *ctx)
{
	int64_t n = 0;

	for (;;) {
		zip_int64_t got = zip_fread(f, z->chunk, sizeof(z->chunk));

		if (got < 0)
			return fail(z, zip_file_get_error(f));
		if (got == 0)
			break;
		n += got;
		z->inflated += got;
		if (!within_limits(z, e, n) || !fn(ctx, (struct str){z->chunk, (size_t)got}))
			return false;
	}
	return n == e->size ||
	    media_fail(z->m, "zip_corrupt", "An entry of the archive is not as long as it says.");
}

bool
unzip_each(struct unzip *z, ptrdiff_t i, unzip_fn fn, void *ctx)
{
	const struct entry *e = &z->entries[i];
	zip_file_t *f;
	bool good;

	if (e->method != ZIP_CM_STORE && e->method != ZIP_CM_DEFLATE)
		return media_fail(z->m, "zip_method",
		    "An entry of the archive is compressed by a method that is not read.");
	f = zip_fopen_index(z->zip, (zip_uint64_t)i, ZIP_FL_UNCHANGED);
	if (!f)
		return fail(z, zip_get_error(z->zip));
	good = inflate_all(z, e, f, fn, ctx);
	zip_fclose(f);
	return good;
}

static bool
gather(void *ctx, struct str bytes)
{
	struct buf *b = ctx;

	buf_str(b, bytes);
	return !b->overflow;
}

bool
unzip_into(struct unzip *z, ptrdiff_t i, struct buf *b)
{
	return i >= 0 && unzip_each(z, i, gather, b);
}

struct str
unzip_bytes(struct unzip *z, ptrdiff_t i, size_t most)
{
	struct str all = STR_NONE;
	struct buf b;

	buf_init(&b, most);
	if (unzip_into(z, i, &b))
		all = str_dup(z->m->arena, b.n ? buf_view(&b) : STR(""));
	buf_fini(&b);
	return all;
}
