-- The printers' history: written in bulk by gateways, read by organisation and printer, unalterable, dropped by the month.
BEGIN;
\ir world.psql
SELECT no_plan();

-- What is read through the parent.
SELECT pg_temp.keep('second', pg_temp.as_api('a-all', 'INSERT INTO app.printers (name, protocol) VALUES (''Second'', ''moonraker'') RETURNING id'));
INSERT INTO sec.printer_history (org_id, printer_id, at, id, kind, detail)
	SELECT i.org_id, i.printer_id, now(), app.uuid7(), 'error', '{"code": "0300_0100", "active": true}' FROM sec.printer_index AS i
	WHERE i.printer_id = pg_temp.id('second');
SELECT pg_temp.add_key('a', 'a-second', '{operations.read}', ARRAY[pg_temp.id('second')]);
SELECT pg_temp.add_key('a', 'a-none', '{operations.read}', '{}');
SELECT is(pg_temp.as_api('a-all', 'SELECT h.printer_id AS id FROM app.printer_history AS h ORDER BY h.kind DESC'),
	jsonb_build_array(jsonb_build_object('id', pg_temp.id('a_printer')), jsonb_build_object('id', pg_temp.id('second'))),
	'an organisation reads its own printers'' history');
SELECT is(pg_temp.as_api('b-all', format('SELECT h.kind FROM app.printer_history AS h WHERE h.printer_id = %L', pg_temp.id('a_printer'))), '[]',
	'and no other''s');
SELECT is(pg_temp.as_api('a-second', 'SELECT h.kind FROM app.printer_history AS h'), '[{"kind": "error"}]', 'a key of one printer reads that one''s');
SELECT is(pg_temp.as_api('a-none', 'SELECT h.kind FROM app.printer_history AS h'), '[]', 'a key of no printer reads nothing');

-- Who can get past the parent.
SELECT throws_ok(format('SELECT pg_temp.as_role(%L, %L, %L)', r, k, sql), '42501', NULL, r || ': ' || sql)
	FROM (VALUES ('soloprint_api', 'a-all'), ('soloprint_courier', NULL), ('soloprint_gateway', NULL)) AS w (r, k),
	unnest(ARRAY['SELECT id FROM sec.printer_history', to_char(now(), '"SELECT id FROM sec.printer_history_"YYYY_MM'),
		'UPDATE sec.printer_history SET kind = ''state'' RETURNING 1 AS one', 'DELETE FROM sec.printer_history RETURNING 1 AS one']) AS sql;
