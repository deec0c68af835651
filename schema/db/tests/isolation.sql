-- One organisation's credential sees and touches nothing of another's, table by table.
BEGIN;
\ir world.psql
SELECT no_plan();

CREATE TEMP VIEW readable AS SELECT c.oid::regclass::text AS t FROM pg_class AS c
	WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname NOT IN ('provider_models', 'event_types')
	AND has_any_column_privilege('soloprint_api', c.oid, 'SELECT');
-- Rows of an organisation, counted by the superuser, whom row level security does not bind.
CREATE FUNCTION pg_temp.total(t text, slug text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	n int;
BEGIN
	EXECUTE format('SELECT count(*) FROM %s WHERE org_id = (SELECT org_id FROM sec.org_index WHERE slug = %L)', t, slug) INTO n;
	RETURN n;
END
$$;

-- Events are published, and each webhook has had an attempt.
SELECT pg_temp.as_role('soloprint_courier', NULL, format('SELECT published FROM sec.publish(%L, ''1 min'', 1000)', pg_temp.id('a_key')));
SELECT pg_temp.as_role('soloprint_courier', NULL, format('SELECT sec.deliveries_finish(%L, jsonb_agg(jsonb_build_object(''id'', d.id,
	''fencing'', d.fencing, ''status'', 200))) FROM sec.deliveries_claim(%L, ''1 min'', 100) AS d', pg_temp.id('a_key'), pg_temp.id('a_key')));

SELECT cmp_ok((SELECT count(*) FROM readable)::int, '>=', 9, 'the API reads tables');
SELECT cmp_ok(pg_temp.total(t, 'b'), '>', 0, 'the other organisation has rows in ' || t) FROM readable;
SELECT is((pg_temp.as_api('a-all', 'SELECT count(org_id) AS n FROM ' || t) -> 0 ->> 'n')::int, pg_temp.total(t, 'a'),
	'sees its own rows alone: ' || t) FROM readable;
SELECT is((pg_temp.as_role(r, NULL, 'SELECT count(org_id) AS n FROM ' || t) -> 0 ->> 'n')::int, 0, r || ' without a key sees nothing: ' || t)
	FROM readable, unnest('{soloprint_api,soloprint_owner}'::name[]) AS r;
SELECT is((pg_temp.as_role('soloprint_gateway', NULL, 'SELECT count(org_id) AS n FROM app.printers') -> 0 ->> 'n')::int, 0,
	'the gateway sees nothing without an organisation');

-- Writing: what is named is not there, and what is made cannot be theirs.
CREATE FUNCTION pg_temp.org(slug text) RETURNS uuid LANGUAGE sql AS $$ SELECT org_id FROM sec.org_index AS i WHERE i.slug = org.slug $$;
SELECT is(pg_temp.as_api('a-all', format('UPDATE app.printers SET name = ''taken'' WHERE id = %L RETURNING id', pg_temp.id('b_printer'))),
	'[]', 'updates none of their printers');
SELECT is(pg_temp.as_api('a-all', format('DELETE FROM app.printer_groups WHERE id = %L RETURNING id', pg_temp.id('b_group'))),
	'[]', 'deletes none of their groups');
SELECT is(pg_temp.as_api('a-all', format('UPDATE app.api_keys SET revoked_at = app.now() WHERE id = %L RETURNING id', pg_temp.id('b_key'))),
	'[]', 'revokes none of their keys');
