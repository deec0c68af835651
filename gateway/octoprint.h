/* OctoPrint: REST for questions, commands and files, its websocket for what happens. */
#ifndef GATEWAY_OCTOPRINT_H
#define GATEWAY_OCTOPRINT_H

#include "gateway/driver.h"

extern const struct driver octoprint_driver;

#endif
