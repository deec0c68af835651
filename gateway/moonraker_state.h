/* What a Moonraker has said, in plain values: it cannot be made to grow. */
#ifndef GATEWAY_MOONRAKER_STATE_H
#define GATEWAY_MOONRAKER_STATE_H

#include <json-c/json.h>

#include "gateway/record.h"
#include "gateway/status.h"

enum klippy {
	KLIPPY_UNKNOWN,
	KLIPPY_DISCONNECTED, /* Moonraker is there, Klipper is not */
	KLIPPY_STARTUP,
	KLIPPY_READY,
	KLIPPY_ERROR,   /* its configuration is wrong */
	KLIPPY_SHUTDOWN /* an emergency stop, or a fault of the hardware */
};

/* print_stats.state */
enum klipper_print {
	KPRINT_STANDBY,
	KPRINT_PRINTING,
	KPRINT_PAUSED,
	KPRINT_COMPLETE,
	KPRINT_CANCELLED,
	KPRINT_ERROR
};

/* Parts of the state, for what changed. */
enum {
	MOONRAKER_STATE = 1 << 0,
	MOONRAKER_TEMPERATURES = 1 << 1,
	MOONRAKER_FANS = 1 << 2,
	MOONRAKER_SPEED = 1 << 3,
	MOONRAKER_LIGHTS = 1 << 4,
	MOONRAKER_FIRMWARE = 1 << 5,
	MOONRAKER_ALL = (1 << 6) - 1
};

enum { MOONRAKER_NAME = 80, MOONRAKER_FANS_MOST = 2 };

/* What the printer is made of, of printer.objects.list. Names as Klipper has them, "led case". */
struct moonraker_objects {
	bool known;
	bool extruder[REC_NOZZLES];
	bool bed, fan, sdcard, display, exclude_object, load, unload;
	char chamber[MOONRAKER_NAME];        /* object that tells its temperature, "" none */
	char chamber_heater[MOONRAKER_NAME]; /* object that can be set */
	char fan_aux[MOONRAKER_NAME], fan_chamber[MOONRAKER_NAME];
	int32_t n_lights;
	char light[REC_LIGHTS_MOST][MOONRAKER_NAME];
};

struct moonraker_heater {
	int32_t actual_dc, target_dc;
};

struct moonraker_state {
	struct moonraker_objects objects;
	bool full; /* a whole report came in this connection; else nothing below is valid */
	enum klippy klippy;
	enum klipper_print print;
	char filename[160];
	double total_s, print_s; /* since the start; of them extruding */
	double progress;         /* 0 … 1, of the file */
	int32_t layer, total_layers;
	struct moonraker_heater nozzle[REC_NOZZLES], bed, chamber;
	int32_t fan_pct, fan_aux_pct, fan_chamber_pct, speed_pct;
	int32_t lit[REC_LIGHTS_MOST]; /* 0, 1 or REC_NONE */
	char klipper_version[24], moonraker_version[24];

	/* What the slicer wrote into the file `meta_file`. */
	char meta_file[160];
	double meta_s;
	int32_t meta_layers;

	/* The job and what became of it, beyond the connection. */
	enum printer_state last;
	bool seen_state;
	enum job_outcome outcome;
	bool undecided; /* a job ended and nothing said how; its history may */
	char job_file[160];
	int64_t started_ms;
	int32_t last_percent;
	int64_t down_ms; /* monotonic: Klipper went away then and may come back; 0: it did not */
};

struct moonraker_when {
	int64_t mono_ms, unix_ms;
};

void moonraker_state_init(struct moonraker_state *m);
/* At the end of a connection: all but the job's own. */
void moonraker_state_forget(struct moonraker_state *m);

/* --- reading (moonraker_merge.c) --- */

/* The result of printer.objects.list. False when it is none. */
bool moonraker_take_objects(struct moonraker_state *m, struct json_object *result);
/* `status` of a subscription's reply or of notify_status_update: each object is merged member by
 * member, what is not mentioned stays. The parts that changed. */
uint32_t moonraker_take_status(struct moonraker_state *m, struct json_object *status);
/* "ready", …; KLIPPY_UNKNOWN for another text. */
enum klippy moonraker_klippy(struct json_object *text);
/* The result of server.files.metadata. */
uint32_t moonraker_take_metadata(struct moonraker_state *m, struct json_object *result);
/* A job of the history: tells the outcome when it is still undecided. */
uint32_t moonraker_take_history(struct moonraker_state *m, struct json_object *job);

/* --- the common record (moonraker_map.c) --- */

/* Maps the given parts; the sections that changed. */
uint32_t moonraker_map(
    struct moonraker_state *m, uint32_t parts, const struct moonraker_when *now, struct record *r);
/* Monotonic time at which MOONRAKER_STATE must be mapped again without news, 0: none. */
int64_t moonraker_decide_at(const struct moonraker_state *m);
enum conn_reason moonraker_limits(const struct moonraker_state *m);

#endif
