/* What printers say of themselves on the network: SSDP messages and mDNS answers. Not trusted: caps
 * on everything, control characters stripped, addresses checked. */
#ifndef GATEWAY_DISCOVER_PARSE_H
#define GATEWAY_DISCOVER_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct discovered {
	char protocol[16];                                  /* of the contract */
	char host[16];                                      /* an IPv4 address */
	int port;                                           /* 0: the protocol's own */
	char serial[48], model[48], name[80], firmware[48]; /* "": not told */
};

enum { DISCOVER_PACKET = 9000, DISCOVER_QUERY = 64, DISCOVER_MOST = 16 };

/* A search that Bambu Lab's printers answer. */
extern const char discover_ssdp_search[];
/* A NOTIFY or the answer to a search (UPnP Device Architecture 1.0, section 1), with Bambu Lab's
 * own headers. from: the address it came from. False when it is of no printer. */
bool discover_ssdp(struct str packet, const char *from, struct discovered *out);

/* The kinds of service that are asked for, one query each; NULL at the end. */
extern const char *const discover_services[];
/* A query from a port of our own, answered by unicast (RFC 6762, section 6.7). Its length, 0 when
 * it does not fit. */
size_t discover_mdns_query(const char *service, uint16_t id, uint8_t *out, size_t size);
/* The printers in an answer; how many were written. */
int discover_mdns(
    const uint8_t *packet, size_t n, const char *from, struct discovered *out, int most);

#endif
