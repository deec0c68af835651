/* All sessions of this process, by printer. */
#ifndef GATEWAY_FLEET_H
#define GATEWAY_FLEET_H

#include "gateway/camera.h"
#include "gateway/errand.h"
#include "gateway/uuid_map.h"

struct fleet {
	struct gateway *gateway;
	struct cameras *cameras; /* NULL: none are shown here */
	struct errands *errands; /* what belongs to no printer */
	struct uuid_map sessions;
};

/* The sink's counterpart; f->gateway must be set. */
struct sink_client fleet_client(struct fleet *f);
/* Ends every connection, says so, and lets the sink write it; revoke calls free the sessions. */
void fleet_stop(struct fleet *f);
void fleet_fini(struct fleet *f);

#endif
