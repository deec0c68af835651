/* What a protocol is to the gateway: one table of functions. A new protocol is one file and one
 * line in drivers.c; docs/gateway.md shows how. */
#ifndef GATEWAY_DRIVER_H
#define GATEWAY_DRIVER_H

#include <stdint.h>

#include "gateway/command.h"
#include "gateway/status.h"

struct session;
struct loop;
struct http;

struct driver_config {
	const char *ca_path; /* certificates that a printer's may chain to */
	struct loop *loop;
	const char *bambu_ftps_port; /* "990", "+100": above the printer's own port; NULL: 990 */
	struct http *http;           /* shared by all sessions; lives longer than any of them */
};

/* A file on its way to a printer. Borrowed until the driver has told how it ended. */
struct transfer {
	int fd; /* open for reading, position 0 … size - 1 by pread; the driver does not close it */
	int64_t size;
	uint8_t sha256[32];
	bool has_sha256;
	char filename[256]; /* as its owner named it, cleaned for file systems; ends in its
			       extension */
	char
	    remote[256]; /* as it is called at the printer; the driver fills it during the upload */
	char kind[16];   /* of the contract: gcode, bgcode, gcode_3mf, … */
	int32_t plate;   /* of a 3MF, counted from 1 */
	int32_t n_slots; /* filaments of the file → slots of the printer */
	struct transfer_slot {
		int32_t unit, slot; /* unit REC_NONE: an external spool, `slot` its id; slot
				       REC_NONE: unused */
	} slots[32];
	bool has_mapping;
	bool timelapse, bed_leveling, flow_calibration, vibration_calibration;
	/* Which attempt of which send this is: positive, below 2^31, never the same for two starts
	 * at one printer. A provider that can carry it gives it back in rec_job.task_id. */
	int32_t task_id;
};

/* Where pictures of a printer come from. */
struct camera_source {
	enum {
		CAMERA_NONE,
		CAMERA_BAMBU_JPEG, /* TLS to `port`: frames of the A1 and P1 models */
		CAMERA_HTTP,       /* url: one JPEG per GET */
		CAMERA_MJPEG,      /* url: an endless multipart/x-mixed-replace */
		CAMERA_RTSP        /* url without credentials; user and secret apart */
	} kind;
	int port;
	char url[512];
	char user[32]; /* who logs in with the printer's secret, or what of it is behind "user:" */
	bool key;      /* CAMERA_HTTP: it goes as X-Api-Key instead, what of it is behind a ':' */
};

struct driver {
	const char *protocol;
	int port; /* when none is configured */
	bool needs_serial, needs_secret;
	uint32_t commands; /* CMD_BIT of each kind it knows; what the printer at hand lacks, it
			      refuses */
	/* Once per process; NULL when it cannot work. What it returns is given to create. */
	void *(*init)(const struct driver_config *cfg);
	void (*fini)(void *env);

	void *(*create)(void *env, struct session *s);
	void (*destroy)(void *d);
	/* Begins a connection to an address. Its course is told by session_up, session_report,
	 * session_failed, each of which may be called from within. */
	void (*connect)(void *d, const char *address, int port);
	/* Ends it in good order if there is one, uploads and requests that run included. Nothing is
	 * told about it. */
	void (*disconnect)(void *d);
	/* Asks for a full report. */
	void (*ask)(void *d);
	/* The printer is silent: wake it. */
	void (*nudge)(void *d);
	/* What is known of the job from before this process. */
	void (*recall)(void *d, enum printer_state state, enum job_outcome outcome,
	    int64_t started_ms, int32_t progress);

	/* Sends a command, exactly once: nothing here repeats it, also not the transport. Only
	 * while reports come, one at a time except for CMD_EMERGENCY_STOP. How the printer answers
	 * is told by session_answer, which may be called from within. */
	void (*command)(void *d, const struct command *c);
	/* Brings the file to the printer and does not start it. Told by session_upload_progress and
	 * session_upload_done. May be repeated from the start. */
	void (*upload)(void *d, struct transfer *t);
	/* Starts the file that was uploaded, exactly once, as `command`. Told by session_answer. */
	void (*start)(void *d, struct transfer *t);
	/* Gives up an upload that runs: its partial file is removed if possible. Nothing is told
	 * about it. */
	void (*abort)(void *d);
	/* True when the job that the record shows is the one of this transfer. */
	bool (*is_job)(const void *d, const struct transfer *t, const struct record *r);
	/* What its camera is, as far as is known while connected; NULL: none ever. */
	void (*camera)(const void *d, struct camera_source *out);
};

/* The table; NULL behind the last one. */
enum { DRIVERS_MOST = 8 };
extern const struct driver *const drivers[DRIVERS_MOST];

#endif
