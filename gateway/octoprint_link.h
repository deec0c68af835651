/* What the files of the OctoPrint driver share: one printer's connection. */
#ifndef GATEWAY_OCTOPRINT_LINK_H
#define GATEWAY_OCTOPRINT_LINK_H

#include "gateway/http.h"
#include "gateway/http_url.h"
#include "gateway/octoprint_camera.h"
#include "gateway/octoprint_command.h"
#include "gateway/octoprint_report.h"
#include "gateway/session.h"
#include "gateway/ws.h"

struct octo_env {
	struct http *http;
	struct json_tokener *tokener;
};

/* One question on its way; calls of a kind are never doubled. */
enum octo_call {
	CALL_HELLO,
	CALL_PRINTER,
	CALL_JOB,
	CALL_SETTINGS,
	CALL_LOGIN,
	CALL_COMMAND,
	CALL_EMERGENCY,
	CALL_UPLOAD,
	CALL_START,
	CALL_KINDS
};

struct octo {
	struct octo_env *env;
	struct session *s;
	char address[80]; /* what the configured host resolved to */
	int port;
	struct http_client *reads, *acts; /* acts: never repeated by the transport */
	struct http_call *calls[CALL_KINDS];
	struct timer tick;
	struct octo_state state;
	struct camera_source camera;
	bool asked_settings;
	bool asked;      /* the state is wanted, whatever the websocket says */
	bool stale_poll; /* the websocket was quicker than the poll on its way */
	/* The websocket. */
	struct ws *ws;
	bool authed;
	int64_t push_at, push_wait_ms; /* when to try it next; monotonic */
	int64_t pushed_ms;             /* its last message; monotonic */
	/* What is being sent. */
	struct octo_steps steps;
	int32_t at_step;
	bool mute; /* the command's answer is of no interest any more: an emergency stop was sent */
	struct transfer *transfer;
	char started[OCTO_PATH]; /* the file that was started last, and when; Unix time */
	int64_t started_ms;
};

/* Sends a request of one kind to this OctoPrint with its key; body NULL: GET, else a POST of JSON.
 */
void octo_call(
    struct octo *o, enum octo_call kind, const char *path, const struct buf *body, http_done done);
/* The same with everything else as in *r. */
void octo_call_with(
    struct octo *o, enum octo_call kind, const char *path, struct http_request *r, http_done done);

/* Tells the session what the state has become. */
void octo_report(struct octo *o);
/* Asks for the whole state within so many milliseconds. */
void octo_poll_in(struct octo *o, int64_t ms);
void octo_fail(struct octo *o, enum conn_reason reason);
/* False when a fault or the status of an answer ended the connection. */
bool octo_answered(struct octo *o, const struct http_reply *r);

/* --- octoprint_push.c --- */
/* Logs in and opens the websocket, if there is none and it is time to. */
void octo_push_begin(struct octo *o);
void octo_push_end(struct octo *o);

/* --- octoprint_send.c --- */
void octo_command(void *d, const struct command *c);
void octo_upload(void *d, struct transfer *t);
void octo_start(void *d, struct transfer *t);
void octo_abort(void *d);
bool octo_is_job(const void *d, const struct transfer *t, const struct record *r);

#endif