SELECT throws_ok(format('SELECT pg_temp.as_api(''a-all'', %L)', s.sql), s.state, NULL, s.what) FROM (VALUES
	('42501', 'makes no printer for them', format('INSERT INTO app.printers (org_id, name, protocol) VALUES (%L, ''x'', ''bambu'') RETURNING id', pg_temp.org('b'))),
	('42501', 'makes no group for them', format('INSERT INTO app.printer_groups (org_id, name) VALUES (%L, ''x'') RETURNING id', pg_temp.org('b'))),
	('23503', 'puts their printer into no group', format('INSERT INTO app.printer_group_members (group_id, printer_id) VALUES (%L, %L) RETURNING group_id', pg_temp.id('a_group'), pg_temp.id('b_printer'))),
	('23503', 'puts no printer into their group', format('INSERT INTO app.printer_group_members (group_id, printer_id) VALUES (%L, %L) RETURNING group_id', pg_temp.id('b_group'), pg_temp.id('a_printer'))),
	('23503', 'puts their model into no collection', format('INSERT INTO app.collection_models (collection_id, model_id) VALUES (%L, %L) RETURNING model_id', pg_temp.id('a_collection'), pg_temp.id('b_model'))),
	('23503', 'puts no model into their collection', format('INSERT INTO app.collection_models (collection_id, model_id) VALUES (%L, %L) RETURNING model_id', pg_temp.id('b_collection'), pg_temp.id('a_model'))),
	('42501', 'makes no profile for them', format('INSERT INTO app.profiles (org_id, kind, name) VALUES (%L, ''filament'', ''x'') RETURNING id', pg_temp.org('b'))),
	('42501', 'makes no model for them', format('INSERT INTO app.models (org_id, name) VALUES (%L, ''x'') RETURNING id', pg_temp.org('b'))),
	('42501', 'writes no search text', 'UPDATE app.models SET file_names = ''x'' RETURNING id'),
	('42501', 'makes no member for them', format('INSERT INTO app.printer_group_members (org_id, group_id, printer_id) VALUES (%L, %L, %L) RETURNING group_id', pg_temp.org('b'), pg_temp.id('b_group'), pg_temp.id('b_printer'))),
	('42501', 'cannot move a printer to them', format('UPDATE app.printers SET org_id = %L RETURNING id', pg_temp.org('b'))),
	('42501', 'cannot read sealed secrets', 'SELECT secret_sealed FROM app.printers'),
	('42501', 'cannot read sealed secrets of webhooks', 'SELECT secret_sealed FROM app.webhook_secrets'),
	('42501', 'cannot read sealed headers', 'SELECT headers_sealed FROM app.webhooks'),
	('42501', 'cannot read sealed addresses', 'SELECT target_sealed FROM app.notification_rules'),
	('SLP24', 'makes no webhook for them', format('INSERT INTO app.webhooks (org_id, name, endpoint_url, subscriptions) VALUES (%L, ''x'', ''x'', ''{*}'') RETURNING id', pg_temp.org('b'))),
	('SLP24', 'makes no rule for them', format('INSERT INTO app.notification_rules (org_id, name, events, channel, emails) VALUES (%L, ''x'', ''{*}'', ''email'', ''{x}'') RETURNING id', pg_temp.org('b'))),
	('23503', 'gives their webhook no secret', format('INSERT INTO app.webhook_secrets (webhook_id, id, secret_sealed) VALUES (%L, app.uuid7(), ''x'') RETURNING NULL', pg_temp.id('b_webhook'))),
	('42501', 'cannot choose a webhook''s rights', 'UPDATE app.webhooks SET capabilities = ''{}'' RETURNING id'),
	('42501', 'cannot write deliveries', 'UPDATE app.webhook_deliveries SET attempts = 0 RETURNING id'),
	('42501', 'cannot publish', format('SELECT sec.publish(%L, ''1 min'', 1)', app.uuid7())),
	('42501', 'cannot read hashes of keys', 'SELECT key_hash FROM app.api_keys'),
	('42501', 'cannot read the routing indexes', 'SELECT * FROM sec.key_index'),
	('42501', 'cannot make an organisation', 'SELECT * FROM sec.create_org(''x'', ''x'')'),
	('42501', 'cannot enter an organisation by its slug', 'SELECT sec.enter_org(''b'')'),
	('42501', 'cannot write events', 'INSERT INTO app.outbox (type, capability, data, resource_type, resource_id) VALUES (''a.b'', ''x'', ''{}'', ''x'', app.uuid7()) RETURNING id'),
	('42501', 'cannot write the audit log', 'INSERT INTO app.audit_log (action, target_type, target_id, changes) VALUES (''a'', ''b'', app.uuid7(), ''{}'') RETURNING id'),
	('42501', 'cannot set a version', 'UPDATE app.printers SET version = 9 RETURNING id'),
	('42501', 'cannot choose a key''s owner', 'UPDATE app.api_keys SET owner_id = principal_id RETURNING id'),
	('42501', 'cannot write a status', 'UPDATE app.printer_status SET state = ''idle'' RETURNING printer_id'),
	('42501', 'cannot read what is not granted', 'TABLE app.audit_log')
	) AS s (state, what, sql);

-- A key limited to some printers: the others are not there, in any table.
SELECT pg_temp.keep('second', pg_temp.as_api('a-all', 'INSERT INTO app.printers (name, protocol) VALUES (''Second'', ''moonraker'') RETURNING id'));
SELECT pg_temp.as_api('a-all', format('INSERT INTO app.printer_group_members (group_id, printer_id) VALUES (%L, %L) RETURNING group_id',
	pg_temp.id('a_group'), pg_temp.id('second')));
SELECT pg_temp.add_key('a', 'a-second', '{operations.read,printer.manage}', ARRAY[pg_temp.id('second')]);
SELECT pg_temp.add_key('a', 'a-none', '{operations.read}', '{}');
SELECT is(pg_temp.as_api('a-second', 'SELECT id FROM app.printers'), jsonb_build_array(jsonb_build_object('id', pg_temp.id('second'))), 'sees its printer');
SELECT is(pg_temp.as_api('a-second', 'SELECT printer_id AS id FROM app.printer_status'), jsonb_build_array(jsonb_build_object('id', pg_temp.id('second'))), 'sees its status');
SELECT is(pg_temp.as_api('a-second', 'SELECT printer_id AS id FROM app.printer_group_members'), jsonb_build_array(jsonb_build_object('id', pg_temp.id('second'))), 'sees its membership');
SELECT is(pg_temp.as_api('a-none', 'SELECT id FROM app.printers'), '[]', 'the empty list is no printer, not all');
SELECT is(pg_temp.as_api('a-second', format('UPDATE app.printers SET name = ''x'' WHERE id = %L RETURNING id', pg_temp.id('a_printer'))), '[]', 'changes no other');
SELECT throws_ok($$ SELECT pg_temp.as_api('a-second', 'INSERT INTO app.printers (name, protocol) VALUES (''x'', ''bambu'') RETURNING id') $$,
	'SLP04', NULL, 'makes no printer');
SELECT throws_ok(format('SELECT pg_temp.as_api(''a-second'', %L)', format('SELECT sec.request_refresh(%L)', pg_temp.id('a_printer'))), 'SLP10', NULL, 'refreshes no other');

-- The other organisation's rows are as they were.
SELECT is((SELECT name FROM app.printers WHERE id = pg_temp.id('b_printer')), 'Printer of b', 'their printer is untouched');
SELECT is((SELECT revoked_at FROM app.api_keys WHERE id = pg_temp.id('b_key')), NULL, 'their key is untouched');
SELECT * FROM finish();
ROLLBACK;
