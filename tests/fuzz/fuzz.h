/* What fuzz targets share. Each defines LLVMFuzzerTestOneInput; linked with libFuzzer it searches
 * for inputs, linked with replay.c it runs those of tests/fuzz/corpus once. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "gen/errors.h"
#include "http/validate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An error names at least one place, success none; every pointer is one, every text is there. */
static inline void
fuzz_check_violations(const struct err *e, const struct violations *v)
{
	must((e != NULL) == (v->n > 0));
	must(v->n <= VIOLATIONS_MAX);
	for (size_t i = 0; i < v->n; i++) {
		struct str pointer = v->v[i].pointer;

		must(pointer.n == 0 || pointer.p[0] == '/');
		must(v->v[i].code.n && v->v[i].message.n);
	}
}

/* Shapes before the NULL. */
static inline size_t
fuzz_count(const struct shape *const *shapes)
{
	size_t n = 0;

	while (shapes[n])
		n++;
	return n;
}

#endif
