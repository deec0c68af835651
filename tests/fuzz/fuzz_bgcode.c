/* Binary G-code; checksums that are wrong are tried right, too, so that what is behind them is
 * reached. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "media/formats.h"
#include "media_fuzz.h"

enum { FILE_HEADER = 10, THUMBNAIL = 5 };

static uint32_t
le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Puts the right checksum behind each block that is there. */
static void
repair(uint8_t *p, size_t n)
{
	size_t at = FILE_HEADER;

	while (at + 12 <= n) {
		bool packed = p[at + 2] || p[at + 3];
		size_t data = le32(p + at + (packed ? 8 : 4));
		size_t size = (packed ? 12U : 8U) + (p[at] == THUMBNAIL ? 6U : 2U) + data;
		uint32_t crc;

		if (size + 4 > n - at)
			return;
		crc = (uint32_t)crc32(0, p + at, (uInt)size);
		for (int i = 0; i < 4; i++)
			p[at + size + (size_t)i] = (uint8_t)(crc >> 8 * i);
		at += size + 4;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	must(copy != NULL);
	memcpy(copy, data, size);
	fuzz_media(&format_bgcode, "x.bgcode", data, size);
	repair(copy, size);
	fuzz_media(&format_bgcode, "x.bgcode", copy, size);
	free(copy);
	return 0;
}
