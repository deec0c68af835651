/* Any bytes as an OctoPrint's answer to whichever question, or as a message of its websocket:
 * taken, mapped and rendered. The state lives on from input to input within a run of 64. */
#include <string.h>

#include "base/log.h"
#include "gateway/octoprint_camera.h"
#include "gateway/octoprint_report.h"
#include "gateway/reading.h"

#include "fuzz_record.h"

static struct json_tokener *tokener;
static struct octo_state state;
static struct record record;
static int runs;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
begin(void)
{
	if (!tokener)
		tokener = reading_tokener(OCTO_DEPTH);
	if (runs++ % 64 != 0)
		return;
	record_fini(&record);
	record_init(&record);
	octo_state_init(&state);
}

static void
show(void)
{
	render(&record, octo_map(&state, 1700000000000 + runs, &record));
}

static void
take_camera(struct json_object *v)
{
	struct camera_source c;

	octo_take_camera(v, "octopi", runs % 2 ? "192.0.2.7" : "2001:db8::7", 5000, &c);
	check_text(c.url, sizeof(c.url));
	must((c.kind == CAMERA_NONE) == (c.url[0] == '\0'));
	must(c.kind == CAMERA_NONE || strncmp(c.url, "http", 4) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str body = {(const char *)data, size};
	char words[160], who[300];
	struct json_object *v;

	begin();
	octo_words(tokener, body, words, sizeof(words));
	check_text(words, sizeof(words));
	v = reading_object(tokener, body);
	if (!v)
		return 0;
	if (octo_take_version(&state, v) || octo_take_printer(&state, v))
		show();
	if (octo_take_job(&state, v))
		show();
	if (octo_take_push(&state, v) != OCTO_IGNORED)
		show();
	if (octo_login(v, who, sizeof(who)))
		check_text(who, sizeof(who));
	take_camera(v);
	json_object_put(v);
	if (size % 7 == 0)
		octo_state_forget(&state);
	if (size % 11 == 0)
		octo_take_no_printer(&state);
	return 0;
}
