#include "gateway/bambu_report.h"

#include <limits.h>
#include <string.h>

#include "base/log.h"
#include "gateway/reading.h"

enum {
	ERR_NOT_SIGNED = 0x05024007,
	ERR_BADLY_SIGNED = 0x05024009,
};

/* An answer to some client's command: all that matters is whether commands are refused for want of
 * a signature. */
static bool
take_answer(struct bambu_state *b, struct json_object *print, uint32_t *parts)
{
	char reason[64] = "";
	int64_t code = 0;
	bool refused;

	if (!reading_member(print, "result"))
		return false;
	reading_text(reading_member(print, "reason"), reason, sizeof(reason));
	reading_i64(reading_member(print, "err_code"), &code);
	refused = strstr(reason, "verify failed") != NULL || code == ERR_NOT_SIGNED ||
	    code == ERR_BADLY_SIGNED;
	if (refused && !b->refused)
		*parts = BAMBU_STATE;
	b->refused = b->refused || refused; /* others may sign theirs: their success says nothing */
	return true;
}

static bool
take_print(struct bambu_state *b, struct json_object *print, uint32_t *parts)
{
	char command[32];
	int64_t msg = 0;
	bool full;

	if (!reading_text(reading_member(print, "command"), command, sizeof(command)))
		return false;
	if (strcmp(command, "push_status") != 0)
		return take_answer(b, print, parts);
	/* 0: all there is, 1: changes. X1 sends no such member, and everything each time. */
	if (!reading_i64(reading_member(print, "msg"), &msg))
		full = reading_member(print, "gcode_state") != NULL &&
		    reading_member(print, "hms") != NULL;
	else
		full = msg == 0;
	*parts = bambu_merge(b, print, full);
	return true;
}

bool
bambu_take(struct bambu_state *b, struct json_object *message, uint32_t *parts)
{
	struct json_object *print = reading_member(message, "print"),
			   *info = reading_member(message, "info");
	char command[32];

	*parts = 0;
	if (json_object_is_type(print, json_type_object))
		return take_print(b, print, parts);
	if (!reading_text(reading_member(info, "command"), command, sizeof(command)) ||
	    strcmp(command, "get_version") != 0)
		return false;
	*parts = bambu_merge_version(b, info);
	return *parts != 0;
}
