/* What an OctoPrint has said so far, in its own terms, as plain values: it cannot be made to grow.
 *
 * It comes in three ways that tell the same: GET /api/printer and /api/job, "current" and "history"
 * messages of the websocket, and its events. */
#ifndef GATEWAY_OCTOPRINT_STATE_H
#define GATEWAY_OCTOPRINT_STATE_H

#include <json-c/json.h>

#include "gateway/record.h"

/* state.flags; OCTO_STARTING comes from the state's id or text, there is no flag for it. */
enum octo_flag {
	OCTO_OPERATIONAL = 1 << 0,
	OCTO_PRINTING = 1 << 1,
	OCTO_PAUSED = 1 << 2,
	OCTO_PAUSING = 1 << 3,
	OCTO_RESUMING = 1 << 4,
	OCTO_CANCELLING = 1 << 5,
	OCTO_FINISHING = 1 << 6,
	OCTO_STARTING = 1 << 7,
	OCTO_READY = 1 << 8,
	OCTO_CLOSED = 1 << 9, /* closedOrError */
	OCTO_ERROR = 1 << 10
};

enum { OCTO_PATH = 256, OCTO_NAME = 160 };

struct octo_file {
	char path[OCTO_PATH], name[OCTO_NAME]; /* path within its storage; "" means none */
};

struct octo_state {
	bool full; /* the whole state came since the connection was made */
	uint32_t flags;
	bool by_event;             /* no report of the whole state agreed since the last event */
	char error[OCTO_NAME];     /* why it is offline or in error, in its own words */
	struct octo_file selected; /* stays selected after a print */
	int32_t percent, left_s;
	bool has_temperatures, has_bed;
	int32_t n_tools;
	struct {
		int32_t id;
		struct rec_temp t;
	} tools[REC_NOZZLES];
	struct rec_temp bed, chamber;
	/* What the printer was last told by G-code that OctoPrint sent to it. */
	int32_t fan_pct, speed_pct;
	bool terminal; /* lines that were sent to the printer are told */
	char firmware[24], server[24];

	/* The course of the job, kept by octo_map over connections. */
	enum printer_state last;
	bool seen_state; /* `last` comes from a report */
	enum job_outcome outcome;
	enum job_outcome ended; /* an event said so, for the job that runs or ran last */
	struct octo_file job;
	int64_t started_ms; /* Unix time, 0: not known */
	int32_t last_percent;
};

void octo_state_init(struct octo_state *o);
/* Forgets every report, as at a new connection; keeps the course of the job. */
void octo_state_forget(struct octo_state *o);

/* Brings the record up to date; returns the sections that changed. unix_ms: now. */
uint32_t octo_map(struct octo_state *o, int64_t unix_ms, struct record *r);
/* The state that the last report or event told, without the course of the job. */
enum printer_state octo_own_state(const struct octo_state *o);
/* The printer behind OctoPrint cannot be spoken to. */
bool octo_printer_gone(const struct octo_state *o);
/* A job of this file ended so, by an event. It knows the file better than a report of the
 * selection, which may be two seconds old; without a path in it the file stays what it was. */
void octo_ended(struct octo_state *o, enum job_outcome how, const struct octo_file *file);
/* An end of a job that is still shown is over and done with. */
void octo_dismiss(struct octo_state *o);
/* A line of G-code on its way to the printer: fans and speed are taken from it, as no report tells
 * them. With or without a line number and a checksum. */
void octo_told(struct octo_state *o, const char *line);

#endif
