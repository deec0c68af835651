/* Which commands a line of G-code would make a printer do. */
#include "base/arena.h"
#include "media/gcode_command.h"
#include "tap.h"

static const struct {
	const char *line;
	const char *want; /* the commands, or what is wrong */
} lines[] = {
    {"G28", "G28"},
    {"g28 x0", "g28"},
    {"G28X0Y0", "G28"},
    {"G 28", "G28"},
    {"G28.1", "G28.1"},
    {"G1 X1.5 F3000", "G1"},
    {"M104S200", "M104"},
    {"T0", "T0"},
    {"Tx", "Tx"},
    {"G+28", "G"},
    {"G28_AUTO", "G28"},
    {"PRINT_START BED=60 FILE=M112", "PRINT_START"},
    {"_PARK", "_PARK"},
    {"pause", "pause"},
    {"NEXT", "NEXT"},
    {"SET_PIN2 PIN=G1", "SET_PIN2"},
    {"M117 done ; G28 M112", "M117"},
    {"G28 M112", "G28 M112"},
    {"G28M112", "G28 M112"},
    {"G28 m 112", "G28 m112"},
    {"G28 X0M84 G1", "G28 M84 G1"},
    {"M117 BEGIN2 GAMMA", "M117"},
    {"M106 P1 S255", "M106"},

    {"", "must begin with a command"},
    {" G28", "must begin with a command"},
    {"; G28", "must begin with a command"},
    {"28", "must begin with a command"},
    {"@pause", "must begin with a command"},
    {"$H", "must begin with a command"},
    {"(x) G28", "must begin with a command"},
    {"N5 G28", "must have no line number"},
    {"n 5 G28", "must have no line number"},
    {"N G28", "must have no line number"},
    {"N-5 G28", "must have no line number"},
    {"G28*99", "must have no checksum"},
    {"M117 *", "must have no checksum"},
    {"G1 G1 G1 G1 G1 G1 G1 G1", "G1 G1 G1 G1 G1 G1 G1 G1"},
    {"G1 G1 G1 G1 G1 G1 G1 G1 G1", "must be one command"},
};

static struct str
reading(struct arena *a, struct str line)
{
	struct gcode_command c[GCODE_COMMANDS_MOST];
	struct str out = STR("");
	size_t n;
	const char *fault = gcode_line_commands(line, c, &n);

	if (fault)
		return str_from(fault);
	for (size_t i = 0; i < n; i++)
		out = str_fmt(a, "%.*s%s%s", STR_ARG(out), i ? " " : "", c[i].text);
	return out;
}

int
main(void)
{
	struct arena *a = arena_new(1 << 20);
	char name[300];
	struct gcode_command c[GCODE_COMMANDS_MOST];
	size_t n;

	TAP_EACH(lines, l)
	{
		is_str(reading(a, str_from(l->line)), str_from(l->want), l->line);
		arena_reset(a);
	}
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = 'A';
	ok(!gcode_line_commands((struct str){name, sizeof(name)}, c, &n) && n == 1 &&
		str_from(c[0].text).n == sizeof(c[0].text) - 1,
	    "a long name is cut");
	arena_free(a);
	return tap_done();
}
