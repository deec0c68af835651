#include "store/parts.h"

int
parts_of(int64_t size, int64_t part_bytes)
{
	return size > part_bytes ? (int)((size - 1) / part_bytes + 1) : 1;
}

int64_t
part_size(int64_t size, int64_t part_bytes, int64_t n)
{
	if (n < 1 || n > parts_of(size, part_bytes))
		return 0;
	return n < parts_of(size, part_bytes) ? part_bytes : size - (n - 1) * part_bytes;
}
