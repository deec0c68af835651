/* A status on its way: the row's JSON, events, connection. */
#include "gateway/status.h"

#include "tap.h"

static void
test_connection(void)
{
	struct status s;

	status_init(&s, NULL, uuid_v7(), uuid_v7());
	ok(status_connection(&s, CONN_CONNECTING, REASON_NONE), "a change");
	is_int(s.changed, REC_CONNECTION, "is to be written");
	ok(!status_connection(&s, CONN_CONNECTING, REASON_NONE), "the same is none");
	ok(status_connection(&s, CONN_CONNECTED, REASON_DEVELOPER_MODE_OFF), "a reason");
	for (int i = REASON_NONE + 1; i <= REASON_PROTOCOL_NOT_SUPPORTED; i++)
		ok(conn_reason_name((enum conn_reason)i) != NULL, "reason %d has a name", i);
	status_fini(&s);
}

static void
test_row(void)
{
	struct status s;
	struct buf b;
	struct uuid u;

	ok(uuid_parse(STR("0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"), &u), "id");
	status_init(&s, NULL, u, u);
	snprintf(s.name, sizeof(s.name), "a \"b\"");
	s.fencing = 7;
	s.seen_ms = 1700000000000;
	s.record.state = PRINTER_FAILED;
	status_event(&s,
	    (struct status_event){
		.type = EVENT_STATE_CHANGED,
		.from = PRINTER_PRINTING,
		.to = PRINTER_FAILED,
		.outcome = OUTCOME_CANCELLED,
	    });
	s.events[0].id = u;
	buf_init(&b, 4096);
	status_row_json(&b, &s, REC_STATE | REC_WIFI | REC_ERRORS, 1);
	is_str(buf_view(&b),
	    STR("{\"id\":\"0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70\",\"fencing\":7,\"mask\":769,\"seen\":1700000000000,"
		"\"state\":\"failed\",\"errors\":[],\"wifi\":null,\"events\":[{\"id\":\"0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70\","
		"\"type\":\"printer.state_changed\",\"data\":{\"printer_id\":\"0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70\","
		"\"name\":\"a \\\"b\\\"\",\"from\":\"printing\",\"to\":\"failed\",\"job_outcome\":\"cancelled\"}}]}"),
	    "a row");
	buf_fini(&b);
	status_fini(&s);
}

static void
test_too_many_events(void)
{
	struct status s;

	status_init(&s, NULL, uuid_v7(), uuid_v7());
	for (int i = 0; i < STATUS_EVENTS + 3; i++)
		status_event(&s,
		    (struct status_event){.type = EVENT_STATE_CHANGED,
			.to = i % 2 ? PRINTER_IDLE : PRINTER_PRINTING});
	is_int(s.n_events, STATUS_EVENTS, "the oldest are given up");
	s.n_sending = STATUS_EVENTS;
	status_event(&s, (struct status_event){.type = EVENT_OFFLINE});
	is_int(
	    s.events[STATUS_EVENTS - 1].type, EVENT_OFFLINE, "what is on its way stays in place");
	status_fini(&s);
}

static void
test_names(void)
{
	for (int i = PRINTER_OFFLINE; i <= PRINTER_ERROR; i++)
		is_int(printer_state_parse(str_from(printer_state_name((enum printer_state)i))), i,
		    "state");
	is_int(printer_state_parse(STR("nonsense")), PRINTER_OFFLINE, "no state");
	is_int(job_outcome_parse(STR("cancelled")), OUTCOME_CANCELLED, "outcome");
	is_int(job_outcome_parse(STR_NONE), OUTCOME_NONE, "no outcome");
}

int
main(void)
{
	test_connection();
	test_row();
	test_too_many_events();
	test_names();
	return tap_done();
}
