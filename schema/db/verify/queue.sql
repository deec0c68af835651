-- Verify soloprint:queue on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT 1 FROM app.queue_settings WHERE false;
SELECT 1 FROM app.queue_orders WHERE false;
SELECT 1 FROM app.queue_needs WHERE false;
SELECT 1 FROM app.queue_need_materials WHERE false;
SELECT 1 FROM app.queue_matches WHERE false;
SELECT 1 FROM app.queue_items WHERE false;
SELECT 1 FROM app.queue_item_files WHERE false;
SELECT 1 FROM app.queue_dispatches WHERE false;
SELECT 1 FROM app.queue_history WHERE false;
SELECT 1 FROM app.queue_printers WHERE false;
SELECT 1 FROM sec.queue_orgs WHERE false;
SELECT 'app.queue_policy()'::regprocedure,
	'app.queue_waits(text)'::regprocedure,
	'app.queue_ended(text)'::regprocedure,
	'app.queue_holds(text)'::regprocedure,
	'app.guard_queue_item()'::regprocedure,
	'app.bump_queue_item()'::regprocedure,
	'sec.queue_verb(text, text)'::regprocedure,
	'sec.record_queue_item()'::regprocedure;

ROLLBACK;
