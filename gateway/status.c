#include "gateway/status.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/print.h"

static const char *const conn_states[] = {"connected", "connecting", "disconnected", "disabled"};

static const struct {
	const char *name, *message;
} reasons[] = {
    [REASON_NONE] = {NULL, NULL},
    [REASON_WRONG_ACCESS_CODE] = {"wrong_access_code",
	"The printer refused the access code. It changes whenever LAN mode is switched."},
    [REASON_WRONG_SERIAL] = {"wrong_serial", "Another serial number answers at this address."},
    [REASON_CERTIFICATE_MISMATCH] = {"certificate_mismatch",
	"The certificate at this address is not this printer's, or its maker is not trusted."},
    [REASON_DEVELOPER_MODE_OFF] = {"developer_mode_off",
	"The printer accepts no commands: switch on LAN mode and Developer Mode on its screen."},
    [REASON_UNREACHABLE] = {"unreachable", "Nothing answers at the printer's address."},
    [REASON_NO_REPORTS] = {"no_reports",
	"The printer accepted the connection but sends no reports."},
    [REASON_CONNECTION_LOST] = {"connection_lost", "The connection was lost; connecting again."},
    [REASON_DISABLED] = {"disabled", "The printer is switched off in its settings."},
    [REASON_NO_GATEWAY] = {"no_gateway", "No gateway has taken up this printer yet."},
    [REASON_NO_SECRET] = {"no_secret",
	"Host, serial number or secret is missing, or the secret cannot be opened by this gateway."},
    [REASON_PROTOCOL_NOT_SUPPORTED] = {"protocol_not_supported",
	"This gateway does not speak the printer's protocol."},
    [REASON_STARTING] = {"starting",
	"The printer's server answers, but is still starting; trying again."},
    [REASON_PRINTER_NOT_CONNECTED] = {"printer_not_connected",
	"The printer's server works, but has no connection to the printer itself: is it on, and its "
	"cable plugged in?"},
};

void
status_init(struct status *s, struct sink *sink, struct uuid org, struct uuid printer)
{
	memset(s, 0, sizeof(*s));
	s->sink = sink;
	s->org = org;
	s->printer = printer;
	s->conn = CONN_DISCONNECTED;
	s->reason = REASON_NO_GATEWAY;
	record_init(&s->record);
}

void
status_fini(struct status *s)
{
	record_fini(&s->record);
	notes_fini(&s->notes);
}

const char *
conn_state_name(enum conn_state s)
{
	return conn_states[s];
}

const char *
conn_reason_name(enum conn_reason r)
{
	return reasons[r].name;
}

const char *
conn_reason_message(enum conn_reason r)
{
	return reasons[r].message;
}

bool
status_connection(struct status *s, enum conn_state state, enum conn_reason reason)
{
	if (s->conn == state && s->reason == reason)
		return false;
	s->conn = state;
	s->reason = reason;
	s->since_ms = clock_unix_ms();
	s->changed |= REC_CONNECTION;
	note_connection(&s->notes, conn_states[state], reasons[reason].name);
	return true;
}

void
status_errors(struct status *s)
{
	notes_errors(&s->notes, &s->record.errors);
}

void
status_event(struct status *s, struct status_event e)
{
	if (s->n_events == STATUS_EVENTS) {
		if (s->n_sending > 0) /* the first ones are on their way: the last one gives way */
			s->n_events--;
		else
			memmove(s->events, s->events + 1, (size_t)(--s->n_events) * sizeof(e));
		log_warn("an event was given up", LOG_Z("why", "too many wait to be written"));
	}
	e.id = uuid_v7();
	s->events[s->n_events++] = e;
	if (e.type == EVENT_STATE_CHANGED)
		note_state(&s->notes, e.id, printer_state_name(e.from), printer_state_name(e.to),
		    job_outcome_name(e.outcome));
}

static void
put_z(struct buf *b, const char *z)
{
	if (z)
		buf_json_str(b, str_from(z));
	else
		buf_str(b, STR("null"));
}

static void
put_uuid(struct buf *b, struct uuid u)
{
	char text[UUID_TEXT_LEN + 1];

	uuid_text(u, text);
	put_z(b, text);
}

