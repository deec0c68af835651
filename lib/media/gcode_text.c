#include "media/gcode_text.h"

#include <math.h>

#include "base/arena.h"

enum { DIGITS_MOST = 18, EXPONENT_MOST = 60 };

struct str
gcode_trim(struct str s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t' || s.p[0] == '\r'))
		s.p++, s.n--;
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r'))
		s.n--;
	return s;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "e+006" */
static int
exponent(const char **p, const char *end)
{
	const char *at = *p;
	bool negative;
	int n = 0;

	if (at == end || (*at != 'e' && *at != 'E'))
		return 0;
	at++;
	negative = at < end && *at == '-';
	if (at < end && (*at == '-' || *at == '+'))
		at++;
	if (at == end || !is_digit(*at))
		return 0;
	for (; at < end && is_digit(*at); at++)
		n = n < EXPONENT_MOST ? n * 10 + (*at - '0') : n;
	*p = at;
	return negative ? -n : n;
}

static double
scaled(uint64_t mantissa, int power)
{
	static const double tens[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

	if (power == 0)
		return (double)mantissa;
	if (power < 0 && power > -10)
		return (double)mantissa / tens[-power];
	return (double)mantissa * pow(10, power);
}

bool
gcode_number(struct str *s, double *out)
{
	const char *p = s->p, *end = p ? p + s->n : p;
	bool negative = p < end && *p == '-';
	uint64_t mantissa = 0;
	int digits = 0, power = 0;
	bool fraction = false, any = false;

	if (p < end && (*p == '-' || *p == '+'))
		p++;
	for (; p < end && (is_digit(*p) || (*p == '.' && !fraction)); p++) {
		if (*p == '.') {
			fraction = true;
			continue;
		}
		any = true;
		if (digits < DIGITS_MOST) {
			mantissa = mantissa * 10 + (uint64_t)(*p - '0');
			digits += mantissa > 0;
			power -= fraction;
		} else {
			power += !fraction;
		}
	}
	if (!any)
		return false;
	power += exponent(&p, end);
	*out = negative ? -scaled(mantissa, power) : scaled(mantissa, power);
	*s = (struct str){p, (size_t)(end - p)};
	return true;
}

/* Seconds of the unit that s begins with; 0 when it is none. */
static double
unit_seconds(struct str *s)
{
	static const struct {
		char letter;
		double seconds;
	} units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
	double found = 0;

	*s = gcode_trim(*s);
	for (size_t i = 0; s->n && i < sizeof(units) / sizeof(units[0]); i++)
		if ((s->p[0] | 0x20) == units[i].letter)
			found = units[i].seconds;
	while (s->n && ((s->p[0] | 0x20) >= 'a' && (s->p[0] | 0x20) <= 'z'))
		s->p++, s->n--;
	return found;
}

static bool
clock_time(struct str s, double *seconds)
{
	double part;

	*seconds = 0;
	while (gcode_number(&s, &part)) {
		*seconds = *seconds * 60 + part;
		if (s.n == 0)
			return true;
		if (s.p[0] != ':')
			return false;
		s.p++, s.n--;
	}
	return false;
}

bool
gcode_duration(struct str s, double *seconds)
{
	double number, unit;
	bool any = false;

	s = gcode_trim(s);
	if (str_index(s, ':') >= 0)
		return clock_time(s, seconds);
	*seconds = 0;
	for (; gcode_number(&s, &number); s = gcode_trim(s)) {
		unit = unit_seconds(&s);
		if (unit == 0 && any)
			break;
		*seconds += number * (unit != 0 ? unit : 1);
		any = true;
		if (unit == 0)
			break;
	}
	return any && *seconds >= 0 && *seconds < 1e9;
}

/* Copies a quoted item without its quotes; *s goes behind it. */
static struct str
quoted(struct arena *a, struct str *s)
{
	char *p = arena_alloc(a, s->n);
	struct str out = {p, 0};
	size_t i = 1;

	for (; i < s->n && s->p[i] != '"'; i++) {
		if (s->p[i] == '\\' && i + 1 < s->n)
			i++;
		p[out.n++] = s->p[i];
	}
	i += i < s->n;
	*s = (struct str){s->p + i, s->n - i};
	return out;
}

size_t
gcode_list(struct arena *a, struct str s, char separator, struct str *items, size_t most)
{
	size_t n = 0;

	s = gcode_trim(s);
	while (s.p && n < most) {
		s = gcode_trim(s);
		if (s.n && s.p[0] == '"') {
			items[n++] = quoted(a, &s);
			str_cut(&s, separator);
		} else {
			items[n++] = str_dup(a, gcode_trim(str_cut(&s, separator)));
		}
	}
	return n;
}
