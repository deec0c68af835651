/* What a printer can be asked to do besides reporting: one table of kinds for the contract, the
 * drivers and the confirmation by state. */
#ifndef GATEWAY_COMMAND_H
#define GATEWAY_COMMAND_H

#include "base/str.h"
#include "gateway/record.h"

struct json_object;

enum command_kind {
	CMD_PAUSE,
	CMD_RESUME,
	CMD_STOP,
	CMD_EMERGENCY_STOP,
	CMD_GCODE,
	CMD_SET_TEMPERATURES,
	CMD_HOME,
	CMD_JOG,
	CMD_FANS,
	CMD_LIGHT,
	CMD_SPEED,
	CMD_SKIP_OBJECTS,
	CMD_LOAD_FILAMENT,
	CMD_UNLOAD_FILAMENT,
	CMD_CLEAR_ERROR,
	CMD_FIRMWARE_RESTART,
	CMD_KINDS
};
#define CMD_BIT(kind) (1u << (kind))

enum { CMD_LINES = 64, CMD_LINE = 256, CMD_OBJECTS = 64 };

/* Numbers that were not given are REC_NONE. Temperatures in tenths of a degree, lengths in
 * micrometres. */
struct command {
	enum command_kind kind;
	union {
		struct {
			int32_t nozzle, nozzle_dc, bed_dc, chamber_dc;
		} temperatures; /* nozzle: which one, 0 the first */
		struct {
			int32_t part_cooling_pct, auxiliary_pct, chamber_pct;
		} fans;
		struct {
			char node[24]; /* "" means the printer's main light */
			bool on;
		} light;
		struct {
			int32_t level; /* 1 silent … 4 ludicrous, REC_NONE */
			int32_t percent;
		} speed;
		struct {
			bool x, y, z; /* none: all */
		} home;
		struct {
			int32_t x_um, y_um, z_um, e_um, feed_mm_min;
		} jog;
		struct {
			int32_t n;
			int32_t id[CMD_OBJECTS];
			char name[CMD_OBJECTS][64]; /* "" where only the id is known */
		} objects;
		struct {
			int32_t unit, slot; /* of an AMS; REC_NONE: the only one, or external */
			int32_t nozzle_dc, length_um; /* REC_NONE: the printer's own */
		} filament;
		struct {
			int32_t n;
			char (*line)[CMD_LINE]; /* on the heap, of this command */
		} gcode;
	} u;
};

/* "set_temperatures" …; NULL outside of the table. */
const char *command_name(enum command_kind k);
/* Reads a command as the contract has it, {"command": name, …}. False when it is none (the API
 * has checked it: a defect, or a newer API). */
bool command_parse(struct json_object *v, struct command *out);
void command_fini(struct command *c);

/* False when the printer's state makes it pointless or harmful: pausing what does not print, homing
 * while it prints. */
bool command_makes_sense(const struct command *c, const struct record *r);
/* CONFIRM_STATE: the record will show it; CONFIRM_ANSWER: the printer's own answer is all there is.
 */
enum confirm { CONFIRM_STATE, CONFIRM_ANSWER };
enum confirm command_confirm(const struct command *c);
/* For CONFIRM_STATE: the record shows it. */
bool command_shows(const struct command *c, const struct record *r);
/* How long a printer may take from the command to its confirmation. */
int64_t command_patience_ms(const struct command *c);

#endif
