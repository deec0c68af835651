-- The small functions.
BEGIN;
SET LOCAL search_path = tap, pg_catalog;
SELECT no_plan();

SELECT is(app.now(), now(), 'the clock');
SET LOCAL app.clock_offset = '-3 days';
SELECT is(app.now(), now() - interval '3 days', 'the clock, moved');
SET LOCAL app.clock_offset = '';
SELECT is(app.now(), now(), 'the clock, moved back');
SELECT is(app.org(), NULL, 'no organisation by default');
SELECT set_config('app.org_id', '0193481c-0000-7000-8000-000000000001', true);
SELECT is(app.org(), '0193481c-0000-7000-8000-000000000001'::uuid, 'the organisation');
SELECT throws_ok($$ SELECT set_config('app.org_id', 'x', true), app.org() $$, '22P02', NULL, 'rubbish fails, it is not NULL');

SELECT ok(bool_and(u::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'), 'UUIDs of version 7, variant 1')
	FROM (SELECT app.uuid7() AS u FROM generate_series(1, 1000)) AS x;
SELECT is((SELECT count(DISTINCT app.uuid7())::int FROM generate_series(1, 1000)), 1000, 'all different');
SELECT ok(abs(('x' || translate(left(app.uuid7()::text, 13), '-', ''))::bit(48)::bigint - extract(epoch FROM clock_timestamp()) * 1000) < 1000, 'beginning with the time');

SELECT is(app.are_limits(l::jsonb), want, l || ' as limits') FROM (VALUES ('{}', true), ('{"read": 1, "burst": 1000000}', true), ('{"read": null}', true),
	('{"read": 5.0}', true), ('{"read": 0}', false), ('{"read": 1.5}', false), ('{"read": "5"}', false), ('{"read": 1e9}', false), ('{"read": [5]}', false),
	('{"read": {}}', false), ('[]', false), ('5', false), ('{"read": true}', false)) AS x (l, want);
SELECT is(sec.effective_limits('{"read": 5.0, "burst": null}', '{"write": 7, "burst": 9}'), '{5,7,10,9}', 'limits: the key''s, the organisation''s, the defaults');
SELECT throws_ok($$ SELECT app.raise('SLP10', 'gone') $$, 'SLP10', 'gone', 'raise');
SELECT lives_ok($$ SELECT 1 WHERE true OR app.raise('SLP10', 'gone') $$, 'only when it is reached');

-- The functions that every row passes through must not be called for each of them.
SELECT is_empty($$ SELECT p.oid::regprocedure FROM pg_proc AS p WHERE p.oid IN ('app.now()'::regprocedure, 'app.org()'::regprocedure)
	AND NOT (p.provolatile = 's' AND p.prosqlbody IS NOT NULL AND NOT p.prosecdef AND p.proconfig IS NULL) $$, 'now and org can be inlined');

SELECT is(sec.row_verb(NULL, '{}'), 'created', 'verb');
SELECT is(sec.row_verb('{}', NULL), 'deleted', 'verb');
SELECT is(sec.row_verb('{"deleted_at": null}', '{"deleted_at": "t"}'), 'deleted', 'verb');
SELECT is(sec.row_verb('{}', '{}'), 'updated', 'verb');
SELECT is(sec.cidrs_within(c.i::cidr[], c.o::cidr[]), c.want, format('%s within %s', c.i, c.o)) FROM (VALUES
	('{10.0.0.0/8}', NULL, true), (NULL, NULL, true), (NULL, '{10.0.0.0/8}', false), ('{}', '{10.0.0.0/8}', true),
	('{10.1.0.0/16}', '{10.0.0.0/8}', true), ('{10.0.0.0/8}', '{10.0.0.0/8}', true), ('{10.0.0.0/7}', '{10.0.0.0/8}', false),
	('{10.1.0.0/16,11.0.0.0/8}', '{10.0.0.0/8}', false), ('{::1/128}', '{0.0.0.0/0}', false), ('{10.0.0.0/8}', '{}', false))
	AS c (i, o, want);
SELECT is((SELECT alive FROM sec.gateway_health()), 0, 'no gateway yet');
INSERT INTO sec.gateways VALUES (app.uuid7(), 'one', now(), now() - interval '14 s', 5), (app.uuid7(), 'two', now(), now() - interval '16 s', 7);
SELECT results_eq('SELECT alive, last_heartbeat_at, sessions FROM sec.gateway_health()', $$ VALUES (1, now() - interval '14 s', 5) $$, 'who has reported lately is alive');
SELECT * FROM finish();
ROLLBACK;
