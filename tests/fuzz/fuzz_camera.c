/* What a camera sends: cut by its markers, and as frames with a head; in pieces of sizes that the
 * input says. */
#include <string.h>

#include "base/log.h"
#include "fuzz.h"
#include "gateway/camera_cut.h"

static void
on_picture(void *ctx, const uint8_t *jpeg, size_t n)
{
	int *pictures = ctx;

	must(picture_is_whole(jpeg, n));
	++*pictures;
}

static void
cut(const uint8_t *data, size_t size, size_t step)
{
	struct picture_cutter c = {0};
	int pictures = 0;

	for (size_t at = 0; at < size; at += step)
		if (!picture_cut(
			&c, data + at, size - at < step ? size - at : step, on_picture, &pictures))
			break;
	must((size_t)pictures <= size / 4);
	picture_cutter_fini(&c);
}

static void
frames(const uint8_t *data, size_t size)
{
	struct frame_reader f = {0};
	enum frame_step step = FRAME_MORE;

	while (size > 0 && step != FRAME_BAD) {
		size_t most, n;
		uint8_t *place = frame_place(&f, &most);

		must(most > 0 && most <= PICTURE_MOST);
		n = size < most ? size : most;
		memcpy(place, data, n);
		step = frame_take(&f, n);
		must(step != FRAME_PICTURE || picture_is_whole(f.picture, f.size));
		data += n;
		size -= n;
	}
	frame_reader_fini(&f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	cut(data + 1, size - 1, 1 + data[0] % 64u);
	frames(data + 1, size - 1);
	return 0;
}
