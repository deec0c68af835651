/* Which commands a line of G-code would make a printer do, read as printers' firmwares read it. For
 * lines that are sent by themselves; the rest of this folder reads files. */
#ifndef MEDIA_GCODE_COMMAND_H
#define MEDIA_GCODE_COMMAND_H

#include "base/str.h"

/* Upper case is not promised. */
struct gcode_command {
	char text[72]; /* "G28", "M104", "G92.1", a macro's name; cut when longer */
};

enum { GCODE_COMMANDS_MOST = 8 }; /* of one line */

/* What is wrong with the line in itself, in words: it begins with no command, has a line number or
 * a checksum, or more commands than a line should. NULL: out[0 … *n - 1] are its commands, at least
 * one. The first word counts, and behind a G-code every further G or M with a number, since some
 * firmwares do them too. */
const char *gcode_line_commands(
    struct str line, struct gcode_command out[GCODE_COMMANDS_MOST], size_t *n);

#endif
