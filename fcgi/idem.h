/* Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): the reply is stored in the
 * transaction of its effect and given again, byte for byte, for 24 hours. */
#ifndef FCGI_IDEM_H
#define FCGI_IDEM_H

#include "req.h"

/* app.idem_claim raises it when the reply exists already. */
#define IDEM_REPLAY_SQLSTATE "SLP30"

/* Is the header's value acceptable (1 to 255 printable characters)? A pair of quotes is taken off.
 */
const struct err *idem_check(struct req *r);
/* Adds the claim to the transaction when the request carries a key and the route takes it. */
void idem_claim(struct req *r);
/* Stores the staged reply and commits. Does nothing when there is no open transaction. */
const struct err *idem_finish(struct req *r);
/* Stages the stored reply. */
const struct err *idem_replay(struct req *r);

#endif
