/* What printers report, as it comes, for those who look on: to nginx, at most once a second for
 * each printer, kept nowhere. An organisation at which nobody looks costs one question every few
 * seconds, and nothing for each printer. */
#ifndef GATEWAY_TELEMETRY_H
#define GATEWAY_TELEMETRY_H

#include "gateway/http.h"
#include "gateway/status.h"

struct telemetry;

/* socket_path: nginx' for publishers; copied. */
struct telemetry *telemetry_new(struct loop *loop, struct http *h, const char *socket_path);
/* Statuses that were touched must be forgotten before. NULL is allowed, here and below: then
 * nothing is told. */
void telemetry_free(struct telemetry *t);

/* s->changed grew. Borrows s until telemetry_forget. */
void telemetry_touch(struct telemetry *t, struct status *s);
void telemetry_forget(struct telemetry *t, struct status *s);

#endif
