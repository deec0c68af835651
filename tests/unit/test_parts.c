/* Parts add up to the file, whatever its size. */
#include "store/parts.h"
#include "tap.h"

static const struct {
	int64_t size, part;
	int n;
	int64_t last;
} cases[] = {
    {1, 100, 1, 1},
    {99, 100, 1, 99},
    {100, 100, 1, 100},
    {101, 100, 2, 1},
    {200, 100, 2, 100},
    {201, 100, 3, 1},
    {PART_BYTES, PART_BYTES, 1, PART_BYTES},
    {(int64_t)64 << 30, PART_BYTES, 1024, PART_BYTES},
    {((int64_t)64 << 30) - 1, PART_BYTES, 1024, PART_BYTES - 1},
};

int
main(void)
{
	TAP_EACH(cases, c)
	{
		int64_t sum = 0;

		is_int(parts_of(c->size, c->part), c->n, "how many");
		is_int(part_size(c->size, c->part, c->n), c->last, "the last");
		for (int n = 1; n <= c->n; n++)
			sum += part_size(c->size, c->part, n);
		is_int(sum, c->size, "together");
		is_int(part_size(c->size, c->part, 0), 0, "none before the first");
		is_int(part_size(c->size, c->part, c->n + 1), 0, "none behind the last");
	}
	return tap_done();
}
