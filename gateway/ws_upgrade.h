/* The upgrade from HTTP to WebSocket (RFC 6455 section 4). Not for drivers. */
#ifndef GATEWAY_WS_UPGRADE_H
#define GATEWAY_WS_UPGRADE_H

#include "gateway/ws.h"

struct ws_upgrade;

/* The request for these options; NULL when their URL or a header cannot be sent. */
struct ws_upgrade *ws_upgrade_new(const char *agent, const struct ws_options *o);
void ws_upgrade_free(struct ws_upgrade *u);

enum upgrade_step { UPGRADE_WRITE, UPGRADE_READ, UPGRADE_DONE, UPGRADE_REFUSED, UPGRADE_BROKEN };
/* Writes and reads what can be; tells what to wait for. UPGRADE_DONE: *left is what came behind the
 * answer, borrowed from u. */
enum upgrade_step ws_upgrade_step(struct ws_upgrade *u, struct http_call *call, struct str *left);
/* HTTP status of the answer. */
int ws_upgrade_status(const struct ws_upgrade *u);

#endif
