/* Any bytes as an archive: opened, and every entry inflated. */
#include "fuzz_media.h"
#include "media/zip.h"

static bool
count(void *ctx, struct str bytes)
{
	*(size_t *)ctx += bytes.n;
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct media m = {.arena = arena_new(64 << 20),
	    .fd = fuzz_memory(data, size),
	    .size = (int64_t)size,
	    .kind = "3mf",
	    .thumbnails_fd = -1};
	struct unzip *z = unzip_open(&m);
	size_t all = 0;

	must(z || m.reason_code);
	for (size_t i = 0; z && i < unzip_count(z); i++) {
		bool good = unzip_each(z, (ptrdiff_t)i, count, &all);

		must(good || m.reason_code);
		must(unzip_find(z, unzip_name(z, i)) >= 0);
	}
	must(all <= UNZIP_TOTAL_MOST + UNZIP_CHUNK);
	fuzz_check_media(&m);
	close(m.fd);
	arena_free(m.arena);
	return 0;
}
