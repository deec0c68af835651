/* Any bytes from a Moonraker: each input is read as a message's params or result in every way there
 * is, mapped and rendered. The state lives on from input to input within a run of 64. */
#include <stdlib.h>

#include "base/log.h"
#include "gateway/moonraker_state.h"
#include "gateway/reading.h"

static struct json_tokener *tokener;
static struct moonraker_state state;
static struct record record;
static int runs;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
begin(void)
{
	if (!tokener) {
		tokener = json_tokener_new_ex(32);
		json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	}
	if (runs++ % 64 != 0)
		return;
	record_fini(&record);
	moonraker_state_init(&state);
	record_init(&record);
}

static void
render(uint32_t changed)
{
	struct json_tokener *check = json_tokener_new();
	struct buf b;

	buf_init(&b, 1 << 18);
	for (uint32_t bit = REC_JOB; bit <= REC_EXTRA; bit <<= 1) {
		struct json_object *v;

		if (!(changed & bit))
			continue;
		buf_clear(&b);
		record_json(&b, &record, bit);
		must(!b.overflow && str_utf8(buf_view(&b)));
		json_tokener_reset(check);
		v = json_tokener_parse_ex(check, b.p, (int)b.n);
		must(json_tokener_get_error(check) == json_tokener_success ||
		    str_eq(buf_view(&b), STR("null")));
		json_object_put(v);
	}
	buf_fini(&b);
	json_tokener_free(check);
}

static void
feed(struct json_object *v)
{
	struct moonraker_when now = {runs * 1000, 1700000000000 + runs};
	enum klippy k = moonraker_klippy(reading_member(v, "klippy_state"));
	uint32_t parts;

	moonraker_take_objects(&state, v);
	parts = moonraker_take_status(&state, v);
	parts |= moonraker_take_status(&state, reading_member(v, "status"));
	parts |= moonraker_take_history(&state, v);
	if (reading_member(v, "estimated_time"))
		parts |= moonraker_take_metadata(&state, v);
	if (k != KLIPPY_UNKNOWN)
		state.klippy = k;
	state.full = runs % 16 != 0;
	render(moonraker_map(
	    &state, runs % 8 == 0 ? MOONRAKER_ALL : parts | MOONRAKER_STATE, &now, &record));
	if (runs % 32 == 0)
		moonraker_state_forget(&state);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_object *v;

	begin();
	if (size == 0 || size > 1 << 20)
		return 0;
	json_tokener_reset(tokener);
	v = json_tokener_parse_ex(tokener, (const char *)data, (int)size);
	if (json_tokener_get_error(tokener) == json_tokener_success)
		feed(v);
	json_object_put(v);
	return 0;
}
