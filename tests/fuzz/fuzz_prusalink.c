/* Any bytes as a PrusaLink printer's answer, to whichever question: read, mapped and rendered. The
 * state lives on from input to input within a run of 64, as it does between answers. */
#include <string.h>

#include "base/log.h"
#include "gateway/prusalink_state.h"

#include "fuzz_record.h"

static struct prusalink_state state;
static struct record record;
static int runs;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
begin(void)
{
	if (runs++ % 64 != 0)
		return;
	record_fini(&record);
	record_init(&record);
	prusalink_state_init(&state);
}

static void
read_all(struct json_object *v)
{
	struct prusalink_file f;
	char path[64], serial[32];

	prusalink_read_job(&state, v);
	prusalink_read_version(&state, v);
	if (prusalink_read_serial(v, serial, sizeof(serial)))
		check_text(serial, sizeof(serial));
	if (!prusalink_read_file(&f, v))
		return;
	prusalink_path(&f, path, sizeof(path));
	check_text(path, sizeof(path));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct prusalink_when now = {(int64_t)runs * 20000, 1700000000000 + runs};
	struct str body = {(const char *)data, size};
	struct json_object *v;
	char words[40];

	begin();
	prusalink_read_problem(body, words, sizeof(words));
	check_text(words, sizeof(words));
	v = prusalink_parse(body);
	if (!v)
		return 0;
	read_all(v);
	if (prusalink_read_status(&state, v)) {
		prusalink_wants_names(&state);
		render(&record, prusalink_map(&state, &now, &record));
	}
	json_object_put(v);
	if (size % 7 == 0)
		prusalink_state_forget(&state);
	return 0;
}
