/* One printer's session: when to connect, whether it is alive, and what the world is told about it.
 * What goes over the wire is the driver's business. */
#ifndef GATEWAY_SESSION_H
#define GATEWAY_SESSION_H

#include "gateway/driver.h"
#include "gateway/loop.h"
#include "gateway/pace.h"
#include "gateway/resolve.h"
#include "gateway/sink.h"

/* What all sessions share. */
struct gateway {
	struct loop *loop;
	struct sink *sink;
	struct telemetry *telemetry; /* NULL: nobody looks on */
	struct resolver *resolver;
	struct file_box *files;              /* where files to be sent are */
	const struct driver *const *drivers; /* DRIVERS_MOST, NULL behind the last one */
	void *envs[DRIVERS_MOST];            /* per driver; NULL: it cannot work here */
	int64_t silence_ms;                  /* no report for so long: something is wrong */
	int64_t offline_ms;                  /* not connected for so long: the printer is offline */
	struct pace_limits dials;            /* new connections of all sessions together */
	struct pace dialling;
	int64_t wifi_ms;      /* least time between two writes of nothing but the radio signal */
	int64_t seen_ms;      /* least time between two writes of nothing but last_seen_at */
	int64_t patience_pct; /* of the times that printers have to show what they were asked for */
	struct gateway_counters {
		int64_t reports, report_bytes, ignored, connects, failures;
		int64_t parse_us, map_us;
	} counters;
};

struct session;

/* Takes copies of everything; begins at once. */
struct session *session_new(struct gateway *g, const struct work *w);
/* Ends the connection in good order. */
void session_free(struct session *s);
/* The configuration or the lease changed. */
void session_update(struct session *s, const struct work *w);
/* A full report is wanted. */
void session_refresh(struct session *s);
/* The gateway stops: disconnects and says so. */
void session_stop(struct session *s);
/* What its printer is asked to do; see task.h. */
struct tasks *session_tasks(struct session *s);

/* --- for task.c --- */
const struct driver *session_driver(
    const struct session *s); /* NULL: there is nothing to talk to */
void *session_driver_data(const struct session *s);
/* Connected, and a full report has come in this connection. */
bool session_is_reporting(const struct session *s);

/* --- for drivers --- */
struct gateway *session_gateway(const struct session *s);
struct record *session_record(struct session *s);
const char *session_serial(const struct session *s);
const char *session_secret(const struct session *s);
const char *session_model(const struct session *s);
struct uuid session_printer(const struct session *s);
/* The printer let us in; reports may come. */
void session_up(struct session *s);
/* A valid report came that changed these sections of the record. `limits`: why the printer is not
 * fully usable. */
void session_report(struct session *s, uint32_t changed, enum conn_reason limits);
/* Something came that was no report. */
void session_heard(struct session *s);
/* The record changed without a report, for example when an outcome was decided. */
void session_changed(struct session *s, uint32_t changed);
/* No connection, or no longer. The driver has dropped it already. */
void session_failed(struct session *s, enum conn_reason reason);
/* How long the printer took to answer something, for diagnostics. */
void session_round_trip(struct session *s, int64_t us);
/* The printer's answer to the command or start that was sent last. ANSWER_LOST: the connection
 * broke or nothing came back, and nobody knows whether it was taken. words: what the printer says
 * about it, as it came, or NULL; borrowed. */
enum answer { ANSWER_ACCEPTED, ANSWER_REFUSED, ANSWER_BUSY, ANSWER_UNSUPPORTED, ANSWER_LOST };
void session_answer(struct session *s, enum answer a, const char *words);
/* Of the upload that runs: bytes sent so far; and its end. */
void session_upload_progress(struct session *s, int64_t sent);
enum upload_end { UPLOAD_DONE, UPLOAD_REFUSED, UPLOAD_BUSY, UPLOAD_NO_SPACE, UPLOAD_BROKEN };
void session_upload_done(struct session *s, enum upload_end end, const char *words);
/* What its camera is; false while that is not known, because the printer is not connected. */
bool session_camera(const struct session *s, struct camera_source *out);
/* As configured; port 0: none is. */
const char *session_host(const struct session *s);
int session_port(const struct session *s);
/* The world believes it to be offline. */
bool session_is_offline(const struct session *s);
/* It has worked before with this configuration. */
bool session_is_proven(const struct session *s);

#endif
