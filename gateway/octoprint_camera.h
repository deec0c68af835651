/* Where pictures of an OctoPrint's printer come from, as its settings say. */
#ifndef GATEWAY_OCTOPRINT_CAMERA_H
#define GATEWAY_OCTOPRINT_CAMERA_H

#include <json-c/json.h>

#include "gateway/driver.h"

/* An answer to GET /api/settings. The addresses there are meant for a browser or for OctoPrint
 * itself: relative ones are OctoPrint's own, "localhost" is its machine. Nothing that leads to
 * another host is taken over: it would have us ask machines of its choosing. The address takes the
 * name's place. */
void octo_take_camera(struct json_object *settings, const char *name, const char *address, int port,
    struct camera_source *out);

#endif
