/* Any bytes from a Moonraker: each input is read as a message's params or result in every way there
 * is, mapped and rendered. The state lives on from input to input within a run of 64. */
#include <stdlib.h>

#include "base/log.h"
#include "gateway/moonraker_state.h"
#include "gateway/reading.h"

#include "fuzz_record.h"

static struct json_tokener *tokener;
static struct moonraker_state state;
static struct record record;
static int runs;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
begin(void)
{
	if (!tokener)
		tokener = reading_tokener(32);
	if (runs++ % 64 != 0)
		return;
	record_fini(&record);
	moonraker_state_init(&state);
	record_init(&record);
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
	render(&record,
	    moonraker_map(
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
