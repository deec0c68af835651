/* What fuzz targets of file readers share. */
#ifndef TESTS_MEDIA_FUZZ_H
#define TESTS_MEDIA_FUZZ_H

#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "fuzz.h"
#include "media/media.h"

enum { FUZZ_ARENA = 96 << 20 };

/* Reads the bytes as a file of the format, when it is one, and checks what every reader promises.
 */
static inline void
fuzz_media(
    const struct media_format *format, const char *filename, const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(FUZZ_ARENA);
	struct media *m = ARENA_NEW(a, struct media);
	struct str head;

	*m = (struct media){.arena = a,
	    .fd = memfd_create("input", MFD_CLOEXEC),
	    .size = (int64_t)size,
	    .filename = str_from(filename),
	    .thumbnails_fd = memfd_create("pictures", MFD_CLOEXEC)};
	must(write(m->fd, data, size) == (ssize_t)size);
	head = media_bytes(m, 0, MEDIA_HEAD);
	if (format->is(m, head))
		format->read(m);
	must(!m->reason_code || m->reason.n);
	if (m->metadata)
		must(str_utf8(str_from(json_object_to_json_string(m->metadata))));
	for (size_t i = 0; i < m->n_thumbnails; i++)
		must(m->thumbnails[i].offset + m->thumbnails[i].length <= m->thumbnails_bytes);
	close(m->fd);
	close(m->thumbnails_fd);
	arena_free(a);
}

#endif
