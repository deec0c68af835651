#include "gateway/octoprint_report.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "gateway/reading.h"

enum {
	LINES_MOST = 512, /* of the terminal in one message */
};

/* Degrees Celsius that no printer has. */
#define COLDEST (-300.0)
#define HOTTEST 3000.0

/* --- state ------------------------------------------------------------------------------------ */

static bool
take_state(struct octo_state *o, struct json_object *state)
{
	static const struct {
		const char *name;
		uint32_t flag;
	} names[] = {
	    {"operational", OCTO_OPERATIONAL},
	    {"printing", OCTO_PRINTING},
	    {"paused", OCTO_PAUSED},
	    {"pausing", OCTO_PAUSING},
	    {"resuming", OCTO_RESUMING},
	    {"cancelling", OCTO_CANCELLING},
	    {"finishing", OCTO_FINISHING},
	    {"ready", OCTO_READY},
	    {"closedOrError", OCTO_CLOSED},
	    {"error", OCTO_ERROR},
	};
	struct json_object *flags = reading_member(state, "flags");
	char text[OCTO_NAME] = "";
	uint32_t set = OCTO_READY;
	bool operational;

	if (!reading_bool(reading_member(flags, "operational"), &operational))
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		bool on;

		if (!reading_bool(reading_member(flags, names[i].name), &on))
			continue;
		set = on ? set | names[i].flag : set & ~names[i].flag;
	}
	reading_text(reading_member(state, "text"), text, sizeof(text));
	if ((set & OCTO_PRINTING) && strncmp(text, "Starting", strlen("Starting")) == 0)
		set |= OCTO_STARTING;
	o->flags = set;
	memset(o->error, 0, sizeof(o->error));
	reading_text(reading_member(state, "error"), o->error, sizeof(o->error));
	return true;
}

/* PrinterStateChanged names a state. False: one whose reason and flags have to be asked for. */
static bool
take_state_id(struct octo_state *o, struct json_object *payload)
{
	static const struct {
		const char *name;
		uint32_t flags;
	} ids[] = {
	    {"OPERATIONAL", OCTO_READY},
	    {"STARTING", OCTO_PRINTING | OCTO_STARTING},
	    {"PRINTING", OCTO_PRINTING},
	    {"PAUSED", OCTO_PAUSED},
	    {"PAUSING", OCTO_PRINTING | OCTO_PAUSING},
	    {"RESUMING", OCTO_PRINTING | OCTO_RESUMING},
	    {"CANCELLING", OCTO_PRINTING | OCTO_CANCELLING},
	    {"FINISHING", OCTO_PRINTING | OCTO_FINISHING},
	    {"TRANSFERING_FILE", 0},
	};
	char id[32] = "";

	reading_text(reading_member(payload, "state_id"), id, sizeof(id));
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		if (strcmp(id, ids[i].name) != 0)
			continue;
		o->flags = ids[i].flags | OCTO_OPERATIONAL;
		memset(o->error, 0, sizeof(o->error));
		return true;
	}
	return false;
}

/* --- job -------------------------------------------------------------------------------------- */

static void
take_file(struct octo_file *f, struct json_object *file)
{
	memset(f, 0, sizeof(*f));
	reading_text(reading_member(file, "path"), f->path, sizeof(f->path));
	if (!reading_text(reading_member(file, "display"), f->name, sizeof(f->name)))
		reading_text(reading_member(file, "name"), f->name, sizeof(f->name));
	if (!f->path[0]) /* of the printer's own card, in old versions */
		reading_text(reading_member(file, "name"), f->path, sizeof(f->path));
}

static void
take_progress(struct octo_state *o, struct json_object *progress)
{
	double d;

	o->percent = o->left_s = REC_NONE;
	if (reading_double(reading_member(progress, "completion"), &d) && d >= 0 && d <= 100)
		o->percent = (int32_t)d;
	if (reading_double(reading_member(progress, "printTimeLeft"), &d) && d >= 0 && d < 1e8)
		o->left_s = (int32_t)d;
}

static bool
take_work(struct octo_state *o, struct json_object *v)
{
	struct json_object *job = reading_member(v, "job");

	if (!json_object_is_type(job, json_type_object))
		return false;
	take_file(&o->selected, reading_member(job, "file"));
	take_progress(o, reading_member(v, "progress"));
	return true;
}

/* --- temperatures ----------------------------------------------------------------------------- */

