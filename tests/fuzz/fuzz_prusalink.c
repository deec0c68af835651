/* Any bytes as a PrusaLink printer's answer, to whichever question: read, mapped and rendered. The
 * state lives on from input to input within a run of 64, as it does between answers. */
#include <string.h>

#include "base/log.h"
#include "gateway/prusalink_state.h"

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
check_text(const char *text, size_t size)
{
	must(memchr(text, '\0', size) != NULL && str_utf8(str_from(text)));
}

static void
render(uint32_t changed)
{
	struct json_tokener *check = json_tokener_new();
	struct buf b;

	buf_init(&b, 1 << 16);
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
		render(prusalink_map(&state, &now, &record));
	}
	json_object_put(v);
	if (size % 7 == 0)
		prusalink_state_forget(&state);
	return 0;
}
