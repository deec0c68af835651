/* Any bytes as a mesh: the first byte picks STL or OBJ. */
#include "fuzz_media.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size)
		fuzz_media(data + 1, size - 1, data[0] & 1 ? "x.obj" : "x.stl");
	return 0;
}
