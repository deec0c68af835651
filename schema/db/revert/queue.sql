-- Revert soloprint:queue from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP TABLE app.queue_item_files;
DROP TABLE app.queue_items;
DROP TABLE app.queue_dispatches;
DROP TABLE app.queue_history;
DROP TABLE app.queue_matches;
DROP TABLE app.queue_need_materials;
DROP TABLE app.queue_needs;
DROP TABLE app.queue_printers;
DROP TABLE app.queue_orders;
DROP TABLE sec.queue_orgs;
DROP FUNCTION app.queue_policy();
DROP TABLE app.queue_settings;
DROP FUNCTION sec.record_queue_item();
DROP FUNCTION sec.queue_verb(text, text);
DROP FUNCTION app.bump_queue_item();
DROP FUNCTION app.guard_queue_item();
DROP FUNCTION app.queue_holds(text);
DROP FUNCTION app.queue_ended(text);
DROP FUNCTION app.queue_waits(text);
ALTER TABLE app.printers DROP COLUMN auto_dispatch;

COMMIT;
