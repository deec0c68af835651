/* doctor: one row per check in doctor.c's table. */
#ifndef CTL_DOCTOR_H
#define CTL_DOCTOR_H

#include "ctl.h"

/* What one check found. `say` may be called several times; no call means that all is well. */
struct finding {
	const char *check;
	int bad;           /* faults said so far */
	const char *skip;  /* why nothing was checked; NULL when it was */
	struct str detail; /* what is fine, for example a version */
};

struct doctor {
	struct ctl *ctl;
	PGconn *db; /* NULL when Postgres cannot be reached */
	const char *schema, *sockets, *redis, *url, *cacert, *storage;
	const char *gateway_key, *gateway_pubkey, *courier_key, *courier_pubkey, *cursor_key;
	struct finding *now;
	struct buf json;
	int bad;
};

/* A fault and how to mend it, both in words. */
void fault(struct doctor *d, const char *mend, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
__attribute__((format(printf, 2, 3))) void fine(struct doctor *d, const char *fmt, ...);
void skip(struct doctor *d, const char *why);

void check_postgres(struct doctor *d);
void check_durability(struct doctor *d);
void check_connections(struct doctor *d);
void check_roles(struct doctor *d);
void check_migrations(struct doctor *d);
void check_policies(struct doctor *d);
void check_gateway(struct doctor *d);
void check_courier(struct doctor *d);
void check_redis(struct doctor *d);
void check_sockets(struct doctor *d);
void check_https(struct doctor *d);
void check_storage(struct doctor *d);
void check_s3(struct doctor *d);
void check_keys(struct doctor *d);

#endif
