/* The first bytes of pictures. */
#include "media_fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(1 << 20);
	struct media m = {.arena = a, .thumbnails_fd = memfd_create("pictures", MFD_CLOEXEC)};

	media_picture(&m, 0, (struct str){(const char *)data, size});
	must(m.n_thumbnails <= 1);
	if (m.n_thumbnails) {
		must(m.thumbnails[0].length == (int64_t)size && m.thumbnails[0].content_type);
		must(m.thumbnails[0].width > 0 && m.thumbnails[0].width <= 8192);
		must(m.thumbnails[0].height > 0 && m.thumbnails[0].height <= 8192);
	}
	close(m.thumbnails_fd);
	arena_free(a);
	return 0;
}
