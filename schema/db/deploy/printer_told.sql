-- Deploy soloprint:printer_told to pg
-- requires: printer_rows
-- Where the last event of a printer's state ended. It differs from the state while a failure waits for its outcome; a
-- gateway that takes over then goes on from there.

BEGIN;
SET LOCAL ROLE soloprint_owner;

ALTER TABLE app.printer_status
	ADD COLUMN told_state text NOT NULL DEFAULT 'offline'
		CHECK (told_state IN ('offline', 'idle', 'preparing', 'printing', 'paused', 'finished', 'failed', 'error'));
GRANT UPDATE (told_state) ON app.printer_status TO soloprint_gateway;

DO $$
DECLARE
	org uuid;
BEGIN
	FOR org IN SELECT i.org_id FROM sec.org_index AS i LOOP
		PERFORM pg_catalog.set_config('app.org_id', org::text, true);
		UPDATE app.printer_status SET told_state = state WHERE org_id = org AND state <> told_state;
	END LOOP;
END
$$;

COMMIT;
