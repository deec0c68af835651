#include "gateway/record.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static const char *const state_names[] = {
    "offline", "idle", "preparing", "printing", "paused", "finished", "failed", "error"};
static const char *const outcome_names[] = {NULL, "completed", "cancelled", "failed"};

void
record_init(struct record *r)
{
	memset(r, 0, sizeof(*r));
	r->wifi_dbm = REC_NONE;
}

void
record_fini(struct record *r)
{
	free(r->ams.units);
	free(r->firmware);
	record_init(r);
}

uint32_t
record_set(void *section, const void *fresh, size_t size, uint32_t bit)
{
	if (memcmp(section, fresh, size) == 0)
		return 0;
	memcpy(section, fresh, size);
	return bit;
}

uint32_t
record_set_ams(struct record *r, const struct rec_ams *fresh)
{
	struct rec_ams next = *fresh;
	size_t size = (size_t)fresh->n_units * sizeof(*fresh->units);
	bool same = r->ams.n_units == fresh->n_units &&
	    (size == 0 || memcmp(r->ams.units, fresh->units, size) == 0);

	next.units = r->ams.units;
	if (same && memcmp(&r->ams, &next, sizeof(next)) == 0)
		return 0;
	if (r->ams.n_units != fresh->n_units) {
		free(r->ams.units);
		next.units = size ? malloc(size) : NULL;
		must(size == 0 || next.units != NULL);
	}
	if (size)
		memcpy(next.units, fresh->units, size);
	memcpy(&r->ams, &next, sizeof(next));
	return REC_AMS;
}

uint32_t
record_set_firmware(struct record *r, const struct rec_firmware *fresh)
{
	if (!r->firmware) {
		r->firmware = calloc(1, sizeof(*r->firmware));
		must(r->firmware != NULL);
	}
	return record_set(r->firmware, fresh, sizeof(*fresh), REC_FIRMWARE);
}

const char *
printer_state_name(enum printer_state s)
{
	return state_names[s];
}

enum printer_state
printer_state_parse(struct str s)
{
	for (size_t i = 0; i < sizeof(state_names) / sizeof(state_names[0]); i++)
		if (str_eq(s, str_from(state_names[i])))
			return (enum printer_state)i;
	return PRINTER_OFFLINE;
}

const char *
job_outcome_name(enum job_outcome o)
{
	return outcome_names[o];
}

enum job_outcome
job_outcome_parse(struct str s)
{
	for (int i = OUTCOME_COMPLETED; i <= OUTCOME_FAILED; i++)
		if (str_eq(s, str_from(outcome_names[i])))
			return (enum job_outcome)i;
	return OUTCOME_NONE;
}

bool
printer_state_busy(enum printer_state s)
{
	return s == PRINTER_PREPARING || s == PRINTER_PRINTING || s == PRINTER_PAUSED;
}

const char *
severity_name(enum severity s)
{
	static const char *const names[] = {"common", "fatal", "serious", "common", "info"};

	return names[s];
}
