-- Verify soloprint:events on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT 1 FROM app.events WHERE false;
SELECT 1 FROM app.event_types WHERE false;
SELECT 1 FROM sec.event_heads WHERE false;
SELECT 1 FROM sec.outbox_index WHERE false;
SELECT 1 FROM sec.publisher WHERE false;
SELECT 1 FROM sec.stream_queue WHERE false;
SELECT 'app.event_title(text, jsonb)'::regprocedure,
	'app.event_wanted(text[], text)'::regprocedure,
	'app.event_age()'::regprocedure,
	'app.keep_events()'::regprocedure,
	'app.event_payload(uuid, text, timestamptz, uuid, bigint, jsonb)'::regprocedure,
	'app.my_capabilities()'::regprocedure,
	'app.event_channels(uuid, text, uuid, uuid)'::regprocedure,
	'sec.index_outbox()'::regprocedure,
	'sec.end_key_streams()'::regprocedure,
	'sec.index_key_expiry()'::regprocedure,
	'sec.end_org_streams()'::regprocedure,
	'sec.tell(uuid, text, text, text, uuid, jsonb)'::regprocedure,
	'sec.speak_for(text)'::regprocedure,
	'sec.print_data(app.prints)'::regprocedure,
	'sec.tell_print()'::regprocedure,
	'app.milestone(jsonb)'::regprocedure,
	'sec.tell_progress()'::regprocedure,
	'sec.tell_errors()'::regprocedure,
	'app.nobody_may(jsonb)'::regprocedure;

ROLLBACK;
