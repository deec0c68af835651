/* Host names → addresses, on threads of their own: getaddrinfo waits, the loop must not. */
#ifndef GATEWAY_RESOLVE_H
#define GATEWAY_RESOLVE_H

#include "gateway/loop.h"

struct resolver;
struct resolve;

enum { RESOLVE_TEXT = 64 };

struct resolver *resolver_new(struct loop *loop);
/* Waits for lookups that run. */
void resolver_free(struct resolver *r);

/* True when host is an address already; copies it. */
bool resolve_literal(const char *host, char out[RESOLVE_TEXT]);
/* Calls done(ctx, address) from the loop, address NULL when there is none. The host is copied. */
struct resolve *resolve_start(
    struct resolver *r, const char *host, void (*done)(void *ctx, const char *address), void *ctx);
/* done will not be called. Not after it was. */
void resolve_cancel(struct resolve *job);

#endif
