-- Printers: what their triggers keep right.
BEGIN;
\ir world.psql
SELECT no_plan();

CREATE FUNCTION pg_temp.api(sql text) RETURNS jsonb LANGUAGE sql AS $$ SELECT pg_temp.as_api('a-all', sql) $$;
CREATE FUNCTION pg_temp.patch(change text) RETURNS int LANGUAGE sql AS $$
	SELECT (pg_temp.api(format('UPDATE app.printers SET %s WHERE id = %L RETURNING version', change, pg_temp.id('a_printer'))) -> 0 ->> 'version')::int $$;
CREATE FUNCTION pg_temp.version() RETURNS int LANGUAGE sql AS $$ SELECT version FROM app.printers WHERE id = pg_temp.id('a_printer') $$;
CREATE FUNCTION pg_temp.indexed(printer uuid) RETURNS jsonb LANGUAGE sql AS $$
	SELECT to_jsonb(i) - '{refresh_requested_at,gateway_id,fencing,expires_at,printer_id,org_id}'::text[] FROM sec.printer_index AS i WHERE i.printer_id = printer $$;

SELECT is((SELECT has_secret FROM app.printers WHERE id = pg_temp.id('a_printer')), true, 'has_secret follows the secret');
SELECT is((SELECT features ->> 'camera' FROM app.printers WHERE id = pg_temp.id('a_printer')), 'rtsp', 'features of the model');
SELECT is((SELECT connection ->> 'reason' || ' ' || state FROM app.printer_status WHERE printer_id = pg_temp.id('a_printer')), 'no_gateway offline', 'a status row from the start');
SELECT is((SELECT substring(id::text FROM 15 FOR 1) FROM app.printers WHERE id = pg_temp.id('a_printer')), '7', 'its id is a UUID of version 7');

-- Versions and the gateways' index.
SELECT pg_temp.version() AS v \gset
SELECT is(pg_temp.patch('location = ''Lab'''), :v + 1, 'a change is a new version');
SELECT is(pg_temp.patch('location = ''Lab'''), :v + 1, 'the same again is none');
SELECT is(pg_temp.indexed(pg_temp.id('a_printer')), jsonb_build_object('protocol', 'bambu', 'enabled', true, 'config_version', :v + 1), 'the index follows');
SELECT is(pg_temp.patch('model = ''A1'''), :v + 2, 'another model');
SELECT is((SELECT features ->> 'camera' FROM app.printers WHERE id = pg_temp.id('a_printer')), 'jpeg', 'has other features');
SELECT is(pg_temp.patch('model = ''Unknown'''), :v + 3, 'an unknown model');
SELECT is((SELECT features FROM app.printers WHERE id = pg_temp.id('a_printer')), app.printer_capabilities('bambu', NULL), 'has its protocol''s features');
SELECT is(pg_temp.patch('enabled = false'), :v + 4, 'switched off');
SELECT is(pg_temp.indexed(pg_temp.id('a_printer')) -> 'enabled', 'false', 'also for the gateways');

-- Groups are part of a printer's configuration.
SELECT pg_temp.keep('g2', pg_temp.api('INSERT INTO app.printer_groups (name) VALUES (''Annex'') RETURNING id'));
SELECT pg_temp.api(format('INSERT INTO app.printer_group_members (group_id, printer_id) VALUES (%L, %L) RETURNING group_id', pg_temp.id('g2'), pg_temp.id('a_printer')));
SELECT is(pg_temp.version(), :v + 5, 'joining a group is a new version');
SELECT is((SELECT jsonb_path_query_array(groups, '$[*].name') FROM app.printers WHERE id = pg_temp.id('a_printer')), '["Annex", "Lab"]', 'its groups, by name');
SELECT pg_temp.api(format('UPDATE app.printer_groups SET name = ''Zoo'' WHERE id = %L RETURNING id', pg_temp.id('g2')));
SELECT is((SELECT jsonb_path_query_array(groups, '$[*].name') FROM app.printers WHERE id = pg_temp.id('a_printer')), '["Lab", "Zoo"]', 'a group''s new name is shown');
SELECT is(pg_temp.version(), :v + 6, 'and moves its printers'' versions');
SELECT pg_temp.add_key('a', 'blind', '{operations.read,printer.manage}', '{}');
SELECT pg_temp.as_api('blind', format('DELETE FROM app.printer_groups WHERE id = %L RETURNING id', pg_temp.id('g2')));
SELECT is((SELECT jsonb_path_query_array(groups, '$[*].name') FROM app.printers WHERE id = pg_temp.id('a_printer')), '["Lab"]', 'a deleted group is left, also by printers that the key cannot see');
SELECT is(pg_temp.version(), :v + 7, 'which is a new version');

