#include "media/gcode_command.h"

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

static bool
is_either(char c, char upper)
{
	return c == upper || c == upper - 'A' + 'a';
}

static char
at(struct str s, size_t i)
{
	return i < s.n ? s.p[i] : '\0';
}

static void
append(struct gcode_command *c, size_t *n, char x)
{
	if (*n + 1 < sizeof(c->text))
		c->text[(*n)++] = x;
	c->text[*n] = '\0';
}

/* A letter and its number at i, blanks between them left out. Gives the place behind it; 0: there
 * is none. */
static size_t
take_code(struct str s, size_t i, struct gcode_command *out)
{
	size_t n = 0, k = i + 1;

	while (at(s, k) == ' ')
		k++;
	if (!is_letter(at(s, i)) || !is_digit(at(s, k)))
		return 0;
	append(out, &n, s.p[i]);
	while (is_digit(at(s, k)))
		append(out, &n, s.p[k++]);
	if (at(s, k) == '.' && is_digit(at(s, k + 1))) {
		append(out, &n, s.p[k++]);
		while (is_digit(at(s, k)))
			append(out, &n, s.p[k++]);
	}
	return k;
}

static void
take_name(struct str s, struct gcode_command *out)
{
	size_t n = 0;

	for (size_t i = 0; is_letter(at(s, i)) || is_digit(at(s, i)); i++)
		append(out, &n, s.p[i]);
}

/* Behind a first G-code. False: there are too many. */
static bool
take_further(struct str s, size_t i, struct gcode_command *out, size_t *n)
{
	for (; i < s.n && s.p[i] != ';'; i++) {
		bool begins = is_either(s.p[i], 'G') || is_either(s.p[i], 'M');
		size_t next = begins && !is_letter(at(s, i - 1))
		    ? take_code(s, i, &out[*n < GCODE_COMMANDS_MOST ? *n : 0])
		    : 0;

		if (!next)
			continue;
		if (++*n > GCODE_COMMANDS_MOST)
			return false;
		i = next - 1;
	}
	return true;
}

const char *
gcode_line_commands(struct str line, struct gcode_command out[GCODE_COMMANDS_MOST], size_t *n)
{
	size_t next;

	*n = 1;
	if (str_index(line, '*') >= 0)
		return "must have no checksum";
	if (!is_letter(at(line, 0)))
		return "must begin with a command";
	next = take_code(line, 0, &out[0]);
	if (!next)
		take_name(line, &out[0]);
	if (is_either(out[0].text[0], 'N') && (next || !out[0].text[1]))
		return "must have no line number";
	if (next && !take_further(line, next, out, n))
		return "must be one command";
	return NULL;
}
