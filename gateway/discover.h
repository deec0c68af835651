/* Looks for printers on the networks of this machine: SSDP (Bambu Lab) and mDNS (OctoPrint,
 * Moonraker, PrusaLink), IPv4, for some seconds, in the loop. What is heard is anybody's word. */
#ifndef GATEWAY_DISCOVER_H
#define GATEWAY_DISCOVER_H

#include "gateway/discover_parse.h"
#include "gateway/loop.h"

struct discover;

/* Zero and NULL are what the protocols say. */
struct discover_config {
	int64_t ms;            /* how long; 0: 5 s */
	const char *interface; /* an address of ours; NULL: every interface that can do multicast */
	const char *ssdp_group; /* 239.255.255.250; an address that is no group is asked directly */
	int ssdp_ports[2];      /* asked at 2021 and 1990 */
	int ssdp_listen;        /* announcements come to 2021 */
	const char *mdns_group; /* 224.0.0.251 */
	int mdns_port;          /* 5353 */
};

/* `found` once for each printer, `done` once at the end of the time, then it is gone; both from the
 * loop. NULL when no socket can be had; then nothing is called. */
struct discover *discover_start(struct loop *loop, const struct discover_config *cfg,
    void (*found)(void *ctx, const struct discovered *what), void (*done)(void *ctx), void *ctx);
/* Ends it without `done`; allowed within `found`. */
void discover_cancel(struct discover *d);

#endif
