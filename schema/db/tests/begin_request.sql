-- The first statement of every request.
BEGIN;
\ir world.psql
SELECT no_plan();

CREATE FUNCTION pg_temp.begin(key text, capability text DEFAULT 'any', addr inet DEFAULT '192.0.2.1') RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.as_role('soloprint_api', NULL, format('SELECT * FROM sec.begin_request(sha256(%L), %L, ''op'', %L, ''r'')', key, capability, addr)) -> 0
$$;

SELECT pg_temp.add_key('a', 'reader', '{operations.read}');
SELECT pg_temp.add_key('a', 'nothing', '{}');
SELECT pg_temp.add_key('a', 'networks', '{operations.read}', NULL, '{198.51.100.0/24,2001:db8::/32}');
SELECT pg_temp.add_key('a', 'no-network', '{operations.read}', NULL, '{}');
SELECT pg_temp.add_key('a', 'expired', '{operations.read}', NULL, NULL, NULL, now() - interval '1 s');
SELECT pg_temp.add_key('a', 'expiring', '{operations.read}', NULL, NULL, NULL, now() + interval '1 hour');
SELECT pg_temp.add_key('a', 'printers', '{operations.read}', ARRAY[pg_temp.id('a_printer')]);
SELECT pg_temp.add_key('a', 'limits', '{operations.read}', NULL, NULL, '{"read": 7, "burst": 3}');
SELECT pg_temp.add_key('a', 'revoked', '{operations.read}') AS revoked \gset
SELECT pg_temp.as_owner('a', format('UPDATE app.api_keys SET revoked_at = now() WHERE id = %L RETURNING id', :'revoked'));

SELECT is(pg_temp.begin('reader') ->> 'org_id', (SELECT org_id::text FROM sec.org_index WHERE slug = 'a'), 'the key''s organisation');
SELECT is(pg_temp.begin('reader') ->> 'key_id', (SELECT id::text FROM app.api_keys WHERE name = 'reader'), 'the key');
SELECT is(pg_temp.begin('reader') ->> 'principal_id', (SELECT principal_id::text FROM app.api_keys WHERE name = 'reader'), 'its principal');
SELECT is((SELECT kind FROM app.principals WHERE id = (pg_temp.begin('reader') ->> 'principal_id')::uuid), 'key', 'which is of kind key');
SELECT is(pg_temp.begin('reader') -> 'capabilities', '["operations.read"]', 'its capabilities');
SELECT is(pg_temp.begin('printers') -> 'printer_ids', jsonb_build_array(pg_temp.id('a_printer')), 'its printers');
SELECT is(pg_temp.begin('reader') -> 'printer_ids', 'null', 'no list: all printers');

SELECT lives_ok(format('SELECT pg_temp.begin(%L, %L, %L)', c.key, c.capability, c.addr), c.what) FROM (VALUES
	('nothing', 'any', '192.0.2.1', 'a key without capabilities opens what needs none'),
	('reader', 'operations.read', '192.0.2.1', 'the capability it has'),
	('expiring', 'any', '192.0.2.1', 'not expired yet'),
	('networks', 'any', '198.51.100.255', 'an address of its network'),
	('networks', 'any', '2001:db8::1', 'an IPv6 address of its network')) AS c (key, capability, addr, what);
SELECT throws_ok(format('SELECT pg_temp.begin(%L, %L, %L)', c.key, c.capability, c.addr), c.state, NULL, c.state || ': ' || c.what) FROM (VALUES
	('SLP01', 'unknown', 'any', '192.0.2.1', 'unknown key'),
	('SLP01', '', 'any', '192.0.2.1', 'empty key'),
	('SLP02', 'expired', 'any', '192.0.2.1', 'expired'),
	('SLP03', 'revoked', 'any', '192.0.2.1', 'revoked'),
	('SLP04', 'reader', 'printer.manage', '192.0.2.1', 'another capability'),
	('SLP04', 'nothing', 'operations.read', '192.0.2.1', 'no capability'),
	('SLP04', 'reader', '', '192.0.2.1', 'an empty capability opens nothing'),
	('SLP05', 'networks', 'any', '198.51.101.0', 'an address outside'),
	('SLP05', 'networks', 'any', NULL, 'no address'),
	('SLP05', 'no-network', 'any', '192.0.2.1', 'the empty list of networks is none'),
	('SLP05', 'networks', 'printer.manage', '192.0.2.1', 'the address is looked at before the capability')) AS c (state, key, capability, addr, what);
SELECT throws_ok('SELECT pg_temp.as_role(''soloprint_api'', NULL, ''SELECT * FROM sec.begin_request(NULL, ''''any'''', ''''op'''', NULL, NULL)'')', 'SLP01', NULL, 'SLP01: NULL');
SELECT throws_ok('SELECT pg_temp.as_role(''soloprint_api'', NULL, ''SELECT * FROM sec.begin_request(sha256(''''reader''''), NULL, ''''op'''', NULL, NULL)'')', 'SLP04', NULL, 'SLP04: no capability asked for');

-- Time is the database's, which tests can move.
SET LOCAL app.clock_offset = '2 hours';
SELECT throws_ok('SELECT pg_temp.begin(''expiring'')', 'SLP02', NULL, 'SLP02: two hours later');
SET LOCAL app.clock_offset = '';
SELECT lives_ok('SELECT pg_temp.begin(''expiring'')', 'back again');

CREATE FUNCTION pg_temp.limits(key text) RETURNS int[] LANGUAGE sql AS $$
	SELECT ARRAY[(j ->> 'limit_read')::int, (j ->> 'limit_write')::int, (j ->> 'limit_control')::int, (j ->> 'limit_burst')::int]
	FROM pg_temp.begin(key) AS j $$;
SELECT is(pg_temp.limits('reader'), '{100,30,10,20}', 'default limits');
SELECT is(pg_temp.limits('limits'), '{7,30,10,3}', 'the key''s own limits');
SELECT pg_temp.as_owner('a', 'UPDATE app.organizations SET rate_limits = ''{"read": 500, "write": 60}'' RETURNING org_id');
SELECT is(pg_temp.limits('reader'), '{500,60,10,20}', 'the organisation''s limits');
SELECT is(pg_temp.limits('limits'), '{7,60,10,3}', 'the key''s before the organisation''s');

SELECT pg_temp.as_owner('a', 'UPDATE app.organizations SET state = ''suspended'' RETURNING org_id');
SELECT throws_ok('SELECT pg_temp.begin(''reader'')', 'SLP06', NULL, 'SLP06: suspended');
SELECT lives_ok('SELECT pg_temp.begin(''b-all'')', 'the other organisation is not');
SELECT pg_temp.as_owner('a', 'UPDATE app.organizations SET state = ''active'' RETURNING org_id');

-- What it leaves behind is local to the transaction and complete.
SELECT is(pg_temp.as_api('printers', $$ SELECT current_setting('app.org_id') AS o, current_setting('app.key_id') AS k,
		current_setting('app.printer_ids') AS p, current_setting('app.request_id') AS r, current_setting('app.remote_addr') AS a $$) -> 0,
	jsonb_build_object('o', (SELECT org_id FROM sec.org_index WHERE slug = 'a'), 'k', (SELECT id FROM app.api_keys WHERE name = 'printers'),
		'p', '{' || pg_temp.id('a_printer') || '}', 'r', 'req-1', 'a', '192.0.2.1'), 'the settings');
SELECT * FROM finish();
ROLLBACK;
