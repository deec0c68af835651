/* Brings notes into app.printer_history by COPY, over a connection of its own: COPY cannot be part
 * of a pipeline. Nothing here waits for the database; while it is away a limited number of rows is
 * kept, the newest ones. The conninfo as in pgq.h. */
#ifndef GATEWAY_HISTORY_H
#define GATEWAY_HISTORY_H

#include "gateway/loop.h"
#include "gateway/notes.h"

struct history;

struct history_counters {
	int64_t rows; /* in the database */
	int64_t lost; /* given up: too many, or refused */
};

/* conninfo is borrowed. Connects at once, and again whenever the connection is lost. */
struct history *history_new(struct loop *loop, const char *conninfo);
void history_free(struct history *h);

/* Takes the first n->sending notes of a printer; they are written within a second if the database
 * answers. */
void history_add(struct history *h, struct uuid org, struct uuid printer, struct notes *n);
/* Writes what waits; done is called once, soon, also when it could not be written. May be within
 * this call. */
void history_stop(struct history *h, void (*done)(void *ctx), void *ctx);
/* Since the last call. */
struct history_counters history_count(struct history *h);

#endif
