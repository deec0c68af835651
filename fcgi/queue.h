/* What the queue's handlers share. */
#ifndef FCGI_QUEUE_H
#define FCGI_QUEUE_H

#include "query.h"

/* Adds the statement that reads one item as the API shows it; it comes after those that change it.
 */
struct query *queue_item(struct req *r, struct uuid id);
/* One step of the path's item, by sec.queue_act's name for it, and the item as it is then.
 * outcome: STR_NONE when the step takes none. */
const struct err *queue_act(struct req *r, const char *action, struct str outcome);

#endif
