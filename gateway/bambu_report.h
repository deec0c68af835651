/* One message of a Bambu printer: from bytes to the merged state. Nothing in it is trusted. */
#ifndef GATEWAY_BAMBU_REPORT_H
#define GATEWAY_BAMBU_REPORT_H

#include "base/str.h"
#include "gateway/bambu_state.h"

/* The columns that a report may fill. */
enum {
	BAMBU_COLUMNS = REC_STATE | REC_JOB | REC_TEMPERATURES | REC_FANS | REC_SPEED | REC_LIGHTS |
	    REC_AMS | REC_ERRORS | REC_WIFI | REC_FIRMWARE | REC_EXTRA
};

enum { BAMBU_DEPTH = 16 }; /* of a message, for reading_tokener */

/* Takes the message into the state; false when it is none of those that are understood.
 * *parts: what is different now. */
bool bambu_take(struct bambu_state *b, struct json_object *message, uint32_t *parts);

#endif
