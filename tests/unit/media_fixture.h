/* Readers of lib/media over bytes in memory. */
#ifndef TESTS_MEDIA_FIXTURE_H
#define TESTS_MEDIA_FIXTURE_H

#include <sys/mman.h>
#include <unistd.h>
#include <zip.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "media/media.h"

#include "tap.h"

struct fixture {
	struct arena *arena;
	struct media *m; /* in the arena */
};

__attribute__((unused)) static int
fixture_file(struct str bytes)
{
	int fd = memfd_create("media", MFD_CLOEXEC);

	must(fd >= 0);
	must(write(fd, bytes.p ? bytes.p : "", bytes.n) == (ssize_t)bytes.n);
	return fd;
}

/* Opens the bytes as a file of that name, without reading it. */
__attribute__((unused)) static struct fixture
fixture_open(struct str bytes, const char *filename)
{
	struct fixture f = {.arena = arena_new(160 << 20)};

	f.m = ARENA_NEW(f.arena, struct media);
	*f.m = (struct media){.arena = f.arena,
	    .fd = fixture_file(bytes),
	    .size = (int64_t)bytes.n,
	    .filename = str_from(filename),
	    .thumbnails_fd = fixture_file(STR(""))};
	return f;
}

__attribute__((unused)) static struct fixture
fixture_read(struct str bytes, const char *filename)
{
	struct fixture f = fixture_open(bytes, filename);

	media_read(f.m);
	return f;
}

__attribute__((unused)) static void
fixture_close(struct fixture *f)
{
	close(f->m->fd);
	close(f->m->thumbnails_fd);
	arena_free(f->arena);
}

/* The metadata's member as JSON text; "" when it is not there. */
__attribute__((unused)) static struct str
fixture_member(const struct fixture *f, const char *name)
{
	struct json_object *v = NULL;

	if (!json_object_object_get_ex(f->m->metadata, name, &v))
		return STR("");
	return str_from(v ? json_object_to_json_string_ext(
				v, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)
			  : "null");
}

struct zip_item {
	const char *name;
	struct str content;
};

/* An archive of these entries, in the buffer; ends at an item without a name. */
__attribute__((unused)) static void
fixture_zip(struct buf *out, const struct zip_item *items)
{
	zip_error_t error;
	zip_source_t *source = zip_source_buffer_create(NULL, 0, 0, &error);
	zip_t *z = zip_open_from_source(source, ZIP_TRUNCATE, &error);
	zip_stat_t st;
	char *p;

	must(z != NULL);
	zip_source_keep(source);
	for (; items->name; items++)
		must(zip_file_add(z, items->name,
			 zip_source_buffer(z, items->content.p, items->content.n, 0), 0) >= 0);
	must(zip_close(z) == 0);
	must(zip_source_stat(source, &st) == 0 && zip_source_open(source) == 0);
	p = malloc(st.size);
	must(p && zip_source_read(source, p, st.size) == (zip_int64_t)st.size);
	buf_clear(out);
	buf_add(out, p, st.size);
	free(p);
	zip_source_close(source);
	zip_source_free(source);
}

#endif
