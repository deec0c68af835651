/* Any bytes on a printer's report topic: parsed, merged, mapped and rendered, as the gateway does;
 * read as an answer; and commands and a start said to a printer in the state that has come of it.
 * The state lives on from input to input within a run of 64, as it does between reports. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/bambu_command.h"
#include "gateway/bambu_report.h"
#include "gateway/reading.h"

#include "fuzz_record.h"

static struct json_tokener *tokener;
static struct bambu_state state;
static struct record record;
static int runs;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
begin(void)
{
	if (!tokener)
		tokener = reading_tokener(BAMBU_DEPTH);
	if (runs++ % 64 != 0)
		return;
	bambu_state_fini(&state);
	record_fini(&record);
	bambu_state_init(&state);
	record_init(&record);
}

/* What goes out is JSON, whatever has come in. */
static void
check_messages(struct bambu_messages *out)
{
	struct json_tokener *check = json_tokener_new();

	for (int i = 0; i < out->n; i++) {
		struct json_object *v = json_tokener_parse_ex(
		    check, out->m[i].json.p, (int)out->m[i].json.n);

		must(json_tokener_get_error(check) == json_tokener_success);
		json_object_put(v);
		json_tokener_reset(check);
	}
	bambu_messages_fini(out);
	json_tokener_free(check);
}

static void
speak(const uint8_t *data, size_t size)
{
	uint32_t sequence = 0;
	struct bambu_about about = {bambu_model(state.product, "", ""), &state, &record, &sequence};
	struct transfer t = {.kind = "gcode_3mf", .task_id = 7};
	struct bambu_messages out;
	const char *words;

	for (int k = 0; k < CMD_KINDS; k++) {
		struct command c = {.kind = (enum command_kind)k};

		bambu_command_messages(&c, &about, &out, &words);
		check_messages(&out);
	}
	memcpy(t.filename, data, size < sizeof(t.filename) ? size : sizeof(t.filename) - 1);
	must(bambu_remote_name(&t, t.remote, sizeof(t.remote)));
	must(
	    strspn(t.remote, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") ==
	    strlen(t.remote));
	bambu_start_messages(&t, &about, &out, &words);
	check_messages(&out);
	bambu_is_job(&state, &t, &record);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bambu_answer answer;
	struct bambu_when now = {
	    .mono_ms = runs * 1000, .unix_ms = 1700000000000 + runs, .no_chamber = size % 2};
	struct json_object *message;
	uint32_t parts = 0;

	begin();
	message = reading_object(tokener, (struct str){(const char *)data, size});
	if (message && bambu_take(&state, message, &parts))
		render(&record, bambu_map(&state, parts, &now, &record));
	if (message && bambu_answer_read(message, &answer))
		must(str_utf8(str_from(answer.words)));
	json_object_put(message);
	speak(data, size);
	return 0;
}
