/* Klipper through Moonraker: JSON-RPC 2.0 over a WebSocket, uploads over HTTP. */
#ifndef GATEWAY_MOONRAKER_H
#define GATEWAY_MOONRAKER_H

#include "gateway/driver.h"

extern const struct driver moonraker_driver;

#endif