static int32_t
tenths(struct json_object *v, const char *name)
{
	double d;

	if (!reading_double(reading_member(v, name), &d) || d < COLDEST || d > HOTTEST)
		return REC_NONE;
	return (int32_t)lround(d * 10);
}

static struct rec_temp
heater(struct json_object *v)
{
	return (struct rec_temp){tenths(v, "actual"), tenths(v, "target")};
}

static bool
is_known(struct rec_temp t)
{
	return t.actual_dc != REC_NONE || t.target_dc != REC_NONE;
}

static void
take_temperatures(struct octo_state *o, struct json_object *v)
{
	struct rec_temp bed = heater(reading_member(v, "bed")), tool;
	char name[16];

	o->n_tools = 0;
	for (int i = 0; i < 10 && o->n_tools < REC_NOZZLES; i++) {
		snprintf(name, sizeof(name), "tool%d", i);
		tool = heater(reading_member(v, name));
		if (!is_known(tool))
			continue;
		o->tools[o->n_tools].id = i;
		o->tools[o->n_tools++].t = tool;
	}
	o->has_bed = is_known(bed);
	o->bed = bed;
	o->chamber = heater(reading_member(v, "chamber"));
	o->has_temperatures = o->n_tools > 0 || o->has_bed || is_known(o->chamber);
}

/* A list, oldest first; entries without any temperature stand for a lost connection. */
static void
take_history(struct octo_state *o, struct json_object *list)
{
	size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	if (n > 0 && (o->flags & OCTO_OPERATIONAL))
		take_temperatures(o, json_object_array_get_idx(list, n - 1));
}

/* --- answers ---------------------------------------------------------------------------------- */

bool
octo_take_version(struct octo_state *o, struct json_object *v)
{
	return reading_member(v, "api") != NULL &&
	    reading_text(reading_member(v, "server"), o->server, sizeof(o->server)) && o->server[0];
}

bool
octo_take_printer(struct octo_state *o, struct json_object *v)
{
	if (!take_state(o, reading_member(v, "state")))
		return false;
	take_temperatures(o, reading_member(v, "temperature"));
	return true;
}

/* What a printer told that is no longer there. */
static void
forget_values(struct octo_state *o)
{
	o->has_temperatures = o->has_bed = false;
	o->n_tools = 0;
	o->chamber = o->bed = (struct rec_temp){REC_NONE, REC_NONE};
	o->fan_pct = o->speed_pct = REC_NONE;
}

void
octo_take_no_printer(struct octo_state *o)
{
	o->flags = OCTO_CLOSED;
	forget_values(o);
}

bool
octo_take_job(struct octo_state *o, struct json_object *v)
{
	if (!take_work(o, v))
		return false;
	memset(o->error, 0, sizeof(o->error));
	reading_text(reading_member(v, "error"), o->error, sizeof(o->error));
	return true;
}

bool
octo_login(struct json_object *v, char *out, size_t size)
{
	char name[128] = "", session[128] = "";
	int n;

	reading_text(reading_member(v, "name"), name, sizeof(name));
	reading_text(reading_member(v, "session"), session, sizeof(session));
	if (!name[0] || !session[0] || strchr(name, ':'))
		return false;
	n = snprintf(out, size, "%s:%s", name, session);
	return n > 0 && (size_t)n < size;
}

void
octo_words(struct json_tokener *tokener, struct str body, char *out, size_t size)
{
	struct json_object *v = reading_object(tokener, body);

	memset(out, 0, size);
	reading_text(reading_member(v, "error"), out, size);
	json_object_put(v);
}

/* --- the websocket's messages ----------------------------------------------------------------- */

/* goes_on: more will come; the first message shows its lines also to those who may not see them. */
static void
take_terminal(struct octo_state *o, struct json_object *lines, bool goes_on)
{
	size_t n = json_object_is_type(lines, json_type_array) ? json_object_array_length(lines)
							       : 0;
	char line[128];

	for (size_t i = 0; i < n && i < LINES_MOST; i++) {
		if (!reading_text(json_object_array_get_idx(lines, i), line, sizeof(line)) ||
		    strncmp(line, "Send: ", strlen("Send: ")) != 0)
			continue;
		o->terminal = o->terminal || goes_on;
		octo_told(o, line + strlen("Send: "));
	}
}

/* Reports of the whole state are gathered before they are sent: one can come behind an event that
 * is newer than it. Believed, it would end a print that has just begun. */
