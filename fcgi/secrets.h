/* Secrets that a body brings for the gateway or the courier. */
#ifndef FCGI_SECRETS_H
#define FCGI_SECRETS_H

#include "query.h"

enum secret_place {
	SECRET_OF_PRINTER,
	SECRET_OF_JOB,
	SECRET_OF_WEBHOOK,  /* row: the secret's own id */
	HEADERS_OF_WEBHOOK, /* a JSON object as text */
	TARGET_OF_RULE      /* a URL */
};

/* Seals the secret for the process that needs it; nothing else can open it. The body loses the
 * member that brought it (`secret`, `headers`, `url`), so that the clear text reaches neither
 * Postgres nor a log. STR_NONE stays STR_NONE. Call it before any statement is added: it may ask
 * who this is. */
const struct err *secret_seal(
    struct req *r, enum secret_place where, struct uuid row, struct str secret, struct str *sealed);
/* As bytea; STR_NONE is NULL. */
void bind_sealed(struct query *q, struct str sealed);

#endif
