/* A record's sections: cleared before they are filled, so that equal ones are equal in bytes. */
#ifndef GATEWAY_RECORD_SECTIONS_H
#define GATEWAY_RECORD_SECTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* "Not known" in any number of a record; null in JSON. */
#define REC_NONE INT32_MIN

enum printer_state {
	PRINTER_OFFLINE,
	PRINTER_IDLE,
	PRINTER_PREPARING,
	PRINTER_PRINTING,
	PRINTER_PAUSED,
	PRINTER_FINISHED,
	PRINTER_FAILED,
	PRINTER_ERROR
};

enum job_outcome { OUTCOME_NONE, OUTCOME_COMPLETED, OUTCOME_CANCELLED, OUTCOME_FAILED };

/* A status' columns as bits. */
enum record_section {
	REC_STATE = 1 << 0,
	REC_CONNECTION = 1 << 1,
	REC_JOB = 1 << 2,
	REC_TEMPERATURES = 1 << 3,
	REC_FANS = 1 << 4,
	REC_SPEED = 1 << 5,
	REC_LIGHTS = 1 << 6,
	REC_AMS = 1 << 7,
	REC_ERRORS = 1 << 8,
	REC_WIFI = 1 << 9,
	REC_FIRMWARE = 1 << 10,
	REC_EXTRA = 1 << 11,
	REC_SEEN = 1 << 12,
	REC_LINK = 1 << 13,
	REC_PRINT = 1 << 14
};

enum {
	REC_NOZZLES = 4,
	REC_LIGHTS_MOST = 6,
	REC_UNITS = 16,
	REC_SLOTS = 4,
	REC_COLORS = 6,
	REC_EXTERNAL = 2,
	REC_ERRORS_MOST = 32,
	REC_MODULES = 24
};

struct rec_job {
	bool present;
	char file[160], name[160], task_id[32];
	int32_t progress, remaining_s, layer, total_layers;
	enum job_outcome outcome;
	const char *stage;  /* of a constant table, or NULL */
	int64_t started_ms; /* Unix time; 0: not known */
};

struct rec_temp {
	int32_t actual_dc, target_dc; /* tenths of a degree Celsius */
};
struct rec_temperatures {
	bool present, has_chamber;
	int32_t n_nozzles;
	struct {
		int32_t id;
		struct rec_temp t;
	} nozzles[REC_NOZZLES];
	struct rec_temp bed, chamber;
};

struct rec_fans {
	bool present;
	int32_t part_cooling_pct, auxiliary_pct, chamber_pct, heatbreak_pct;
};

struct rec_speed {
	bool present;
	int32_t level, percent; /* level: 1 silent … 4 ludicrous */
};

enum light_mode { LIGHT_OFF, LIGHT_ON, LIGHT_FLASHING };
struct rec_lights {
	bool present;
	int32_t n;
	struct {
		char node[24];
		enum light_mode mode;
	} light[REC_LIGHTS_MOST];
};

struct rec_slot {
	int32_t id;
	bool present, rfid;
	char material[16], name[40], filament_id[16], color[12]; /* "#RRGGBBAA" */
	int32_t n_colors;
	char colors[REC_COLORS][12];
	int32_t remaining_pct, nozzle_min_c, nozzle_max_c;
};

struct rec_unit {
	int32_t id, humidity, humidity_pct, temperature_dc, drying_s;
	int32_t n_slots;
	struct rec_slot slots[REC_SLOTS];
};

struct rec_ams {
	bool present, has_active;
	int32_t active_unit, active_slot; /* unit REC_NONE: an external spool */
	int32_t n_external;
	struct rec_slot external[REC_EXTERNAL];
	int32_t n_units;
	struct rec_unit *units; /* on the heap, kept by the record */
};

enum severity { SEVERITY_FATAL = 1, SEVERITY_SERIOUS, SEVERITY_COMMON, SEVERITY_INFO };
struct rec_error {
	char code[24];
	enum severity severity;
	const char *module, *message; /* of constant tables; the second may be NULL */
	bool hms;                     /* a health message, not the print's error */
};

struct rec_errors {
	int32_t n;
	struct rec_error e[REC_ERRORS_MOST];
};

struct rec_firmware {
	bool present;
	char version[24];
	int32_t n;
	struct {
		char name[24], version[24];
	} module[REC_MODULES];
};

struct rec_extra {
	bool present;
	char product[48];
	int32_t storage, door_open; /* 0, 1 or REC_NONE */
};
#endif