static void
put_connection(struct buf *b, const struct status *s)
{
	char since[40];

	clock_rfc3339_to(since, s->since_ms);
	buf_str(b, STR("{\"state\":"));
	put_z(b, conn_states[s->conn]);
	buf_str(b, STR(",\"reason\":"));
	put_z(b, reasons[s->reason].name);
	buf_str(b, STR(",\"message\":"));
	put_z(b, reasons[s->reason].message);
	buf_str(b, STR(",\"since\":"));
	put_z(b, since);
	buf_char(b, '}');
}

static void
put_event(struct buf *b, const struct status *s, const struct status_event *e)
{
	static const char *const types[] = {
	    "printer.state_changed", "printer.online", "printer.offline"};

	buf_str(b, STR("{\"id\":"));
	put_uuid(b, e->id);
	buf_str(b, STR(",\"type\":"));
	put_z(b, types[e->type]);
	buf_str(b, STR(",\"data\":{\"printer_id\":"));
	put_uuid(b, s->printer);
	buf_str(b, STR(",\"name\":"));
	put_z(b, s->name);
	if (e->type == EVENT_STATE_CHANGED) {
		buf_fmt(b, ",\"from\":\"%s\",\"to\":\"%s\"", printer_state_name(e->from),
		    printer_state_name(e->to));
		if (e->outcome != OUTCOME_NONE)
			buf_fmt(b, ",\"job_outcome\":\"%s\"", job_outcome_name(e->outcome));
	} else if (e->type == EVENT_OFFLINE) {
		buf_str(b, STR(",\"reason\":"));
		put_z(b, reasons[e->reason].name);
	}
	buf_str(b, STR("}}"));
}

static void
put_link(struct buf *b, const struct status *s)
{
	buf_str(b, STR(",\"link\":{\"round_trip_ms\":"));
	if (s->round_trip_us)
		buf_fmt(b, "%.1f", (double)s->round_trip_us / 1000);
	else
		buf_str(b, STR("null"));
	buf_fmt(b, ",\"reports_per_min\":%lld,\"connects\":%lld,\"failures\":%lld}",
	    (long long)s->reports_per_min, (long long)s->connects, (long long)s->failures);
}

static void
put_prints(struct buf *b, const struct status *s)
{
	buf_str(b, STR(",\"print\":"));
	if (s->at_print)
		put_uuid(b, s->print.id);
	else
		buf_str(b, STR("null"));
	buf_str(b, STR(",\"prints\":"));
	print_rows_json(b, s, s->n_prints);
}

static void
put_sections(struct buf *b, const struct status *s, uint32_t mask)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} columns[] = {
	    {REC_JOB, ",\"job\":"},
	    {REC_TEMPERATURES, ",\"temperatures\":"},
	    {REC_FANS, ",\"fans\":"},
	    {REC_SPEED, ",\"speed\":"},
	    {REC_LIGHTS, ",\"lights\":"},
	    {REC_AMS, ",\"ams\":"},
	    {REC_ERRORS, ",\"errors\":"},
	    {REC_WIFI, ",\"wifi\":"},
	    {REC_FIRMWARE, ",\"firmware\":"},
	    {REC_EXTRA, ",\"extra\":"},
	};

	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
		if (!(mask & columns[i].bit))
			continue;
		buf_str(b, str_from(columns[i].name));
		record_json(b, &s->record, columns[i].bit);
	}
}

void
status_row_json(struct buf *b, const struct status *s, uint32_t mask, int n_events)
{
	buf_str(b, STR("{\"id\":"));
	put_uuid(b, s->printer);
	buf_str(b, STR(",\"fencing\":"));
	buf_json_i64(b, s->fencing);
	buf_str(b, STR(",\"mask\":"));
	buf_json_i64(b, mask);
	if (s->seen_ms) {
		buf_str(b, STR(",\"seen\":"));
		buf_json_i64(b, s->seen_ms);
	}
	if (mask & REC_STATE) {
		buf_str(b, STR(",\"state\":"));
		put_z(b, printer_state_name(s->record.state));
	}
	if (mask & REC_CONNECTION) {
		buf_str(b, STR(",\"connection\":"));
		put_connection(b, s);
	}
	put_sections(b, s, mask);
	if (mask & REC_LINK)
		put_link(b, s);
	if (mask & REC_PRINT)
		put_prints(b, s);
	if (n_events > 0) {
		buf_str(b, STR(",\"events\":["));
		for (int i = 0; i < n_events; i++) {
			if (i)
				buf_char(b, ',');
			put_event(b, s, &s->events[i]);
		}
		buf_char(b, ']');
	}
	buf_char(b, '}');
}
