-- Jobs: who gets which, leases and fencing, how they end, who may do what.
BEGIN;
\ir world.psql
SELECT no_plan();
DELETE FROM app.jobs; -- which the world's files brought

CREATE FUNCTION pg_temp.as_courier(sql text) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT pg_temp.as_role('soloprint_courier', NULL, sql) $$;
CREATE FUNCTION pg_temp.courier(n int) RETURNS uuid LANGUAGE sql AS
	$$ SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid $$;
CREATE FUNCTION pg_temp.new_job(slug text, name text, columns text DEFAULT '', vals text DEFAULT '') RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.keep(name, pg_temp.as_api(slug || '-all', format('INSERT INTO app.jobs (kind, visible, params%s)
		VALUES (''test.work'', true, ''{"secret": "canary"}''%s) RETURNING id', columns, vals)))
$$;
CREATE FUNCTION pg_temp.claim(n int, kinds text[] DEFAULT '{test.work}', after uuid DEFAULT '00000000-0000-0000-0000-000000000000') RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.as_courier(format('SELECT * FROM sec.job_claim(%L, ''10 s'', %L, %L)', pg_temp.courier(n), kinds, after)) -> 0
$$;
-- By name: the transaction of a job. `more` is what it does between entering and ending.
CREATE FUNCTION pg_temp.finish(n int, job text, fencing bigint, outcome text, result jsonb DEFAULT NULL, error jsonb DEFAULT NULL,
	wait interval DEFAULT NULL, org text DEFAULT 'a') RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.as_courier(format('SELECT sec.job_enter(%L, %L, %L, %L), app.principal() AS principal, app.org() AS org,
		sec.job_finish(%1$L, %3$L, %4$L, %5$L, %6$L, %7$L, %8$L)', pg_temp.courier(n), (SELECT org_id FROM sec.org_index WHERE slug = org),
		pg_temp.id(job), fencing, outcome, result, error, wait))
$$;
CREATE FUNCTION pg_temp.beat(n int, job text, fencing bigint, progress jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.as_courier(format('SELECT * FROM sec.job_beat(%L, %L, %L, %L, ''10 s'', %L)', pg_temp.courier(n),
		(SELECT org_id FROM sec.org_index WHERE slug = 'a'), pg_temp.id(job), fencing, progress)) -> 0
$$;
CREATE FUNCTION pg_temp.job(job text) RETURNS app.jobs LANGUAGE sql AS $$ SELECT j FROM app.jobs AS j WHERE j.id = pg_temp.id(job) $$;
CREATE FUNCTION pg_temp.lease_of(job text) RETURNS sec.job_index LANGUAGE sql AS $$ SELECT i FROM sec.job_index AS i WHERE i.job_id = pg_temp.id(job) $$;

-- A job's life.
SELECT is(pg_temp.claim(1), NULL, 'nothing to claim');
SELECT pg_temp.new_job('a', 'one', ', resource_type, resource_id, max_attempts', ', ''file'', app.uuid7(), 3');
SELECT is(pg_temp.claim(1, '{test.other}'), NULL, 'a kind that the courier does not know stays');
SELECT is(pg_temp.claim(1) - '{org_id,resource_id,created_by}'::text[], jsonb_build_object('id', pg_temp.id('one'), 'kind', 'test.work', 'fencing', 1,
	'attempt', 1, 'max_attempts', 3, 'params', '{"secret": "canary"}'::jsonb, 'cancelled', false), 'claimed');
SELECT is((pg_temp.job('one')).state, 'running', 'it runs');
SELECT is((pg_temp.job('one')).started_at, app.now(), 'since now');
SELECT is((pg_temp.lease_of('one')).expires_at, now() + interval '10 s', 'for as long as the lease');
SELECT is(pg_temp.claim(2), NULL, 'nobody else gets it');
SELECT is(pg_temp.beat(1, 'one', 1, '{"done": 1, "total": 2}'), '{"held": true, "cancelled": false}', 'a beat');
SELECT is((pg_temp.job('one')).progress, '{"done": 1, "total": 2}', 'tells progress');
SELECT is(pg_temp.beat(1, 'one', 1), '{"held": true, "cancelled": false}', 'a beat without progress');
SELECT is((pg_temp.job('one')).progress, '{"done": 1, "total": 2}', 'leaves it');
SELECT is(pg_temp.finish(1, 'one', 1, 'succeeded', '{"file_id": 7}') -> 0 -> 'principal', to_jsonb((pg_temp.job('one')).created_by),
	'its end speaks for who asked for it');
SELECT is((pg_temp.job('one')).state, 'succeeded', 'it has succeeded');
SELECT is((pg_temp.job('one')).result, '{"file_id": 7}', 'with a result');
SELECT is((pg_temp.job('one')).params, '{}', 'its params are gone');
SELECT is((pg_temp.job('one')).finished_at, app.now(), 'it is finished');
SELECT is(pg_temp.lease_of('one'), NULL, 'and off the list');

-- Fencing.
SELECT pg_temp.new_job('a', 'two');
SELECT is(pg_temp.claim(1) -> 'fencing', '1', 'the first lease');
SELECT throws_ok('SELECT pg_temp.finish(2, ''two'', 1, ''succeeded'')', 'SLP42', NULL, 'another courier cannot end it');
SELECT throws_ok('SELECT pg_temp.finish(1, ''two'', 2, ''succeeded'')', 'SLP42', NULL, 'nor can a wrong token');
SELECT throws_ok('SELECT pg_temp.finish(1, ''two'', 1, ''succeeded'', NULL, NULL, NULL, ''b'')', 'SLP42', NULL, 'nor can it be entered for another organisation');
SELECT is(pg_temp.beat(2, 'two', 1) -> 'held', 'false', 'another courier does not hold it');
UPDATE sec.job_index SET expires_at = now() - interval '1 s' WHERE job_id = pg_temp.id('two');
SELECT is(pg_temp.beat(1, 'two', 1) -> 'held', 'true', 'a lease that ran out is still held while nobody took it');
UPDATE sec.job_index SET expires_at = now() - interval '1 s' WHERE job_id = pg_temp.id('two');
SELECT is(pg_temp.claim(2) - '{org_id,created_by}'::text[] @> '{"fencing": 2, "attempt": 2}', true, 'then another one has it');
SELECT is(pg_temp.beat(1, 'two', 1) -> 'held', 'false', 'and the first has lost it');
SELECT throws_ok('SELECT pg_temp.finish(1, ''two'', 1, ''succeeded'')', 'SLP42', NULL, 'for good');

-- Back to the queue.
SELECT pg_temp.finish(2, 'two', 2, 'release');
SELECT is(concat_ws(' ', (pg_temp.job('two')).state, (pg_temp.job('two')).attempts), 'queued 1', 'released: the attempt does not count');
SELECT is(pg_temp.claim(1) -> 'attempt', '2', 'and is made again at once');
SELECT pg_temp.finish(1, 'two', 3, 'retry', NULL, '{"code": "busy", "message": "Busy."}', '1 minute');
SELECT is(concat_ws(' ', (pg_temp.job('two')).state, (pg_temp.job('two')).attempts, (pg_temp.job('two')).error ->> 'code'), 'queued 2 busy', 'to be tried again');
SELECT is((pg_temp.job('two')).params ->> 'secret', 'canary', 'with its params');
SELECT is((pg_temp.job('two')).run_after, app.now() + interval '1 minute', 'later');
SELECT is(pg_temp.claim(1), NULL, 'not before');
SET LOCAL app.clock_offset = '61 s';
SELECT is(pg_temp.claim(1) -> 'attempt', '3', 'but then');
SELECT pg_temp.finish(1, 'two', 4, 'failed', NULL, '{"code": "busy", "message": "Busy."}');
SELECT is(concat_ws(' ', (pg_temp.job('two')).state, (pg_temp.job('two')).error ->> 'code', (pg_temp.job('two')).params), 'failed busy {}', 'given up');
SET LOCAL app.clock_offset = '';
SELECT pg_temp.new_job('a', 'dead', ', max_attempts', ', 1');
SELECT is(pg_temp.claim(1) -> 'attempt', '1', 'its only attempt');
UPDATE sec.job_index SET expires_at = now() - interval '1 s' WHERE job_id = pg_temp.id('dead');
SELECT is(pg_temp.claim(1) -> 'attempt', '2', 'a job that killed its worker is found again');
SELECT pg_temp.finish(1, 'dead', 2, 'failed', NULL, '{"code": "crashed", "message": "x"}');
SELECT is((pg_temp.job('dead')).attempts, 1, 'clearing up was no attempt');

-- Cancelling.
CREATE FUNCTION pg_temp.cancel(job text, key text DEFAULT 'a-all') RETURNS jsonb LANGUAGE sql AS
	$$ SELECT pg_temp.as_api(key, format('SELECT sec.job_cancel(%L)', pg_temp.id(job))) $$;
SELECT throws_ok('SELECT pg_temp.cancel(''two'')', 'SLP43', NULL, 'what has ended cannot be cancelled');
SELECT throws_ok('SELECT pg_temp.cancel(''two'', ''b-all'')', 'SLP10', NULL, 'another organisation''s is not there');
SELECT pg_temp.new_job('a', 'waiting', ', run_after', ', app.now() + ''1 day''::interval');
SELECT pg_temp.cancel('waiting');
SELECT is(concat_ws(' ', (pg_temp.job('waiting')).state, (pg_temp.job('waiting')).finished_at), 'cancelled ' || app.now(), 'who waits is cancelled at once');
SELECT throws_ok('SELECT pg_temp.cancel(''waiting'')', 'SLP43', NULL, 'once');
SELECT is(pg_temp.claim(1) @> jsonb_build_object('id', pg_temp.id('waiting'), 'attempt', 0, 'cancelled', true), true, 'a courier clears up after it');
SELECT is(concat_ws(' ', (pg_temp.job('waiting')).state, (pg_temp.job('waiting')).started_at), 'cancelled', 'it stays cancelled');
SELECT pg_temp.finish(1, 'waiting', 1, 'cancelled');
SELECT is(concat_ws(' ', (pg_temp.job('waiting')).params, (pg_temp.lease_of('waiting')).fencing), '{}', 'and is forgotten by the couriers');
SELECT pg_temp.new_job('a', 'busy');
SELECT pg_temp.claim(1);
SELECT pg_temp.cancel('busy');
SELECT is((pg_temp.job('busy')).state, 'running', 'who runs');
SELECT is(pg_temp.beat(1, 'busy', 1), '{"held": true, "cancelled": true}', 'is told');
SELECT pg_temp.cancel('busy');
SELECT pg_temp.finish(1, 'busy', 1, 'retry', NULL, '{"code": "busy", "message": "x"}', '1 hour');
SELECT is((pg_temp.job('busy')).state, 'cancelled', 'put back it is cancelled');
SET LOCAL app.clock_offset = '61 minutes';
SELECT is(pg_temp.claim(1) -> 'cancelled', 'true', 'and cleared up after');
SET LOCAL app.clock_offset = '';
SELECT pg_temp.finish(1, 'busy', 2, 'cancelled');
SELECT pg_temp.keep('hidden', pg_temp.as_api('a-all', 'INSERT INTO app.jobs (kind) VALUES (''test.hidden'') RETURNING id'));
SELECT throws_ok('SELECT pg_temp.cancel(''hidden'')', 'SLP10', NULL, 'what is no operation cannot be cancelled');

-- Fair shares, priorities.
SELECT pg_temp.as_api('a-all', 'INSERT INTO app.jobs (kind) SELECT ''test.work'' FROM generate_series(1, 50) RETURNING id');
SELECT pg_temp.as_api('b-all', 'INSERT INTO app.jobs (kind) SELECT ''test.work'' FROM generate_series(1, 3) RETURNING id');
SELECT is((SELECT count(DISTINCT c ->> 'org_id') FROM (SELECT pg_temp.claim(1) AS c FROM generate_series(1, 2)) AS x), 2::bigint, 'two workers serve both');
SELECT is((SELECT array_agg(n ORDER BY n) FROM (SELECT count(*)::int AS n FROM (SELECT pg_temp.claim(1) ->> 'org_id' AS o FROM generate_series(1, 4)) AS x GROUP BY o) AS y),
	'{2,2}', 'also the next four');
SELECT is((SELECT count(*)::int FROM sec.job_index WHERE courier_id IS NULL AND org_id = (SELECT org_id FROM sec.org_index WHERE slug = 'b') AND kind = 'test.work'), 0, 'B has been served');
SELECT pg_temp.new_job('a', 'urgent', ', priority', ', 5');
SELECT is(pg_temp.claim(1) ->> 'id', pg_temp.id('urgent')::text, 'the more urgent one first');
SELECT is((SELECT running FROM sec.courier_health()), 7, 'under way');
SELECT is((SELECT waiting FROM sec.courier_health()), 48, 'and waiting');

-- Legal states, whoever asks.
SELECT throws_ok(format('UPDATE app.jobs SET state = %L, finished_at = CASE WHEN %1$L IN (''queued'', ''running'') THEN NULL ELSE now() END WHERE id = %L',
	s, pg_temp.id('one')), 'SLP44', NULL, 'from succeeded to ' || s) FROM unnest('{queued,running,failed,cancelled}'::text[]) AS s;
SELECT throws_ok(format('UPDATE app.jobs SET state = ''succeeded'', finished_at = now() WHERE id = %L', pg_temp.id('hidden')), 'SLP44', NULL, 'from queued to succeeded');
SELECT throws_ok(format('UPDATE app.jobs SET state = ''cancelled'' WHERE id = %L', pg_temp.id('hidden')), '23514', NULL, 'who has ended has ended at some time');

-- Who may do what.
SELECT is(pg_temp.as_api('b-all', 'SELECT id FROM app.jobs WHERE kind <> ''test.work'''), '[]', 'another organisation sees none');
SELECT throws_ok(format('SELECT pg_temp.as_role(%L, NULL, %L)', r, sql), '42501', NULL, r || ': ' || sql) FROM (VALUES
	('soloprint_api', 'SELECT params FROM app.jobs'), ('soloprint_api', 'UPDATE app.jobs SET state = ''queued'' RETURNING id'),
	('soloprint_api', 'SELECT * FROM sec.job_claim(app.uuid7(), ''1 s'', ''{}'', app.uuid7())'), ('soloprint_api', 'DELETE FROM app.jobs RETURNING id'),
	('soloprint_courier', 'UPDATE app.jobs SET state = ''queued'' RETURNING id'), ('soloprint_courier', 'SELECT * FROM sec.job_index'),
	('soloprint_courier', 'SELECT * FROM sec.job_pick(''{}'', app.uuid7())'), ('soloprint_courier', 'DELETE FROM app.jobs RETURNING id'),
	('soloprint_courier', 'SELECT sec.job_cancel(app.uuid7())'), ('soloprint_gateway', 'SELECT id FROM app.jobs'),
	('soloprint_gateway', 'SELECT * FROM sec.job_claim(app.uuid7(), ''1 s'', ''{}'', app.uuid7())')) AS x (r, sql);
SELECT is(pg_temp.as_courier('SELECT id FROM app.jobs'), '[]', 'a courier sees no job of no organisation');

-- Timers.
CREATE FUNCTION pg_temp.tick(VARIADIC names text[]) RETURNS text LANGUAGE sql AS
	$$ SELECT pg_temp.as_courier(format('SELECT sec.timer_claim(%L) AS t', names)) -> 0 ->> 't' $$;
UPDATE sec.timers SET next_at = app.now();
SELECT is(pg_temp.tick('other'), NULL, 'a timer that this courier does not know');
SELECT is(pg_temp.tick('jobs_prune'), 'jobs_prune', 'due');
SELECT is(pg_temp.tick('jobs_prune'), NULL, 'done');
SELECT is((SELECT next_at FROM sec.timers WHERE name = 'jobs_prune'), app.now() + interval '1 hour', 'until the next time');
SET LOCAL app.clock_offset = '61 minutes';
SELECT is(pg_temp.tick('jobs_prune'), 'jobs_prune', 'then');
SET LOCAL app.clock_offset = '-5 days';
SELECT is(pg_temp.tick('jobs_prune'), 'jobs_prune', 'a clock that went back does not stop it');
SET LOCAL app.clock_offset = '';

-- Couriers.
SELECT pg_temp.as_courier(format('SELECT sec.courier_beat(%L, ''c'')', pg_temp.courier(n))) FROM generate_series(1, 3) AS n;
UPDATE sec.couriers SET heartbeat_at = now() - CASE id WHEN pg_temp.courier(1) THEN interval '14 s' WHEN pg_temp.courier(2) THEN interval '16 s' ELSE interval '2 hours' END;
SELECT is((SELECT concat_ws(' ', alive, last_heartbeat_at) FROM sec.courier_health()), '1 ' || (now() - interval '14 s'), 'who has reported lately is alive');
SELECT pg_temp.as_courier(format('SELECT sec.courier_beat(%L, ''c'')', pg_temp.courier(1)));
SELECT is((SELECT array_agg(id ORDER BY id) FROM sec.couriers), ARRAY[pg_temp.courier(1), pg_temp.courier(2)], 'who has long been silent is forgotten');
SELECT pg_temp.as_courier(format('SELECT sec.courier_leave(%L)', pg_temp.courier(1)));
SELECT is((SELECT array_agg(id) FROM sec.couriers), ARRAY[pg_temp.courier(2)], 'who leaves is gone');

-- What is old goes, organisation by organisation.
CREATE FUNCTION pg_temp.prune(most int, OUT jobs int, OUT keys int, OUT rounds int) LANGUAGE plpgsql AS $$
DECLARE
	got jsonb;
	next text := '00000000-0000-0000-0000-000000000000';
BEGIN
	jobs := 0;
	keys := 0;
	rounds := 0;
	WHILE next IS NOT NULL AND rounds < 100 LOOP
		got := pg_temp.as_courier(format('SELECT * FROM sec.jobs_prune(%L, ''30 days'', %L)', next, most)) -> 0;
		next := got ->> 'next';
		jobs := jobs + (got -> 'jobs')::int;
		keys := keys + (got -> 'keys')::int;
		rounds := rounds + 1;
	END LOOP;
END
$$;
SELECT is((SELECT concat_ws(' ', jobs, keys, rounds) FROM pg_temp.prune(100)), '0 0 3', 'nothing is old yet');
SET LOCAL app.clock_offset = '31 days';
-- (Rows that a subtransaction of this test had locked and given up count as locked: SKIP LOCKED leaves them.)
SELECT cmp_ok((SELECT jobs FROM pg_temp.prune(2)), '>=', 4, 'finished jobs go after a month');
SELECT is_empty(format('SELECT 1 FROM app.jobs WHERE finished_at IS NOT NULL AND id <> %L', pg_temp.id('two')), 'all of them');
SELECT is((SELECT count(*)::int FROM app.jobs WHERE finished_at IS NULL), (SELECT count(*)::int FROM sec.job_index), 'the others stay');
SELECT is((SELECT count(*)::int FROM app.idempotency_keys), 0, 'so do idempotency keys that expired');
SELECT * FROM finish();
ROLLBACK;
