-- A key gives no more than it has, and touches no key that has more.
BEGIN;
\ir world.psql
SELECT no_plan();

-- Three acting keys: one with two capabilities, one limited to a printer, one limited to networks and rates.
SELECT pg_temp.add_key('a', 'minter', '{operations.read,integrations.manage}') AS minter \gset
SELECT pg_temp.add_key('a', 'one-printer', '{operations.read,integrations.manage}', ARRAY[pg_temp.id('a_printer')]);
SELECT pg_temp.add_key('a', 'narrow', '{operations.read,integrations.manage}', NULL, '{192.0.2.0/24}', '{"read": 50, "burst": 5}');
SELECT pg_temp.add_key('a', 'reader', '{operations.read}') AS reader \gset

CREATE FUNCTION pg_temp.mint(actor text, columns text, vals text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.as_api(actor, format('INSERT INTO app.api_keys (name, prefix, key_hash%s) VALUES (''new'', ''slp_live_aaaaa'', sha256(%L)%s)
		RETURNING id, owner_id, principal_id, created_by, version', columns, random()::text, vals)) $$;
CREATE FUNCTION pg_temp.patch(actor text, key uuid, change text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.as_api(actor, format('UPDATE app.api_keys SET %s WHERE id = %L RETURNING version', change, key)) $$;

SELECT lives_ok(format('SELECT pg_temp.mint(%L, %L, %L)', m.actor, m.columns, m.vals), m.what) FROM (VALUES
	('minter', ', capabilities', ', ''{}''', 'no capability'),
	('minter', ', capabilities', ', ''{operations.read}''', 'a capability it has'),
	('minter', ', capabilities, printer_ids', ', ''{operations.read}'', ''{}''', 'fewer printers'),
	('one-printer', ', capabilities, printer_ids', format(', ''{operations.read}'', ''{%s}''', pg_temp.id('a_printer')), 'its printer'),
	('narrow', ', cidrs, rate_limits', ', ''{192.0.2.128/25}'', ''{"read": 50, "burst": 5}''', 'a narrower network, the same rates'))
	AS m (actor, columns, vals, what);
SELECT throws_ok(format('SELECT pg_temp.mint(%L, %L, %L)', m.actor, m.columns, m.vals), 'SLP24', NULL, 'SLP24: ' || m.what) FROM (VALUES
	('minter', ', capabilities', ', ''{printer.manage}''', 'a capability it lacks'),
	('minter', ', capabilities', ', ''{operations.read,org.manage_users}''', 'one more capability'),
	('one-printer', ', capabilities', ', ''{operations.read}''', 'all printers'),
	('one-printer', ', capabilities, printer_ids', format(', ''{}'', ''{%s,%s}''', pg_temp.id('a_printer'), pg_temp.id('b_printer')), 'another printer'),
	('narrow', ', rate_limits', ', ''{"read": 50, "burst": 5}''', 'all networks'),
	('narrow', ', cidrs, rate_limits', ', ''{192.0.2.0/23}'', ''{"read": 50, "burst": 5}''', 'a wider network'),
	('narrow', ', cidrs, rate_limits', ', ''{192.0.2.0/24}'', ''{"read": 51, "burst": 5}''', 'a higher rate'),
	('narrow', ', cidrs', ', ''{192.0.2.0/24}''', 'the default rate, which is higher')) AS m (actor, columns, vals, what);
SELECT throws_ok($$ SELECT pg_temp.add_key('a', 'x', '{everything}') $$, '23514', NULL, 'there is no such capability');

-- What a new key is.
SELECT is(pg_temp.mint('minter', '', '') -> 0 ->> 'owner_id', (SELECT owner_id::text FROM app.api_keys WHERE id = :'minter'), 'belongs to its creator''s owner');
SELECT is(pg_temp.mint('minter', '', '') -> 0 ->> 'created_by', (SELECT principal_id::text FROM app.api_keys WHERE id = :'minter'), 'remembers its creator');
SELECT pg_temp.keep('device', pg_temp.mint('minter', ', kind', ', ''dev'''));
SELECT is((SELECT p.kind || ' ' || p.display_name FROM app.principals AS p JOIN app.api_keys AS k ON k.principal_id = p.id WHERE k.id = pg_temp.id('device')),
	'device new', 'a device key''s principal is a device');
SELECT is((SELECT i.key_id FROM sec.key_index AS i WHERE i.key_hash = sha256('minter')), :'minter', 'is found by its hash');

-- Changing keys.
SELECT is(pg_temp.patch('minter', :'reader', 'name = ''Reader'''), '[{"version": 2}]', 'a covered key can be renamed');
SELECT is(pg_temp.patch('minter', :'reader', 'name = ''Reader'''), '[{"version": 2}]', 'what changes nothing is no new version');
SELECT is(pg_temp.patch('minter', :'reader', 'last_used_at = now()'), '[{"version": 2}]', 'use is no new version');
SELECT throws_ok(format('SELECT pg_temp.patch(''minter'', %L, %L)', p.id, p.change), p.state, NULL, p.state || ': ' || p.what) FROM (VALUES
	('SLP24', 'gives a capability', :'reader'::uuid, 'capabilities = ''{printer.manage}'''),
	('SLP24', 'renames a greater key', pg_temp.id('a_key'), 'name = ''x'''),
	('SLP24', 'revokes a greater key', pg_temp.id('a_key'), 'revoked_at = now()'),
	('SLP24', 'lowers a greater key', pg_temp.id('a_key'), 'capabilities = ''{}''')) AS p (state, what, id, change);
SELECT throws_ok(format('SELECT pg_temp.patch(''reader'', %L, ''capabilities = ''''{queue.manage}'''''')', :'reader'), 'SLP24', NULL, 'SLP24: raises itself');

-- Rotation and revocation are final.
SELECT lives_ok(format('SELECT pg_temp.patch(''minter'', %L, ''replaced_by = id'')', :'reader'), 'rotated');
SELECT throws_ok(format('SELECT pg_temp.patch(''minter'', %L, %L)', :'reader', format('replaced_by = %L', :'minter')), 'SLP23', NULL, 'SLP23: rotated again');
SELECT lives_ok(format('SELECT pg_temp.patch(''minter'', %L, ''revoked_at = now()'')', :'reader'), 'revoked');
SELECT throws_ok(format('SELECT pg_temp.patch(''minter'', %L, %L)', :'reader', p), 'SLP22', NULL, 'SLP22: ' || p)
	FROM unnest('{"revoked_at = NULL","revoked_at = now() + interval ''1 day''","name = ''x''","expires_at = NULL"}'::text[]) AS p;
SELECT throws_ok(format('SELECT pg_temp.as_owner(''a'', %L)', format('UPDATE app.api_keys SET revoked_at = NULL WHERE id = %L RETURNING id', :'reader')),
	'SLP22', NULL, 'SLP22: not even by an operator');
SELECT throws_ok($$ SELECT pg_temp.as_api('minter', 'DELETE FROM app.api_keys RETURNING id') $$, '42501', NULL, 'keys are not deleted');

-- Use.
SELECT is((SELECT count::int FROM app.api_key_usage WHERE key_id = pg_temp.id('a_key') AND operation = 'getMe'), 1, 'a use is counted');
CREATE FUNCTION pg_temp.used() RETURNS jsonb LANGUAGE sql AS $$ SELECT pg_temp.as_role('soloprint_api', NULL,
	format('SELECT app.key_used(%L, %L, ''getMe'', 3, ''192.0.2.77'')', (SELECT org_id FROM sec.org_index WHERE slug = 'a'), pg_temp.id('a_key'))) $$;
SELECT lives_ok('SELECT pg_temp.used()', 'again, outside of a request');
SELECT is((SELECT count::int FROM app.api_key_usage WHERE key_id = pg_temp.id('a_key') AND operation = 'getMe'), 4, 'uses add up');
SELECT is((SELECT host(last_used_ip) FROM app.api_keys WHERE id = pg_temp.id('a_key')), '192.0.2.1', 'the last use is noted once a minute');
SET LOCAL app.clock_offset = '60 s';
SELECT lives_ok('SELECT pg_temp.used()', 'a minute later');
SELECT is((SELECT host(last_used_ip) FROM app.api_keys WHERE id = pg_temp.id('a_key')), '192.0.2.77', 'it is noted again');
SELECT is(pg_temp.as_role('soloprint_auth', NULL, format('SELECT app.key_used(%L, %L, ''login'', 1, NULL)',
	(SELECT org_id FROM sec.org_index WHERE slug = 'a'), pg_temp.id('a_key'))), '[{"key_used": ""}]', 'the auth pool counts too');
SELECT * FROM finish();
ROLLBACK;
