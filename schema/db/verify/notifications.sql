-- Verify soloprint:notifications on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT 1 FROM app.notification_rule_rows WHERE false;
SELECT 1 FROM app.notification_message_rows WHERE false;
SELECT 1 FROM app.notifications WHERE false;
SELECT 1 FROM app.notification_messages WHERE false;
SELECT 1 FROM app.notification_rules WHERE false;
SELECT 'sec.guard_rule_delete()'::regprocedure,
	'sec.limit_rules()'::regprocedure,
	'sec.index_messages()'::regprocedure,
	'sec.forget_rule()'::regprocedure,
	'app.merged_over(jsonb, jsonb, jsonb)'::regprocedure,
	'app.notification_rule_next(uuid, jsonb, text)'::regprocedure,
	'app.is_timezone(text)'::regprocedure,
	'app.notification_rule_faults(uuid, jsonb, text)'::regprocedure,
	'app.quiet_until(jsonb, timestamptz)'::regprocedure,
	'app.digest_due(jsonb, timestamptz)'::regprocedure,
	'app.rule_due(app.notification_rules, timestamptz, boolean)'::regprocedure,
	'app.severity_rank(text)'::regprocedure,
	'sec.notify_principals(app.notification_rules, bigint[])'::regprocedure,
	'sec.notify_by_message(app.notification_rules, bigint[], boolean)'::regprocedure,
	'sec.notify(uuid, bigint, bigint)'::regprocedure,
	'sec.notification_test(uuid, uuid)'::regprocedure;

ROLLBACK;
