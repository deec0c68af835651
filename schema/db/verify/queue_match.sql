-- Verify soloprint:queue_match on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT 'app.queue_reason(text, text, int, jsonb, jsonb)'::regprocedure,
	'app.queue_material(text)'::regprocedure,
	'app.queue_model(text)'::regprocedure,
	'app.queue_color_distance(text, text)'::regprocedure,
	'app.queue_facts(app.printers, app.printer_status)'::regprocedure,
	'app.queue_input_version(app.printers, app.printer_status)'::regprocedure,
	'app.queue_variant(jsonb, text)'::regprocedure,
	'app.queue_match_target(jsonb, jsonb)'::regprocedure,
	'app.prints_3mf_alone(text, text)'::regprocedure,
	'app.queue_match_file(jsonb, jsonb, jsonb)'::regprocedure,
	'app.queue_match_least(text, text, jsonb, jsonb, boolean)'::regprocedure,
	'app.queue_match_machine(jsonb, jsonb, jsonb)'::regprocedure,
	'app.queue_match_slots(jsonb, jsonb)'::regprocedure,
	'app.queue_match(jsonb, jsonb)'::regprocedure,
	'app.may_use_printer(uuid, uuid[], uuid)'::regprocedure,
	'app.queue_in_window(jsonb, timestamptz, text)'::regprocedure,
	'app.queue_item_reasons(app.queue_items, text)'::regprocedure,
	'app.printer_readiness(uuid, boolean, boolean, boolean, jsonb, text, boolean, timestamptz, app.queue_settings)'::regprocedure,
	'app.queue_wants(app.files, int)'::regprocedure,
	'app.queue_costs(app.files, int)'::regprocedure,
	'app.queue_need_of(app.queue_items)'::regprocedure,
	'sec.queue_rematch(uuid[], uuid[])'::regprocedure,
	'sec.queue_need(jsonb)'::regprocedure,
	'sec.queue_refresh_item(uuid)'::regprocedure,
	'sec.queue_rematch_printer(uuid, uuid[])'::regprocedure,
	'sec.queue_follow_printer()'::regprocedure,
	'sec.queue_follow_slots()'::regprocedure,
	'sec.queue_follow_file()'::regprocedure,
	'sec.queue_file_purged()'::regprocedure;

ROLLBACK;
