-- Revert soloprint:queue_match from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP TRIGGER z_queue_new ON app.printers;
DROP TRIGGER z_queue ON app.printers;
DROP TRIGGER queue_slots ON app.printer_status;
DROP TRIGGER queue ON app.files;
DROP TRIGGER queue_purged ON app.queue_item_files;
DROP FUNCTION sec.queue_file_purged();
DROP FUNCTION sec.queue_follow_file();
DROP FUNCTION sec.queue_follow_slots();
DROP FUNCTION sec.queue_follow_printer();
DROP FUNCTION sec.queue_rematch_printer(uuid, uuid[]);
DROP FUNCTION sec.queue_refresh_item(uuid);
DROP FUNCTION sec.queue_need(jsonb);
DROP FUNCTION sec.queue_rematch(uuid[], uuid[]);
DROP FUNCTION app.queue_need_of(app.queue_items);
DROP FUNCTION app.queue_costs(app.files, int);
DROP FUNCTION app.queue_wants(app.files, int);
DROP FUNCTION app.printer_readiness(uuid, boolean, boolean, boolean, jsonb, text, boolean, timestamptz, app.queue_settings);
DROP FUNCTION app.queue_item_reasons(app.queue_items, text);
DROP FUNCTION app.queue_in_window(jsonb, timestamptz, text);
DROP FUNCTION app.may_use_printer(uuid, uuid[], uuid);
DROP FUNCTION app.queue_match(jsonb, jsonb);
DROP FUNCTION app.queue_match_slots(jsonb, jsonb);
DROP FUNCTION app.queue_match_machine(jsonb, jsonb, jsonb);
DROP FUNCTION app.queue_match_least(text, text, jsonb, jsonb, boolean);
DROP FUNCTION app.queue_match_file(jsonb, jsonb, jsonb);
DROP FUNCTION app.prints_3mf_alone(text, text);
DROP FUNCTION app.queue_match_target(jsonb, jsonb);
DROP FUNCTION app.queue_variant(jsonb, text);
DROP FUNCTION app.queue_input_version(app.printers, app.printer_status);
DROP FUNCTION app.queue_facts(app.printers, app.printer_status);
DROP FUNCTION app.queue_color_distance(text, text);
DROP FUNCTION app.queue_model(text);
DROP FUNCTION app.queue_material(text);
DROP FUNCTION app.queue_reason(text, text, int, jsonb, jsonb);

COMMIT;
