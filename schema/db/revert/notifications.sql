-- Revert soloprint:notifications from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP VIEW app.notification_rule_rows;
DROP VIEW app.notification_message_rows;
DROP FUNCTION sec.notify_by_message(app.notification_rules, bigint[], boolean);
DROP FUNCTION sec.notify_principals(app.notification_rules, bigint[]);
DROP FUNCTION app.rule_due(app.notification_rules, timestamptz, boolean);
DROP TABLE app.notifications;
DROP TABLE app.notification_messages;
DROP TABLE app.notification_rules;
DROP FUNCTION sec.notification_test(uuid, uuid);
DROP FUNCTION sec.notify(uuid, bigint, bigint);
DROP FUNCTION app.severity_rank(text);
DROP FUNCTION app.digest_due(jsonb, timestamptz);
DROP FUNCTION app.quiet_until(jsonb, timestamptz);
DROP FUNCTION app.notification_rule_faults(uuid, jsonb, text);
DROP FUNCTION app.is_timezone(text);
DROP FUNCTION app.notification_rule_next(uuid, jsonb, text);
DROP FUNCTION app.merged_over(jsonb, jsonb, jsonb);
DROP FUNCTION sec.forget_rule();
DROP FUNCTION sec.index_messages();
DROP FUNCTION sec.limit_rules();
DROP FUNCTION sec.guard_rule_delete();

COMMIT;
