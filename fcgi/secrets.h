/* Secrets that a body brings for the gateway. */
#ifndef FCGI_SECRETS_H
#define FCGI_SECRETS_H

#include "query.h"

enum secret_place { SECRET_OF_PRINTER, SECRET_OF_JOB };

/* Seals the secret for the gateway; nothing else can open it. The body loses its `secret` member,
 * so that the clear text reaches neither Postgres nor a log. STR_NONE stays STR_NONE. Call it
 * before any statement is added: it may ask who this is. */
const struct err *secret_seal(
    struct req *r, enum secret_place place, struct uuid row, struct str secret, struct str *sealed);
/* As bytea; STR_NONE is NULL. */
void bind_sealed(struct query *q, struct str sealed);

#endif
