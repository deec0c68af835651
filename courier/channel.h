/* How a notification looks on each channel that is reached by HTTP. Whatever an event's data are,
 * they stay text there: no markup, no mentions, no way out of the JSON. */
#ifndef COURIER_CHANNEL_H
#define COURIER_CHANNEL_H

#include "courier/message.h"

struct channel {
	const char *name; /* as the database calls it */
	/* Appends the body, JSON. *url: the rule's target, where it is to be posted; may be
	 * changed. False: the target can be none of this channel. */
	bool (*body)(struct arena *a, const struct message *m, struct str *url, struct buf *out);
};

/* NULL when there is none of that name. */
const struct channel *channel_find(struct str name);

#endif
