/* What is known of a printer, the same for every protocol. Drivers fill it, the sink writes it. */
#ifndef GATEWAY_RECORD_H
#define GATEWAY_RECORD_H

#include <stddef.h>

#include "base/buf.h"
#include "gateway/record_sections.h"

struct record {
	enum printer_state state;
	struct rec_job job;
	struct rec_temperatures temperatures;
	struct rec_fans fans;
	struct rec_speed speed;
	struct rec_lights lights;
	struct rec_ams ams;
	struct rec_errors errors;
	int32_t wifi_dbm;
	struct rec_firmware
	    *firmware; /* on the heap: it comes once and never changes; NULL before */
	struct rec_extra extra;
};

void record_init(struct record *r);
void record_fini(struct record *r);

/* Takes over a section when it differs; the section's bit, or 0. */
uint32_t record_set(void *section, const void *fresh, size_t size, uint32_t bit);
#define RECORD_SET(r, member, fresh, bit)                                                          \
	record_set(&(r)->member, (fresh), sizeof((r)->member), (bit))
/* The same for sections on the heap; `fresh->units` is borrowed. */
uint32_t record_set_ams(struct record *r, const struct rec_ams *fresh);
uint32_t record_set_firmware(struct record *r, const struct rec_firmware *fresh);

const char *printer_state_name(enum printer_state s);
/* PRINTER_OFFLINE for a text that is none. */
enum printer_state printer_state_parse(struct str s);
const char *job_outcome_name(enum job_outcome o); /* NULL for OUTCOME_NONE */
enum job_outcome job_outcome_parse(struct str s);
const char *severity_name(enum severity s);
/* A job is being worked on: preparing, printing or paused. */
bool printer_state_busy(enum printer_state s);

/* Appends one section as JSON, "null" when it was never reported. Not for REC_STATE, REC_CONNECTION
 * and REC_SEEN. */
void record_json(struct buf *b, const struct record *r, uint32_t bit);

#endif
