-- Verify soloprint:queue_rows on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT 1 FROM app.queue_rows WHERE false;
SELECT 1 FROM app.queue_eligible_rows WHERE false;
SELECT auto_dispatch, "plate.cleared" FROM app.printer_rows WHERE false;
SELECT 'app.queue_eligibility(app.queue_items)'::regprocedure,
	'app.queue_item_history(uuid)'::regprocedure,
	'app.queue_settings_row()'::regprocedure,
	'app.queue_free_at(boolean, boolean, boolean, jsonb, text, int, int)'::regprocedure,
	'app.queue_forecast(int)'::regprocedure;

ROLLBACK;
