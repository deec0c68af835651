/* Many transfers of libcurl's at once, in one thread: its multi interface on epoll, so that those
 * that only wait cost nothing. */
#ifndef COURIER_TRANSFERS_H
#define COURIER_TRANSFERS_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

struct transfers;

/* What libcurl says of its end. The handle has been taken out and is the owner's again, who may
 * begin others from here. */
typedef void (*transfer_done)(void *ctx, CURL *easy, CURLcode code);

struct transfers *transfers_new(transfer_done done);
/* None may be left. */
void transfers_free(struct transfers *t);

/* Begins; `done` is called with ctx, never before this returns. Uses CURLOPT_PRIVATE. */
void transfers_add(struct transfers *t, CURL *easy, void *ctx);
/* Gives it up; `done` is not called. */
void transfers_drop(struct transfers *t, CURL *easy);

/* Waits until there is something to do, at most so long, or until stop_fd can be read (-1: none);
 * does it and calls `done` for those that ended. */
void transfers_run(struct transfers *t, int stop_fd, int64_t wait_ms);

#endif
