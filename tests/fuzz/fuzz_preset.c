/* Any bytes as a file of presets. The first byte picks the kind; what is read is written, in both
 * forms, and in its own form comes back as it was. */
#include "base/arena.h"
#include "fuzz.h"
#include "media/preset.h"

static struct arena *arena;

static void
again(const struct presets *in, const struct preset *p)
{
	enum preset_format own = in->format == PRESET_JSON ? PRESET_JSON : PRESET_INI;
	struct str text = preset_write(arena, p, in->format, p->attributes, own);
	struct presets out;

	presets_read(arena, p->kind, STR("x.ini"), text, &out);
	must(out.n <= 1);
	preset_write(
	    arena, p, in->format, p->attributes, own == PRESET_JSON ? PRESET_INI : PRESET_JSON);
	preset_write(arena, p, PRESET_NO_FORMAT, NULL, own);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct presets in;

	if (!size)
		return 0;
	if (!arena)
		arena = arena_new(1 << 29);
	presets_read(arena, data[0] & 1 ? PRESET_PRINTER : PRESET_FILAMENT, STR("fuzz.ini"),
	    (struct str){(const char *)data + 1, size - 1}, &in);
	must(!in.error.p || in.n == 0);
	for (size_t i = 0; i < in.n && i < 8; i++)
		again(&in, &in.v[i]);
	arena_reset(arena);
	return 0;
}
