/* Answers and messages of an OctoPrint: from bytes to its state. Nothing in them is trusted. */
#ifndef GATEWAY_OCTOPRINT_REPORT_H
#define GATEWAY_OCTOPRINT_REPORT_H

#include "base/str.h"
#include "gateway/octoprint_state.h"

enum { OCTO_DEPTH = 16 }; /* of a message, for reading_tokener */

/* Answers to GET /api/version, /api/printer and /api/job. False when it is none. */
bool octo_take_version(struct octo_state *o, struct json_object *v);
bool octo_take_printer(struct octo_state *o, struct json_object *v);
bool octo_take_job(struct octo_state *o, struct json_object *v);
/* 409 instead of GET /api/printer: there is no printer. */
void octo_take_no_printer(struct octo_state *o);

/* What a message of the websocket was. */
enum octo_push {
	OCTO_IGNORED,
	OCTO_REPORT, /* the whole state */
	OCTO_EVENT,  /* something of the state */
	OCTO_ASK,    /* something happened that only a question tells about */
	OCTO_DOUBT,  /* it may be older than what is known; a question tells */
	OCTO_REAUTH, /* log in again */
	OCTO_CHATTER /* known, and of no interest */
};
enum octo_push octo_take_push(struct octo_state *o, struct json_object *message);

/* name:session of an answer to POST /api/login. */
bool octo_login(struct json_object *v, char *out, size_t size);
/* What an answer says about a refusal; "" when it says nothing. */
void octo_words(struct json_tokener *tokener, struct str body, char *out, size_t size);

#endif
