/* Any bytes behind STEP's first line. */
#include <stdlib.h>

#include "fuzz_media.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char first[] = "ISO-10303-21;";
	size_t n = sizeof(first) - 1;
	uint8_t *p = malloc(n + size);

	must(p != NULL);
	memcpy(p, first, n);
	memcpy(p + n, data, size);
	fuzz_media(p, n + size, "x.step");
	free(p);
	return 0;
}
