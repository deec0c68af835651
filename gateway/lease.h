/* Which printers are ours. A lease is a row of sec.printer_index with our id, a fencing token and
 * an end; it is renewed while the database answers. Printers are shared out evenly among the
 * gateways whose heartbeat is fresh. */
#ifndef GATEWAY_LEASE_H
#define GATEWAY_LEASE_H

#include "gateway/pgq.h"
#include "gateway/uuid_map.h"

struct leases;

struct lease {
	struct uuid printer, org;
	int64_t fencing, config_version, refresh_ms;
	int64_t loaded_version; /* of the configuration in use, -1: none */
	bool loading, stale;    /* stale: told to be changed */
	uint64_t round;         /* the renewal that saw it last */
};

struct lease_hooks {
	void *ctx;
	/* One or more leases want their configuration loaded: see leases_next_unloaded. */
	void (*load)(void *ctx);
	void (*revoke)(void *ctx, struct uuid printer);
	void (*refresh)(void *ctx, struct uuid printer);
	int (*sessions)(void *ctx);
};

struct lease_config {
	const char *name;
	bool sole; /* no other living gateway has this name: leases of a former one are ours to take
		    */
	int64_t lease_ms, sessions_most;
};

struct leases *leases_new(struct loop *loop, struct pgq *q, const struct lease_config *cfg,
    const struct lease_hooks *hooks);
void leases_free(struct leases *l);
struct uuid leases_gateway_id(const struct leases *l);

/* The connection came up, or something hints at new work. */
void leases_hurry(struct leases *l);
/* This printer's configuration changed, or a report was asked for. */
void leases_changed(struct leases *l, struct uuid printer);
struct lease *leases_get(const struct leases *l, struct uuid printer);
/* The next lease whose configuration is not loaded yet, marked as loading; NULL: none. Start with
 * *at = 0; no lease may come or go meanwhile. */
struct lease *leases_next_unloaded(struct leases *l, size_t *at);
/* The printer turned out to be gone or another's. */
void leases_lost(struct leases *l, struct uuid printer);
/* Gives up every lease; done is called once, also when the database does not answer. */
void leases_leave(struct leases *l, void (*done)(void *ctx), void *ctx);

#endif
