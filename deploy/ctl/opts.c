/* Command lines and the small languages of their values. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

int
fail(const char *fmt, ...)
{
	va_list ap;

	fputs("soloprintctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return 1;
}

void
note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static const struct opt *
find_opt(const struct opt *opts, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++) {
		if (str_eq(str_from(opts[i].name), name))
			return &opts[i];
	}
	return NULL;
}

/* Takes one option at *argv, with its value ("--a b" or "--a=b"); *argv ends at its last word. */
static bool
take_opt(const struct opt *o, char ***argv)
{
	const char *eq = strchr(**argv, '=');

	if (o->kind == OPT_FLAG) {
		*(bool *)o->out = true;
		return !eq || (fail("--%s takes no value", o->name), false);
	}
	if (eq) {
		*(const char **)o->out = eq + 1;
		return true;
	}
	if (!(*argv)[1])
		return fail("--%s needs a value", o->name), false;
	*(const char **)o->out = *++*argv;
	return true;
}

static bool
all_given(const struct opt *opts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (opts[i].required && !*(const char **)opts[i].out)
			return fail("--%s is required", opts[i].name), false;
	}
	return true;
}

bool
opts_parse(struct ctl *c, const struct opt *opts, size_t nopts, const char **positional, size_t n)
{
	const struct opt common[] = {
	    {"db", OPT_STR, &c->conninfo, false}, {"json", OPT_FLAG, &c->json, false}};
	size_t seen = 0;

	for (char **arg = c->argv; *arg; arg++) {
		struct str name = str_from(*arg);
		const struct opt *o;

		if (!str_starts(name, STR("--"))) {
			if (seen == n)
				return fail("'%s' is one argument too many", *arg), false;
			positional[seen++] = *arg;
			continue;
		}
		name = str_from(*arg + 2);
		name = str_cut(&name, '=');
		o = find_opt(opts, nopts, name);
		if (!o)
			o = find_opt(common, 2, name);
		if (!o)
			return fail("there is no option '%s'", *arg), false;
		if (!take_opt(o, &arg))
			return false;
	}
	if (seen < n)
		return fail("%zu argument(s) missing", n - seen), false;
	return all_given(opts, nopts);
}

const char *
list_array(struct arena *a, const char *text, const char *allowed)
{
	struct str s = str_from(text), rest = s;

	if (s.n == 0 || str_eq(s, STR("none")))
		return "{}";
	while (rest.n > 0) {
		struct str part = str_cut(&rest, ',');

		if (part.n == 0 || strspn(part.p, allowed) < part.n)
			return NULL;
	}
	if (s.p[s.n - 1] == ',')
		return NULL;
	return str_fmt(a, "{%s}", text).p;
}

const char *
duration_interval(struct arena *a, const char *text)
{
	static const struct {
		char letter;
		const char *unit;
	} units[] = {{'d', "days"}, {'h', "hours"}, {'m', "minutes"}};
	struct str s = str_from(text);
	int64_t n;

	if (s.n < 2 || !str_to_i64((struct str){s.p, s.n - 1}, &n) || n < 0 || n > 100000)
		return NULL;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (s.p[s.n - 1] == units[i].letter)
			return str_fmt(a, "%lld %s", (long long)n, units[i].unit).p;
	}
	return NULL;
}

static bool
is_limit(struct str name)
{
	static const struct str names[] = {{"read", 4}, {"write", 5}, {"control", 7}, {"burst", 5}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (str_eq(name, names[i]))
			return true;
	}
	return false;
}

const char *
limits_json(struct arena *a, const char *text)
{
	struct str rest = str_from(text);
	const char *out = "{";

	while (rest.n > 0) {
		struct str value = str_cut(&rest, ','), name = str_cut(&value, '=');
		int64_t n;

		if (!is_limit(name) || !str_to_i64(value, &n) || n < 1 || n > 1000000)
			return NULL;
		out = str_fmt(
		    a, "%s%s\"%.*s\":%lld", out, out[1] ? "," : "", STR_ARG(name), (long long)n)
			  .p;
	}
	return out[1] ? str_fmt(a, "%s}", out).p : NULL;
}
