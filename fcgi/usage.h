/* Which operations a key reached, when and how often. Counted in memory, written after the reply,
 * at most once per key, operation and minute; a read stays a read. */
#ifndef FCGI_USAGE_H
#define FCGI_USAGE_H

#include "req.h"

struct usage;

struct usage *usage_new(void);
void usage_free(struct usage *u);

/* Counts this request and writes what is due. Failures are only logged. */
void usage_count(struct req *r);
/* Writes what is due; for an idle worker. */
void usage_tick(struct worker *w, struct arena *a);
/* Writes everything counted and not yet written: before the worker ends. */
void usage_flush(struct worker *w, struct arena *a);

#endif
