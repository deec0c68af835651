/* Any bytes as a line of G-code: it is refused in words, or has commands that the allowlist can be
 * asked about. */
#include "fuzz.h"
#include "media/gcode_command.h"

static bool
plain(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	    c == '_' || c == '.';
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gcode_command c[GCODE_COMMANDS_MOST];
	size_t n = 0;
	const char *fault = gcode_line_commands((struct str){(const char *)data, size}, c, &n);

	if (fault) {
		must(fault[0]);
		return 0;
	}
	must(n >= 1 && n <= GCODE_COMMANDS_MOST);
	for (size_t i = 0; i < n; i++) {
		must(c[i].text[0] && str_from(c[i].text).n < sizeof(c[i].text));
		for (const char *p = c[i].text; *p; p++)
			must(plain(*p));
	}
	return 0;
}
