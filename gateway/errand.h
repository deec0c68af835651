/* What a gateway is asked to do for no printer of its own: try a connection before it is saved,
 * look for printers on its network. */
#ifndef GATEWAY_ERRAND_H
#define GATEWAY_ERRAND_H

#include "gateway/session.h"

struct errands;

/* g must be complete but for its sink, which errands_take needs. discovery: which organizations may
 * have the gateway's network searched: "off", "all", or their ids, separated by commas.
 * interface: an address of ours to search on, "": all. Borrowed. */
struct errands *errands_new(struct gateway *g, const char *discovery, const char *interface);
void errands_free(struct errands *es);
/* Its end goes to the gateway's sink. */
void errands_take(struct errands *es, const struct work_task *w);

#endif
