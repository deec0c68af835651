-- Claims and stored replies. (Two requests at once: tests/ctl/test_database.py.)
BEGIN;
\ir world.psql
SELECT no_plan();

CREATE FUNCTION pg_temp.claim(key text, idem text, fingerprint text, op text DEFAULT 'createPrinter') RETURNS jsonb LANGUAGE sql AS
	$$ SELECT pg_temp.as_api(key, format('SELECT app.idem_claim(%L, %L, %L)', op, idem, fingerprint)) $$;
CREATE FUNCTION pg_temp.store(key text, idem text, op text DEFAULT 'createPrinter') RETURNS jsonb LANGUAGE sql AS
	$$ SELECT pg_temp.as_api(key, format('SELECT app.idem_store(%L, %L, 201, ''{"Location": "/x"}'', ''body'', false)', op, idem)) $$;
CREATE FUNCTION pg_temp.fetch(key text, idem text, op text DEFAULT 'createPrinter') RETURNS jsonb LANGUAGE sql AS
	$$ SELECT pg_temp.as_api(key, format('SELECT encode(fingerprint, ''escape'') AS f, status, headers, encode(body, ''escape'') AS body, sealed FROM app.idem_fetch(%L, %L)', op, idem)) $$;

SELECT lives_ok($$ SELECT pg_temp.claim('a-all', 'k1', 'f1') $$, 'a first claim');
SELECT is(pg_temp.fetch('a-all', 'k1'), '[]', 'has no reply yet');
SELECT throws_ok($$ SELECT pg_temp.claim('a-all', 'k1', 'f1') $$, 'SLP31', NULL, 'a claim without a reply is in progress');
SELECT throws_ok($$ SELECT pg_temp.store('a-all', 'k2') $$, 'SLP33', NULL, 'no reply without a claim');
SELECT lives_ok($$ SELECT pg_temp.store('a-all', 'k1') $$, 'the reply');
SELECT throws_ok($$ SELECT pg_temp.store('a-all', 'k1') $$, 'SLP33', NULL, 'a reply is stored once');
SELECT throws_ok($$ SELECT pg_temp.claim('a-all', 'k1', 'f1') $$, 'SLP30', NULL, 'the same again is a replay');
SELECT throws_ok($$ SELECT pg_temp.claim('a-all', 'k1', 'f2') $$, 'SLP32', NULL, 'another body is refused');
SELECT is(pg_temp.fetch('a-all', 'k1'), '[{"f": "f1", "status": 201, "headers": {"Location": "/x"}, "body": "body", "sealed": false}]', 'the stored reply');
SELECT lives_ok($$ SELECT pg_temp.claim('a-all', 'k1', 'f2', 'createPrinterGroup') $$, 'each operation has its own keys');
SELECT lives_ok($$ SELECT pg_temp.claim('b-all', 'k1', 'f2') $$, 'so has each credential');
SELECT is(pg_temp.fetch('b-all', 'k1'), '[]', 'and sees no reply of another''s');
SELECT throws_ok($$ SELECT pg_temp.claim('a-all', '', 'f') $$, '23514', NULL, 'an empty key is refused');

-- A day later.
SET LOCAL app.clock_offset = '24 hours 1 second';
SELECT is(pg_temp.fetch('a-all', 'k1'), '[]', 'an expired reply is gone');
SELECT lives_ok($$ SELECT pg_temp.claim('a-all', 'k1', 'f3') $$, 'an expired key can be claimed again');
SELECT is((SELECT status FROM app.idempotency_keys WHERE idem_key = 'k1' AND operation = 'createPrinter' AND fingerprint = 'f3'), NULL, 'with no reply');
SELECT lives_ok($$ SELECT pg_temp.claim('a-all', 'k9', 'f') $$, 'each claim sweeps');
SELECT is((SELECT count(*)::int FROM app.idempotency_keys WHERE org_id = (SELECT org_id FROM sec.org_index WHERE slug = 'a') AND expires_at <= app.now()), 0, 'expired rows away');
SELECT cmp_ok((SELECT count(*)::int FROM app.idempotency_keys WHERE org_id = (SELECT org_id FROM sec.org_index WHERE slug = 'b')), '>', 0, 'not the other organisation''s');
SELECT * FROM finish();
ROLLBACK;
