/* One Moonraker: what the files of its driver share. */
#ifndef GATEWAY_MOONRAKER_LINK_H
#define GATEWAY_MOONRAKER_LINK_H

#include "base/buf.h"
#include "gateway/http.h"
#include "gateway/moonraker_state.h"
#include "gateway/session.h"
#include "gateway/ws.h"

enum { MOONRAKER_CALLS = 24, MOONRAKER_WORDS = 256, MOONRAKER_URL = 512 };

/* What an answer is for. */
enum moonraker_want {
	WANT_NOTHING,
	WANT_IDENTIFY,
	WANT_SERVER_INFO,
	WANT_PRINTER_INFO,
	WANT_OBJECTS,
	WANT_STATUS,
	WANT_METADATA,
	WANT_HISTORY,
	WANT_WEBCAMS,
	WANT_ORDER, /* the command or start that was sent last */
	WANT_KINDS
};

struct moonraker_env {
	struct loop *loop;
	struct http *http;
	struct json_tokener *tokener;
};

struct moonraker {
	struct moonraker_env *env;
	struct session *s;
	struct http_client *client;
	struct ws *ws;
	struct moonraker_state state;
	char address[64];
	int port;
	struct timer poll;   /* Klipper is not ready: look again */
	struct timer decide; /* moonraker_decide_at */

	int64_t next_id;
	struct {
		int64_t id, sent_us;
		enum moonraker_want want;
	} calls[MOONRAKER_CALLS];

	/* The command or start that waits for its answer: `order` is the id of its call, 0 none. */
	int64_t order;
	enum command_kind order_kind; /* CMD_KINDS: a start */
	bool order_taken;             /* answered "ok"; complaints may follow, or have come */
	char order_script[1024];      /* upper case */
	char complaint[MOONRAKER_WORDS];
	struct timer settle;

	struct http_call *upload;
	struct transfer *transfer;

	char stream_url[512], snapshot_url[512];
};

/* Sends a call; params: a JSON object, or NULL. Its id, 0 when nothing could be sent. */
int64_t moonraker_call(
    struct moonraker *m, enum moonraker_want want, const char *method, const struct buf *params);

/* --- orders (moonraker_order.c) --- */
void moonraker_command(void *d, const struct command *c);
void moonraker_start(void *d, struct transfer *t);
/* The answer to the order: error NULL when it went well. */
void moonraker_order_answered(struct moonraker *m, struct json_object *error);
/* A line of Klipper's: what it did not understand is said here alone. */
void moonraker_order_heard(struct moonraker *m, const char *line);
void moonraker_order_settle(void *ctx);
/* The connection is gone: tells that the order's fate is unknown. */
void moonraker_order_lost(struct moonraker *m);

/* --- files and addresses (moonraker_upload.c) --- */
/* A path of its server, by the host that was configured. */
bool moonraker_url(const struct moonraker *m, char *out, size_t size, const char *path);
void moonraker_upload(void *d, struct transfer *t);
void moonraker_abort(void *d);
/* The connection is gone: an upload that runs is given up and said to be broken. */
void moonraker_upload_lost(struct moonraker *m);
bool moonraker_is_job(const void *d, const struct transfer *t, const struct record *r);
/* Result of server.webcams.list. */
void moonraker_take_webcams(struct moonraker *m, struct json_object *result);
void moonraker_camera(const void *d, struct camera_source *out);

#endif
