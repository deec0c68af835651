/* Commands as an OctoPrint's requests. */
#ifndef GATEWAY_OCTOPRINT_COMMAND_H
#define GATEWAY_OCTOPRINT_COMMAND_H

#include "base/buf.h"
#include "gateway/command.h"
#include "gateway/octoprint_state.h"

enum {
	OCTO_COMMANDS = CMD_BIT(CMD_PAUSE) | CMD_BIT(CMD_RESUME) | CMD_BIT(CMD_STOP) |
	    CMD_BIT(CMD_EMERGENCY_STOP) | CMD_BIT(CMD_GCODE) | CMD_BIT(CMD_SET_TEMPERATURES) |
	    CMD_BIT(CMD_HOME) | CMD_BIT(CMD_JOG) | CMD_BIT(CMD_FANS) | CMD_BIT(CMD_SPEED) |
	    CMD_BIT(CMD_CLEAR_ERROR) | CMD_BIT(CMD_FIRMWARE_RESTART),
	OCTO_STEPS = 3,
};

/* POST requests, to be sent one after the other as long as each is accepted. */
struct octo_steps {
	int32_t n;
	struct octo_step {
		const char *path;
		struct buf body; /* JSON */
		bool optional;   /* of a part that not every printer has: 409 says so */
	} step[OCTO_STEPS];
	char told[2][32]; /* G-code that OctoPrint will send for it, as octo_told takes it */
};

/* False: an OctoPrint cannot do that, and *why says so. To be ended by octo_steps_fini either way.
 */
bool octo_steps(const struct command *c, struct octo_steps *out, const char **why);
void octo_steps_fini(struct octo_steps *s);

#endif
