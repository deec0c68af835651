/* Unit tests are programs that print TAP: one "ok" or "not ok" line per check, and the plan at the
 * end.
 *
 *     static const struct { const char *in; bool want; } cases[] = {...};
 *     TAP_EACH(cases, c)
 *             ok(f(c->in) == c->want, "f(%s)", c->in);
 *     return tap_done();
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static struct {
	int n, failed;
} tap_;

/* Walks a table: `it` is a pointer to each row. */
#define TAP_EACH(table, it)                                                                        \
	for (const __typeof__((table)[0]) *it = (table);                                           \
	     it < (table) + sizeof(table) / sizeof((table)[0]); it++)

__attribute__((format(printf, 4, 0), unused)) static bool
tap_line(bool good, const char *file, int line, const char *fmt, va_list ap)
{
	tap_.n++;
	tap_.failed += !good;
	printf("%sok %d - ", good ? "" : "not ", tap_.n);
	vprintf(fmt, ap);
	printf("\n");
	if (!good)
		printf("# failed at %s:%d\n", file, line);
	fflush(stdout);
	return good;
}

__attribute__((format(printf, 4, 5), unused)) static bool
tap_ok(bool good, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tap_line(good, file, line, fmt, ap);
	va_end(ap);
	return good;
}

__attribute__((unused)) static bool
tap_is_str(struct str got, struct str want, const char *file, int line, const char *name)
{
	bool good = tap_ok(str_eq(got, want), file, line, "%s", name);

	if (!good)
		printf("#   got '%.*s'\n#  want '%.*s'\n", STR_ARG(got), STR_ARG(want));
	return good;
}

__attribute__((unused)) static bool
tap_is_int(int64_t got, int64_t want, const char *file, int line, const char *name)
{
	bool good = tap_ok(got == want, file, line, "%s", name);

	if (!good)
		printf("#   got %" PRId64 "\n#  want %" PRId64 "\n", got, want);
	return good;
}

/* Each gives whether it was good. `name` must be given; ok() formats it. */
#define ok(cond, ...) tap_ok((cond), __FILE__, __LINE__, __VA_ARGS__)
#define is_str(got, want, name) tap_is_str((got), (want), __FILE__, __LINE__, (name))
#define is_z(got, want, name) tap_is_str(str_from(got), str_from(want), __FILE__, __LINE__, (name))
#define is_int(got, want, name)                                                                    \
	tap_is_int((int64_t)(got), (int64_t)(want), __FILE__, __LINE__, (name))

/* The plan; the program's exit status. */
__attribute__((unused)) static int
tap_done(void)
{
	printf("1..%d\n", tap_.n);
	if (tap_.failed)
		printf("# %d of %d failed\n", tap_.failed, tap_.n);
	return tap_.failed != 0;
}

#endif
