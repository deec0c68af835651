/* What a worker process keeps between requests: its connections and settings. Made once in worker.c
 * and handed down by pointer; fcgi/ has no other state. */
#ifndef FCGI_STATE_H
#define FCGI_STATE_H

#include "app.h"
#include "db/pg.h"
#include "net/redis_limit.h"
#include "store/s3.h"

struct publish;
struct seal_public;
struct usage;

struct store;

enum { CURSOR_KEY_LEN = 32, URL_KEY_LEN = 32 };

struct worker {
	const struct app_config *cfg;
	struct pg *pg;
	struct limiter *limiter;
	struct usage *usage;
	struct store *store;
	struct s3_config s3;
	uint8_t cursor_key[CURSOR_KEY_LEN];
	uint8_t url_key[URL_KEY_LEN];    /* signs the URLs of uploads and downloads */
	struct seal_public *gateway_key; /* seals printers' secrets */
	struct seal_public *courier_key; /* seals those of webhooks and notification rules */
	struct publish *snapshots;       /* what a stream begins with; NULL: there are no streams */
	int64_t served;
	int64_t retire_at; /* requests; 0: never */
};

#endif
