/* What the targets of lib/media share: a reader over the input, as a file of a name. */
#ifndef TESTS_FUZZ_MEDIA_H
#define TESTS_FUZZ_MEDIA_H

#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "fuzz.h"
#include "media/media.h"

/* The answer must be one that the contract can show. */
static inline void
fuzz_check_media(const struct media *m)
{
	must(m->kind != NULL);
	must((m->reason_code != NULL) == (m->reason.p != NULL));
	must(str_utf8(m->reason));
	must(m->n_keys <= SCAN_KEYS_MOST && m->n_thumbnails <= SCAN_THUMBNAILS_MOST);
	for (size_t i = 0; i < m->n_keys; i++)
		must(m->keys[i].n == 5 + 64 && str_starts(m->keys[i], STR("mesh:")));
	if (m->metadata) {
		struct str text = str_from(json_object_to_json_string(m->metadata));
		struct json_tokener *t = json_tokener_new();

		/* Strictly JSON: no NaN, no Infinity. */
		json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
		json_object_put(json_tokener_parse_ex(t, text.p, (int)text.n));
		must(json_tokener_get_error(t) == json_tokener_success);
		json_tokener_free(t);
	}
}

static inline int
fuzz_memory(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	must(fd >= 0);
	must(write(fd, data, size) == (ssize_t)size);
	return fd;
}

static inline void
fuzz_media(const uint8_t *data, size_t size, const char *filename)
{
	struct media m = {.arena = arena_new(256 << 20),
	    .fd = fuzz_memory(data, size),
	    .size = (int64_t)size,
	    .filename = str_from(filename),
	    .thumbnails_fd = fuzz_memory(data, 0)};

	media_read(&m);
	fuzz_check_media(&m);
	close(m.fd);
	close(m.thumbnails_fd);
	arena_free(m.arena);
}

#endif