static bool
is_older(const struct octo_state *known, const struct octo_state *told)
{
	enum printer_state state = octo_own_state(told);

	if ((known->flags & (OCTO_CLOSED | OCTO_ERROR)) && (told->flags & OCTO_OPERATIONAL))
		return true;
	return known->by_event &&
	    (state != octo_own_state(known) ||
		strcmp(told->selected.path, known->selected.path) != 0);
}

static enum octo_push
take_current(struct octo_state *o, struct json_object *v, bool goes_on)
{
	struct octo_state known = *o;

	if (!take_state(o, reading_member(v, "state")) || !take_work(o, v)) {
		*o = known;
		return OCTO_IGNORED;
	}
	if (is_older(&known, o)) {
		*o = known;
		return OCTO_DOUBT;
	}
	o->by_event = false;
	if (!(o->flags & OCTO_OPERATIONAL))
		forget_values(o);
	take_history(o, reading_member(v, "temps"));
	take_terminal(o, reading_member(v, "logs"), goes_on);
	return OCTO_REPORT;
}

static enum octo_push
on_state(struct octo_state *o, struct json_object *payload)
{
	return take_state_id(o, payload) ? OCTO_EVENT : OCTO_ASK;
}

static enum octo_push
on_selected(struct octo_state *o, struct json_object *payload)
{
	take_file(&o->selected, payload);
	o->percent = o->left_s = REC_NONE;
	return OCTO_EVENT;
}

static enum octo_push
on_started(struct octo_state *o, struct json_object *payload)
{
	take_file(&o->selected, payload);
	o->ended = OUTCOME_NONE;
	o->percent = o->left_s = REC_NONE;
	return OCTO_EVENT;
}

static enum octo_push
on_end(struct octo_state *o, struct json_object *payload, enum job_outcome how)
{
	struct octo_file file;

	take_file(&file, payload);
	octo_ended(o, how, &file);
	return OCTO_EVENT;
}

static enum octo_push
on_done(struct octo_state *o, struct json_object *payload)
{
	return on_end(o, payload, OUTCOME_COMPLETED);
}

static enum octo_push
on_cancelled(struct octo_state *o, struct json_object *payload)
{
	return on_end(o, payload, OUTCOME_CANCELLED);
}

/* Comes with every cancel too. */
static enum octo_push
on_failed(struct octo_state *o, struct json_object *payload)
{
	char reason[24] = "";

	reading_text(reading_member(payload, "reason"), reason, sizeof(reason));
	return on_end(
	    o, payload, strcmp(reason, "cancelled") == 0 ? OUTCOME_CANCELLED : OUTCOME_FAILED);
}

static enum octo_push
on_firmware(struct octo_state *o, struct json_object *payload)
{
	reading_text(reading_member(payload, "name"), o->firmware, sizeof(o->firmware));
	return OCTO_EVENT;
}

static enum octo_push
on_lost(struct octo_state *o, struct json_object *payload)
{
	(void)o;
	(void)payload;
	return OCTO_ASK;
}

static enum octo_push
take_event(struct octo_state *o, struct json_object *event)
{
	static const struct {
		const char *type;
		enum octo_push (*take)(struct octo_state *o, struct json_object *payload);
	} events[] = {
	    {"Disconnected", on_lost},
	    {"Error", on_lost},
	    {"FileSelected", on_selected}, /* before the state of its print */
	    {"FirmwareData", on_firmware},
	    {"PrintCancelled", on_cancelled},
	    {"PrintDone", on_done},
	    {"PrintFailed", on_failed},
	    {"PrintStarted", on_started},
	    {"PrinterStateChanged", on_state},
	};
	char type[32] = "";

	if (!reading_text(reading_member(event, "type"), type, sizeof(type)))
		return OCTO_IGNORED;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		if (strcmp(type, events[i].type) != 0)
			continue;
		o->by_event = true;
		return events[i].take(o, reading_member(event, "payload"));
	}
	return OCTO_CHATTER;
}

enum octo_push
octo_take_push(struct octo_state *o, struct json_object *message)
{
	struct json_object *v;

	v = reading_member(message, "current");
	if (v)
		return take_current(o, v, true);
	v = reading_member(message, "history");
	if (v)
		return take_current(o, v, false);
	v = reading_member(message, "event");
	if (v)
		return take_event(o, v);
	if (reading_member(message, "reauthRequired"))
		return OCTO_REAUTH;
	return json_object_object_length(message) > 0 ? OCTO_CHATTER : OCTO_IGNORED;
}