-- Unique names and serial numbers.
SELECT throws_ok($$ SELECT pg_temp.api('INSERT INTO app.printers (name, protocol, serial) VALUES (''x'', ''bambu'', ''SERIAL'') RETURNING id') $$,
	'23505', 'duplicate key value violates unique constraint "printers_serial_key"', 'a serial number is there once');
SELECT throws_ok($$ SELECT pg_temp.api('INSERT INTO app.printer_groups (name) VALUES (''LAB'') RETURNING id') $$,
	'23505', 'duplicate key value violates unique constraint "printer_groups_name_key"', 'a group''s name is there once, in any case');

-- Refreshing.
SELECT throws_ok(format('SELECT pg_temp.api(%L)', format('SELECT sec.request_refresh(%L)', pg_temp.id('a_printer'))), 'SLP20', NULL, 'not connected');
SELECT pg_temp.as_role('soloprint_gateway', NULL, format('SELECT set_config(''app.org_id'', org_id::text, true) FROM sec.printer_index WHERE printer_id = %L', pg_temp.id('a_printer')));
UPDATE app.printer_status SET connection = '{"state": "connected"}' WHERE printer_id = pg_temp.id('a_printer');
SELECT lives_ok(format('SELECT pg_temp.api(%L)', format('SELECT sec.request_refresh(%L)', pg_temp.id('a_printer'))), 'connected');
SELECT isnt((SELECT refresh_requested_at FROM sec.printer_index WHERE printer_id = pg_temp.id('a_printer')), NULL, 'the gateway is asked');
SELECT throws_ok(format('SELECT pg_temp.api(%L)', format('SELECT sec.request_refresh(%L)', p)), 'SLP10', NULL, 'no such printer')
	FROM unnest(ARRAY[pg_temp.id('b_printer'), app.uuid7()]) AS p;

-- Deleting.
SELECT is(pg_temp.patch('deleted_at = app.now()'), :v + 8, 'deleted');
SELECT is((SELECT secret_sealed FROM app.printers WHERE id = pg_temp.id('a_printer')), NULL, 'its secret is gone');
SELECT is(pg_temp.indexed(pg_temp.id('a_printer')), NULL, 'the gateways let go of it');
SELECT is_empty(format('SELECT FROM app.printer_group_members WHERE printer_id = %L', pg_temp.id('a_printer')), 'it has left its groups');
SELECT is(pg_temp.n(pg_temp.api('INSERT INTO app.printers (name, protocol, serial) VALUES (''x'', ''bambu'', ''SERIAL'') RETURNING id')), 1, 'its serial number is free');
SELECT is(pg_temp.indexed(pg_temp.id('b_printer')) -> 'enabled', 'true', 'the other organisation''s printer is served on');

SELECT is((SELECT count(*)::int FROM app.provider_models WHERE model = ''), 4, 'every protocol has features');
SELECT is((SELECT array_agg(model ORDER BY model) FROM app.provider_models WHERE protocol = 'bambu' AND model <> ''),
	'{A1,"A1 mini",A2L,H2C,H2D,H2S,P1P,P1S,P2S,X1,X1C,X1E,X2D}', 'the Bambu models');
SELECT * FROM finish();
ROLLBACK;
