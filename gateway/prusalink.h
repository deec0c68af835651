/* PrusaLink: HTTP to Prusa's own firmware ("Buddy": MINI, MK4, XL, CORE One) and to Prusa-Link on a
 * Raspberry Pi (MK2.5 … MK3S+). */
#ifndef GATEWAY_PRUSALINK_H
#define GATEWAY_PRUSALINK_H

struct driver;

extern const struct driver prusalink_driver;

#endif
