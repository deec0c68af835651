/* G-code text, as a file and in pieces: both must read the same. */
#include "media/gcode.h"

#include "media/formats.h"
#include "media_fuzz.h"

static void
check_pieces(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(FUZZ_ARENA);
	struct media m = {.arena = a, .fd = -1, .thumbnails_fd = -1};
	struct json_object *whole = json_object_new_object(), *pieces = json_object_new_object();
	struct gcode *g = gcode_new(&m, 0);
	size_t step = 1 + data[0] % 61;

	gcode_read_text(&m, 0, (struct str){(const char *)data, size}, whole);
	for (size_t i = 0; i < size; i += step)
		gcode_feed(
		    g, (struct str){(const char *)data + i, i + step < size ? step : size - i});
	gcode_end(g, pieces);
	must(json_object_equal(whole, pieces));
	json_object_put(whole);
	json_object_put(pieces);
	arena_free(a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	fuzz_media(&format_gcode, "x.gcode", data, size);
	check_pieces(data, size);
	return 0;
}
