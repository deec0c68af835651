/* What a PrusaLink printer has said, in its own terms, and what follows from it.
 *
 * An answer to /api/v1/status is the whole truth: what it leaves out is null. The names of a job
 * come with /api/v1/job. Plain values of fixed size: a printer cannot make them grow. Shapes as in
 * the OpenAPI description of Prusa-Link-Web. */
#ifndef GATEWAY_PRUSALINK_STATE_H
#define GATEWAY_PRUSALINK_STATE_H

#include <json-c/json.h>

#include "gateway/record.h"

#define PRUSALINK_NO_JOB INT64_C(-1)

/* A file as the printer calls it: `name` may be an 8.3 name. */
struct prusalink_file {
	char name[160], display[160];
	char folder[64]; /* "usb", "local/sub"; no slashes at its ends */
};

struct prusalink_state {
	bool full;     /* a status came since the connection was made */
	char word[16]; /* printer.state */
	int64_t job;   /* its id, PRUSALINK_NO_JOB: none */
	int32_t progress, remaining_s, printing_s;
	int32_t nozzle_dc, nozzle_target_dc, bed_dc, bed_target_dc, speed_pct;
	bool not_ok; /* status_printer.ok is false */
	bool has_storage, camera;
	char storage[24]; /* the first that can be written to: "usb", "local"; "" none */
	int64_t named;    /* the job whose names these are */
	bool names_fresh; /* told in this connection */
	struct prusalink_file file;
	struct rec_firmware firmware;
	char product[48];
	/* The course of the job, kept over connections. */
	enum printer_state last;
	bool seen_state; /* `last` comes from a report */
	bool passing; /* `last` is the end of a job that nobody saw end: the next status tells the
			 rest */
	enum job_outcome outcome;
	int64_t running;    /* the job `last` speaks of */
	int64_t started_ms; /* Unix time, 0: not known */
	int64_t heard_ms;   /* monotonic time of the last status, 0: none in this process */
	int32_t last_percent, last_remaining_s;
};

void prusalink_state_init(struct prusalink_state *p);
/* Forgets every answer, as at a new connection; keeps the course of the job and its names. */
void prusalink_state_forget(struct prusalink_state *p);

/* An answer's JSON, an object; NULL when it is none. */
struct json_object *prusalink_parse(struct str body);
/* Each takes one kind of answer; false when it is no such thing, and then nothing has changed. */
bool prusalink_read_status(struct prusalink_state *p, struct json_object *v);
bool prusalink_read_job(struct prusalink_state *p, struct json_object *v);
bool prusalink_read_version(struct prusalink_state *p, struct json_object *v);
/* The serial number in an answer to /api/v1/info. */
bool prusalink_read_serial(struct json_object *v, char *out, size_t size);
/* A file, as in a job or as the answer to an upload. */
bool prusalink_read_file(struct prusalink_file *f, struct json_object *v);
/* What an error's answer says, "" when nothing. */
void prusalink_read_problem(struct str body, char *out, size_t size);

struct prusalink_when {
	int64_t mono_ms, unix_ms; /* now */
};

/* Brings the record up to date; the sections that changed. */
uint32_t prusalink_map(
    struct prusalink_state *p, const struct prusalink_when *now, struct record *r);
/* The names of the present job are wanted before this status is mapped. */
bool prusalink_wants_names(const struct prusalink_state *p);
/* "usb/NAME~1.GCO", as rec_job.file has it. */
void prusalink_path(const struct prusalink_file *f, char *out, size_t size);

#endif
