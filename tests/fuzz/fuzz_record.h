/* What every driver's fuzz target checks of the record that has come of its input. */
#ifndef TESTS_FUZZ_RECORD_H
#define TESTS_FUZZ_RECORD_H

#include <json-c/json.h>
#include <string.h>

#include "base/log.h"
#include "gateway/record.h"

/* Ends within its buffer, and is UTF-8. */
__attribute__((unused)) static void
check_text(const char *text, size_t size)
{
	must(memchr(text, '\0', size) != NULL && str_utf8(str_from(text)));
}

/* The sections are JSON. */
__attribute__((unused)) static void
render(const struct record *record, uint32_t changed)
{
	struct json_tokener *check = json_tokener_new();
	struct buf b;

	buf_init(&b, 1 << 18);
	for (uint32_t bit = REC_JOB; bit <= REC_EXTRA; bit <<= 1) {
		struct json_object *v;

		if (!(changed & bit))
			continue;
		buf_clear(&b);
		record_json(&b, record, bit);
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

#endif
