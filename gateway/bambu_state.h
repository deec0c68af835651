/* What a Bambu printer has said so far: its reports merged, in the printer's own terms.
 *
 * Reports are partial. A value that a report does not mention keeps what it was; only the first
 * full report after a connection begins anew. Kept as plain values rather than as the JSON tree: a
 * printer cannot make it grow. */
#ifndef GATEWAY_BAMBU_STATE_H
#define GATEWAY_BAMBU_STATE_H

#include <json-c/json.h>

#include "gateway/record.h"

/* What a report touched; several sections of the record may depend on one. */
enum bambu_part {
	BAMBU_STATE = 1 << 0, /* gcode_state, stage, errors: what decides about state and outcome */
	BAMBU_JOB = 1 << 1,
	BAMBU_TEMPS = 1 << 2,
	BAMBU_FANS = 1 << 3,
	BAMBU_SPEED = 1 << 4,
	BAMBU_LIGHTS = 1 << 5,
	BAMBU_AMS = 1 << 6,
	BAMBU_ERRORS = 1 << 7,
	BAMBU_WIFI = 1 << 8,
	BAMBU_FIRMWARE = 1 << 9,
	BAMBU_EXTRA = 1 << 10,
	BAMBU_ALL = (1 << 11) - 1
};

struct bambu_tray {
	int32_t id;
	char type[16], brand[40], color[12], idx[16], tag[24];
	int32_t n_cols;
	char cols[REC_COLORS][12];
	int32_t remain, nozzle_min, nozzle_max, state;
};

struct bambu_unit {
	int32_t id, humidity, humidity_raw, temp_dc, dry_min;
	int32_t n_trays;
	struct bambu_tray trays[REC_SLOTS];
};

struct bambu_extruder {
	int32_t id, temp, slot_now; /* temp: packed, low 16 bits actual, high 16 target */
};

struct bambu_hms {
	uint32_t attr, code;
};

struct bambu_state {
	bool full;    /* a full report came since the connection was made */
	bool refused; /* the printer refused a command for want of a signature */
	char gcode_state[16], print_type[16];
	int32_t stage, error; /* error: the 32 bits of print_error */
	int32_t percent, remaining_min, layer, layer_3d, total_layers, total_layers_3d;
	char file[160], name[160], task_id[32], subtask_id[32];
	int32_t nozzle_dc, nozzle_target_dc, bed_dc, bed_target_dc, chamber_dc;
	int32_t bed_packed, bed_info_packed, ctc_packed;
	int32_t n_extruders, extruder_state;
	struct bambu_extruder extruders[REC_NOZZLES];
	int32_t fan_part, fan_aux, fan_chamber, fan_heatbreak; /* 0 … 15 */
	int32_t speed_level, speed_percent;
	struct rec_lights lights;
	uint64_t fun;
	bool has_fun;
	int32_t home_flag, storage;
	int32_t rtsp; /* 1: its live view is switched on */
	bool has_home_flag;
	char wifi[16];
	/* AMS */
	int32_t n_units;
	struct bambu_unit *units; /* on the heap */
	bool has_tray_bits, power_on;
	uint64_t tray_bits;
	int32_t tray_now;
	int32_t n_external;
	struct bambu_tray external[REC_EXTERNAL];
	int32_t n_hms;
	struct bambu_hms hms[REC_ERRORS_MOST];
	struct rec_firmware *firmware; /* on the heap, until it was mapped */
	char product[48];
	/* The course of the job, kept by bambu_map over connections. */
	enum printer_state last; /* as the printer's own states say */
	bool seen_state;         /* `last` comes from a report */
	enum job_outcome outcome;
	bool deciding;        /* failed, and the reason is awaited until decide_at_ms */
	int64_t decide_at_ms; /* monotonic */
	int64_t started_ms;   /* Unix time, 0: not known */
	int32_t last_percent;
};

void bambu_state_init(struct bambu_state *b);
void bambu_state_fini(struct bambu_state *b);
/* Forgets every report, as at a new connection; keeps the course of the job. */
void bambu_state_forget(struct bambu_state *b);

/* Merges the `print` object of a push_status. Returns the parts whose values are now different.
 * full: the report is the whole state, so that what it lists is all there is. */
uint32_t bambu_merge(struct bambu_state *b, struct json_object *print, bool full);
/* Takes the `info` object of a get_version answer. */
uint32_t bambu_merge_version(struct bambu_state *b, struct json_object *info);

/* What mapping needs to know besides. */
struct bambu_when {
	int64_t mono_ms, unix_ms; /* now */
	bool no_chamber;          /* the model has no chamber sensor */
};

/* Brings the record up to date with the parts given; returns the record's sections that changed. */
uint32_t bambu_map(
    struct bambu_state *b, uint32_t parts, const struct bambu_when *now, struct record *r);
/* When the outcome of a failed job must be decided (monotonic milliseconds), 0: nothing to decide.
 */
int64_t bambu_decide_at(const struct bambu_state *b);
/* The printer wants signed commands: it is not in Developer Mode. */
bool bambu_developer_mode_off(const struct bambu_state *b);

#endif
