/* One printer's status on its way to the database: the record, the connection, and what is still to
 * be written. */
#ifndef GATEWAY_STATUS_H
#define GATEWAY_STATUS_H

#include "base/uuid.h"
#include "gateway/notes.h"
#include "gateway/record.h"

struct sink;

enum conn_state { CONN_CONNECTED, CONN_CONNECTING, CONN_DISCONNECTED, CONN_DISABLED };

/* Why a printer is not connected, or not fully usable. */
enum conn_reason {
	REASON_NONE,
	REASON_WRONG_ACCESS_CODE,
	REASON_WRONG_SERIAL,
	REASON_CERTIFICATE_MISMATCH,
	REASON_DEVELOPER_MODE_OFF,
	REASON_UNREACHABLE,
	REASON_NO_REPORTS,
	REASON_CONNECTION_LOST,
	REASON_DISABLED,
	REASON_NO_GATEWAY,
	REASON_NO_SECRET,
	REASON_PROTOCOL_NOT_SUPPORTED,
	REASON_STARTING,
	REASON_PRINTER_NOT_CONNECTED
};

enum { STATUS_EVENTS = 16, STATUS_PRINTS = 4 };

enum print_state { PRINT_RUNNING, PRINT_COMPLETED, PRINT_CANCELLED, PRINT_FAILED, PRINT_UNKNOWN };

/* One job of the printer; see print.h. operation and file: of the send that it came from, or zero.
 */
struct status_print {
	struct uuid id, operation, file;
	enum print_state state;
	int64_t started_ms, ended_ms; /* Unix time; ended_ms 0: it runs */
	int32_t progress;             /* percent, or REC_NONE */
	char name[160], filename[160];
};

/* printer.state_changed, printer.online, printer.offline. The id makes a repeated write harmless.
 */
struct status_event {
	struct uuid id;
	enum { EVENT_STATE_CHANGED, EVENT_ONLINE, EVENT_OFFLINE } type;
	enum printer_state from, to;
	enum job_outcome outcome;
	enum conn_reason reason;
};

struct status {
	struct uuid org, printer;
	int64_t fencing;
	char name[512];
	struct record record;
	enum conn_state conn;
	enum conn_reason reason;
	int64_t since_ms;      /* Unix time of the last change of conn or reason */
	int64_t seen_ms;       /* Unix time of the last report, 0: none yet */
	int64_t round_trip_us; /* of the last question that the printer answered, 0: none yet */
	uint32_t changed;      /* enum record_section: not written yet */
	struct status_event events[STATUS_EVENTS];
	int n_events;              /* not written yet, oldest first */
	struct notes notes;        /* for the history, once this is written */
	struct status_print print; /* the last one; at_print: it runs */
	bool at_print, print_unsure;
	struct status_print prints[STATUS_PRINTS];
	int n_prints; /* not written yet */
	/* Of the connection, for diagnostics. */
	int64_t reports_per_min, connects, failures;
	/* Kept by the sink. */
	struct sink *sink;
	struct status *next;
	bool queued, alone;
	uint32_t sending;
	int n_sending, n_prints_sending;
	int64_t seen_written_ms, wifi_written_ms; /* Unix time */
	int64_t touched_us; /* monotonic: when the oldest unwritten change came */
	struct {            /* Kept by telemetry.c. */
		struct status *next;
		int64_t due_ms; /* monotonic */
		uint32_t news;  /* enum record_section */
		bool queued;
	} telemetry;
};

void status_init(struct status *s, struct sink *sink, struct uuid org, struct uuid printer);
void status_fini(struct status *s);

const char *conn_state_name(enum conn_state s);
const char *conn_reason_name(enum conn_reason r);    /* NULL for REASON_NONE */
const char *conn_reason_message(enum conn_reason r); /* in words; NULL for REASON_NONE */
/* The connection and its reason; false when that is no change. */
bool status_connection(struct status *s, enum conn_state state, enum conn_reason reason);
/* Notes which errors of the record have appeared or gone. */
void status_errors(struct status *s);
/* Appends an event; the oldest is given up when too many wait. */
void status_event(struct status *s, struct status_event e);
/* Appends the whole row as a JSON object for gw_write: the sections in `mask` and the first n
 * events. */
void status_row_json(struct buf *b, const struct status *s, uint32_t mask, int n_events);

#endif
