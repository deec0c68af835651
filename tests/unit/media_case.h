/* What tests of file readers share: a file made of bytes, and places in what was read of it. */
#ifndef TESTS_MEDIA_CASE_H
#define TESTS_MEDIA_CASE_H

#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "media/media.h"
#include "tap.h"

enum { CASE_ARENA = 64 << 20 };

/* A file without a name. */
__attribute__((unused)) static int
case_fd(struct str content)
{
	int fd = memfd_create("case", MFD_CLOEXEC);
	size_t done = 0;

	while (fd >= 0 && done < content.n) {
		ssize_t n = write(fd, content.p + done, content.n - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return fd;
}

/* Reads it; case_free afterwards. */
__attribute__((unused)) static struct media *
case_read(const char *filename, struct str content)
{
	struct arena *a = arena_new(CASE_ARENA);
	struct media *m = ARENA_NEW(a, struct media);

	*m = (struct media){.arena = a,
	    .fd = case_fd(content),
	    .size = (int64_t)content.n,
	    .filename = str_from(filename),
	    .thumbnails_fd = case_fd(STR_NONE)};
	media_read(m);
	return m;
}

__attribute__((unused)) static void
case_free(struct media *m)
{
	close(m->fd);
	close(m->thumbnails_fd);
	arena_free(m->arena);
}

/* The value at a place like "filaments.0.weight_mg", as JSON text; "" when there is none. In the
 * arena. */
__attribute__((unused)) static struct str
case_at(struct media *m, const char *place)
{
	struct str rest = str_from(place);
	struct json_object *o = m->metadata;

	while (rest.p && o) {
		struct str step = str_cut(&rest, '.');
		int64_t index;

		if (json_object_is_type(o, json_type_array))
			o = str_to_i64(step, &index) ? json_object_array_get_idx(o, (size_t)index)
						     : NULL;
		else
			o = json_object_object_get(o, str_z(m->arena, step));
	}
	if (!o)
		return STR("");
	return str_dup(m->arena,
	    str_from(json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)));
}

struct case_fact {
	const char *place, *value;
};

__attribute__((unused)) static void
case_facts(struct media *m, const char *name, const struct case_fact *facts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct str what = str_fmt(m->arena, "%s: %s", name, facts[i].place);

		is_str(case_at(m, facts[i].place), str_from(facts[i].value), what.p);
	}
}

#define CASE_FACTS(m, name, facts)                                                                 \
	case_facts((m), (name), (facts), sizeof(facts) / sizeof((facts)[0]))

#endif