SELECT throws_ok($$ SELECT pg_temp.as_api('a-all', 'INSERT INTO app.printer_history (org_id, printer_id, at, id, kind, detail)
	SELECT app.org(), app.uuid7(), now(), app.uuid7(), ''state'', ''{}''::jsonb RETURNING 1 AS one') $$, '42501', NULL, 'the API writes none');
SELECT throws_ok($$ SELECT pg_temp.as_role('soloprint_gateway', NULL, 'SELECT id FROM app.printer_history') $$, '42501', NULL, 'gateways read none');
SELECT is_empty($$ SELECT p.relid FROM pg_partition_tree('app.printer_history') AS p JOIN pg_class AS c ON c.oid = p.relid,
	unnest('{soloprint_api,soloprint_auth,soloprint_courier}'::text[]) AS r
	WHERE p.level > 0 AND has_any_column_privilege(r, p.relid, 'SELECT, INSERT, UPDATE') $$, 'only gateways have any right to the partitions');

-- COPY, as gateways do it.
SET LOCAL ROLE soloprint_gateway;
COPY sec.printer_history (org_id, printer_id, at, id, kind, detail) FROM STDIN;
01890000-0000-7000-8000-000000000001	01890000-0000-7000-8000-000000000002	now	01890000-0000-7000-8000-000000000003	connection	{"state": "connected", "reason": null}
\.
RESET ROLE;
SELECT is((SELECT count(*)::int FROM app.printer_history WHERE id = '01890000-0000-7000-8000-000000000003'), 1, 'gateways COPY');
SAVEPOINT again;
SET LOCAL ROLE soloprint_gateway;
\set ON_ERROR_STOP off
COPY sec.printer_history (org_id, printer_id, at, id, kind, detail) FROM STDIN;
01890000-0000-7000-8000-000000000001	01890000-0000-7000-8000-000000000002	now	01890000-0000-7000-8000-000000000004	connection	{"state": "connected", "reason": null}
01890000-0000-7000-8000-000000000001	01890000-0000-7000-8000-000000000002	now	01890000-0000-7000-8000-000000000003	connection	{"state": "connected", "reason": null}
\.
\set ON_ERROR_STOP on
ROLLBACK TO again;
SELECT throws_ok('INSERT INTO sec.printer_history SELECT * FROM app.printer_history AS h WHERE h.id = ''01890000-0000-7000-8000-000000000003''',
	'23505', NULL, 'the same batch again meets its own rows');
SELECT is((SELECT count(*)::int FROM app.printer_history WHERE id::text LIKE '01890000-%'), 1, 'and adds none');
SELECT throws_ok($$ INSERT INTO sec.printer_history VALUES (app.uuid7(), app.uuid7(), now(), app.uuid7(), 'gossip', '{}') $$, '23514', NULL, 'unknown kinds are refused');
SELECT throws_ok($$ INSERT INTO sec.printer_history VALUES (app.uuid7(), app.uuid7(), '1970-01-01', app.uuid7(), 'state', '{}') $$, '23514', NULL, 'times without a month are refused');

-- Nobody alters it.
SELECT throws_ok(sql, 'SLP90', NULL, sql) FROM unnest('{"UPDATE app.printer_history SET kind = ''state''","DELETE FROM app.printer_history",
	"TRUNCATE app.printer_history","DELETE FROM sec.printer_history","TRUNCATE sec.printer_history"}'::text[]) AS sql;

-- Months.
CREATE FUNCTION pg_temp.months() RETURNS text[] LANGUAGE sql AS $$
	SELECT array_agg(right(c.relname, 7) ORDER BY c.relname) FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'sec.printer_history'::regclass $$;
CREATE FUNCTION pg_temp.wanted(a int, b int) RETURNS text[] LANGUAGE sql AS $$
	SELECT array_agg(to_char(date_trunc('month', app.now()) + make_interval(months => n), 'YYYY_MM') ORDER BY n) FROM generate_series(a, b) AS n $$;
CREATE FUNCTION pg_temp.tick() RETURNS text LANGUAGE sql AS $$
	SELECT pg_temp.as_role('soloprint_courier', NULL, 'SELECT * FROM sec.printer_history_months(''90 days'')') ->> 0 $$;
SELECT is(pg_temp.months(), pg_temp.wanted(-1, 3), 'from the start: the last month to the third from now');
SELECT is(pg_temp.tick(), '{"made": 0, "dropped": 0}', 'nothing to do');
SET LOCAL app.clock_offset = '2 months';
SELECT is(pg_temp.tick(), '{"made": 2, "dropped": 0}', 'two months later: two more');
SELECT cmp_ok((SELECT count(*)::int FROM app.printer_history), '>', 0, 'what is younger than 90 days is there');
SET LOCAL app.clock_offset = '125 days';
SELECT ok((pg_temp.tick()::jsonb ->> 'dropped')::int >= 2, 'later still: months that ended 90 days ago go');
SELECT is((SELECT count(*)::int FROM app.printer_history), 0, 'and their rows with them');
SELECT ok(pg_temp.months() @> pg_temp.wanted(-1, 3), 'the coming months are there');
SELECT throws_ok($$ SELECT pg_temp.as_api('a-all', 'SELECT sec.printer_history_months(''0'')') $$, '42501', NULL, 'the API drops none');
SELECT * FROM finish();
ROLLBACK;
