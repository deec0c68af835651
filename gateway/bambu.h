/* Bambu Lab printers in LAN mode: MQTT over TLS. */
#ifndef GATEWAY_BAMBU_H
#define GATEWAY_BAMBU_H

#include "gateway/driver.h"

extern const struct driver bambu_driver;

#endif
