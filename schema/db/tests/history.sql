-- The audit log and the events: complete, truthful, without secrets, unalterable.
BEGIN;
\ir world.psql
SELECT no_plan();

CREATE FUNCTION pg_temp.last_audit() RETURNS jsonb LANGUAGE sql AS $$
	SELECT to_jsonb(a) - '{org_id,id,at}'::text[] FROM app.audit_log AS a ORDER BY a.id DESC, a.ctid DESC LIMIT 1 $$;
CREATE FUNCTION pg_temp.last_event() RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('type', o.type, 'capability', o.capability, 'data', o.data) FROM app.outbox AS o ORDER BY o.sequence DESC LIMIT 1 $$;

-- Actions on the world's rows, in order.
SELECT set_eq($$ SELECT DISTINCT action FROM app.audit_log $$, $$ VALUES ('organization.created'), ('principal.created'),
	('api_key.created'), ('printer.created'), ('printer_group.created'), ('model.created'), ('profile.created'), ('collection.created'), ('collection.updated'),
	('file.created'), ('file.updated'), ('queue_item.created'), ('queue_settings.created'), ('webhook.created'), ('notification_rule.created') $$, 'making the world is recorded');
SELECT is((SELECT count(*)::int FROM app.outbox WHERE type = 'printer.created'), 2, 'printers'' events');
SELECT is((SELECT count(*)::int FROM app.outbox WHERE type LIKE 'organization.%' OR type LIKE 'principal.%'), 0, 'organisations make no events');

SELECT pg_temp.as_api('a-all', format('UPDATE app.printers SET location = ''Lab 2'', secret_sealed = ''another-canary'' WHERE id = %L RETURNING id', pg_temp.id('a_printer')));
SELECT is(pg_temp.last_audit(), jsonb_build_object('principal_id', (SELECT principal_id FROM app.api_keys WHERE id = pg_temp.id('a_key')),
	'key_id', pg_temp.id('a_key'), 'action', 'printer.updated', 'target_type', 'printer', 'target_id', pg_temp.id('a_printer'),
	'changes', '{"secret": "changed", "location": {"from": null, "to": "Lab 2"}}'::jsonb, 'request_id', 'req-1', 'remote_addr', '192.0.2.1'),
	'who changed what, in which request, from where');
SELECT is(pg_temp.last_event(), jsonb_build_object('type', 'printer.updated', 'capability', 'operations.read', 'data',
	jsonb_build_object('printer_id', pg_temp.id('a_printer'), 'name', 'Printer of a', 'changed', '["location", "secret"]'::jsonb)), 'its event');

SELECT count(*) AS n FROM app.audit_log \gset
SELECT pg_temp.as_api('a-all', format('UPDATE app.printers SET location = ''Lab 2'' WHERE id = %L RETURNING id', pg_temp.id('a_printer')));
SELECT pg_temp.as_api('a-all', format('SELECT app.key_used(app.org(), %L, ''x'', 1, NULL)', pg_temp.id('a_key')));
SELECT is((SELECT count(*)::int FROM app.audit_log), :n, 'what changes nothing, and use, are not recorded');

CREATE FUNCTION pg_temp.did(sql text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.as_api('a-all', sql);
	RETURN concat_ws(' ', pg_temp.last_audit() ->> 'action', (SELECT string_agg(k, ',' ORDER BY k) FROM jsonb_object_keys(pg_temp.last_audit() -> 'changes') AS k), pg_temp.last_event() ->> 'type');
END
$$;
SELECT is(pg_temp.did(format('UPDATE app.printer_groups SET description = ''d'' WHERE id = %L RETURNING id', pg_temp.id('a_group'))), 'printer_group.updated description printer_group.updated', 'a group changes');
SELECT is(pg_temp.did(format('DELETE FROM app.printer_groups WHERE id = %L RETURNING id', pg_temp.id('a_group'))) ~ 'printer_group.deleted', true, 'a group goes');
SELECT is(pg_temp.did(format('UPDATE app.printers SET deleted_at = now() WHERE id = %L RETURNING id', pg_temp.id('a_printer'))), 'printer.deleted deleted_at,enabled,secret printer.deleted', 'a printer goes');
SELECT pg_temp.keep('k', pg_temp.as_api('a-all', 'INSERT INTO app.api_keys (name, prefix, key_hash) VALUES (''n'', ''p'', sha256(''n'')) RETURNING id'));
SELECT is(pg_temp.last_event() -> 'capability', '"integrations.manage"', 'events of keys are for who manages keys');
SELECT is(pg_temp.did(format('UPDATE app.api_keys SET name = ''m'' WHERE id = %L RETURNING id', pg_temp.id('k'))), 'api_key.updated name api_key.created', 'a key''s change is recorded, without an event');
SELECT is(pg_temp.did(format('INSERT INTO app.api_keys (name, prefix, key_hash, rotated_from) VALUES (''m'', ''p'', sha256(''m''), %L) RETURNING id', pg_temp.id('k'))) ~ '^api_key.rotated .* api_key.rotated$', true, 'a key''s successor');
SELECT is(pg_temp.did(format('UPDATE app.api_keys SET revoked_at = now() WHERE id = %L RETURNING id', pg_temp.id('k'))), 'api_key.revoked revoked_at api_key.revoked', 'a key''s end');

SELECT is_empty($$ SELECT id FROM app.audit_log WHERE changes::text ~ 'canary|key_hash|secret_sealed' $$, 'no secret in the audit log');
SELECT is_empty($$ SELECT id FROM app.outbox WHERE data::text ~ 'canary|key_hash|secret_sealed' $$, 'no secret in the events');
SELECT is_empty($$ SELECT l.id FROM app.audit_log AS l, app.api_keys AS k WHERE changes::text LIKE '%' || encode(k.key_hash, 'hex') || '%' $$, 'no hash of a key in the audit log');

-- Nobody alters them.
SELECT throws_ok(sql, 'SLP90', NULL, sql) FROM unnest('{"UPDATE app.outbox SET type = ''a.b''","TRUNCATE app.outbox",
	"UPDATE app.audit_log SET action = ''x''","DELETE FROM app.audit_log","TRUNCATE app.audit_log"}'::text[]) AS sql;
SELECT throws_ok(format('SELECT pg_temp.as_role(%L, NULL, %L)', r, sql), '42501', NULL, r || ': ' || sql)
	FROM unnest('{soloprint_api,soloprint_auth,soloprint_gateway,soloprint_courier}'::text[]) AS r,
	unnest('{"UPDATE app.outbox SET type = ''a.b'' RETURNING id","DELETE FROM app.outbox RETURNING id","DELETE FROM app.audit_log RETURNING id"}'::text[]) AS sql;

SELECT ok(bool_and(later), 'sequence grows with time') FROM (SELECT sequence > lag(sequence, 1, 0::bigint) OVER (ORDER BY created_at, sequence) AS later FROM app.outbox) AS o;
SELECT * FROM finish();
ROLLBACK;
