-- What gateways are asked to do: who gets what, once and in order, and how it ends.
BEGIN;
\ir world.psql
SELECT no_plan();
DELETE FROM app.jobs; -- which the world's files brought

CREATE FUNCTION pg_temp.as_gateway(sql text) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT pg_temp.as_role('soloprint_gateway', NULL, sql) $$;
CREATE FUNCTION pg_temp.gateway(n int) RETURNS uuid LANGUAGE sql AS
	$$ SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid $$;
-- The printer of a slug, as it is told to be.
CREATE FUNCTION pg_temp.printer(slug text, state text, connection text DEFAULT 'connected') RETURNS void LANGUAGE sql AS $$
	UPDATE app.printer_status AS s SET state = printer.state, connection = jsonb_build_object('state', printer.connection)
		WHERE s.printer_id = pg_temp.id(slug || '_printer')
$$;
CREATE FUNCTION pg_temp.lease(slug text, n int, token bigint) RETURNS void LANGUAGE sql AS $$
	UPDATE sec.printer_index AS i SET gateway_id = pg_temp.gateway(n), fencing = token, expires_at = now() + interval '10 s'
		WHERE i.printer_id = pg_temp.id(slug || '_printer')
$$;
CREATE FUNCTION pg_temp.ask(name text, params jsonb, kind text DEFAULT 'printer.command', urgent boolean DEFAULT false,
	patience interval DEFAULT '30 s', slug text DEFAULT 'a') RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.keep(name, pg_temp.as_api(slug || '-all', format('SELECT sec.task_create(%L, %L, %L, %L, %L) AS id',
		pg_temp.id(slug || '_printer'), kind, params, patience, urgent)))
$$;
-- The names of what a gateway gets, in the order it gets it, `!` behind those that it shall only watch.
CREATE FUNCTION pg_temp.take(n int, known text[] DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
	SELECT string_agg((SELECT k FROM unnest('{one,two,three,four,five}'::text[]) AS k
			WHERE current_setting('t.' || k, true) = t.v ->> 'job_id') || CASE WHEN (t.v ->> 'resumed')::boolean THEN '!' ELSE '' END
			|| CASE WHEN (t.v ->> 'cancelled')::boolean THEN '-' ELSE '' END, ' ' ORDER BY t.o)
		FROM jsonb_array_elements(pg_temp.as_gateway(format('SELECT * FROM sec.task_take(%L, NULL, %L)', pg_temp.gateway(n),
			(SELECT coalesce(array_agg(pg_temp.id(k)), '{}') FROM unnest(known) AS k)))) WITH ORDINALITY AS t (v, o)
$$;
CREATE FUNCTION pg_temp.finish(n int, job text, token bigint, outcome text DEFAULT 'succeeded', error jsonb DEFAULT NULL)
	RETURNS boolean LANGUAGE sql AS $$
	SELECT (pg_temp.as_gateway(format('SELECT sec.task_end(%L, %L, %L, %L, NULL, %L) AS held', pg_temp.gateway(n),
		pg_temp.id(job), token, outcome, error)) -> 0 ->> 'held')::boolean
$$;
CREATE FUNCTION pg_temp.job(job text) RETURNS app.jobs LANGUAGE sql AS $$ SELECT j FROM app.jobs AS j WHERE j.id = pg_temp.id(job) $$;
CREATE FUNCTION pg_temp.task(job text) RETURNS sec.printer_tasks LANGUAGE sql AS
	$$ SELECT t FROM sec.printer_tasks AS t WHERE t.job_id = pg_temp.id(job) $$;

-- What is refused before anything is written.
SELECT throws_ok($$ SELECT pg_temp.ask('one', '{"command": "pause"}') $$, 'SLP20', NULL, 'a printer that is not connected');
SELECT pg_temp.printer('a', 'printing');
SELECT pg_temp.printer('b', 'idle');
SELECT throws_ok($$ SELECT pg_temp.ask('one', '{"command": "firmware_restart"}') $$, 'SLP50', NULL, 'what the provider cannot do');
SELECT throws_ok($$ SELECT pg_temp.ask('one', '{"command": "nonsense"}') $$, 'SLP50', NULL, 'what nobody can do');
SELECT throws_ok($$ SELECT pg_temp.as_api('a-all', format('SELECT sec.task_create(%L, ''printer.command'', ''{"command": "pause"}'', ''1 s'', false)',
	pg_temp.id('b_printer'))) $$, 'SLP10', NULL, 'another organisation''s printer');
SELECT throws_ok($$ SELECT pg_temp.ask('one', '{"file_id": null}', 'printer.send') $$, 'SLP51', NULL, 'a send to a busy printer');
SELECT throws_ok($$ SELECT pg_temp.as_gateway('SELECT sec.task_create(NULL, ''printer.command'', ''{}'', ''1 s'', false)') $$, '42501', NULL,
	'gateways ask nothing');
SELECT is((SELECT count(*)::int FROM app.jobs), 0, 'nothing is left of what was refused');

-- A command's life.
SELECT pg_temp.lease('a', 1, 7);
SELECT is(pg_temp.take(1), NULL, 'nothing to do');
SELECT pg_temp.ask('one', '{"command": "pause"}');
SELECT pg_temp.ask('two', '{"command": "resume"}');
SELECT is((pg_temp.job('one')).state, 'queued', 'it waits');
SELECT is((pg_temp.job('one')).resource_id, pg_temp.id('a_printer'), 'as an operation of the printer');
SELECT is((SELECT count(*)::int FROM sec.job_index), 0, 'couriers never see it');
SELECT is((SELECT a.changes ->> 'command' FROM app.audit_log AS a WHERE a.action = 'printer.commanded' ORDER BY a.id LIMIT 1), 'pause', 'it is in the audit log');
SELECT is(pg_temp.take(2), NULL, 'another gateway gets nothing');
SELECT is(pg_temp.take(1), 'one', 'the one with the lease gets the first');
SELECT is((pg_temp.job('one')).state, 'running', 'which runs');
SELECT is(pg_temp.take(1, '{one}'), NULL, 'one at a time');
SELECT is(pg_temp.take(1), 'one!', 'an answer that got lost: it is told again, to be watched');
SELECT pg_temp.ask('three', '{"command": "emergency_stop"}', urgent => true);
SELECT is(pg_temp.take(1, '{one}'), 'three', 'what is urgent waits for nobody');
SELECT ok(NOT pg_temp.finish(2, 'one', 7), 'another gateway cannot end it');
SELECT ok(NOT pg_temp.finish(1, 'one', 6), 'nor can a wrong token');
SELECT ok(pg_temp.finish(1, 'one', 7), 'the right one can');
SELECT is((pg_temp.job('one')).state, 'succeeded', 'it has succeeded');
SELECT ok(NOT pg_temp.finish(1, 'one', 7, 'failed'), 'once');
SELECT ok(pg_temp.finish(1, 'three', 7, 'failed', '{"code": "not_confirmed", "message": "m"}'), 'the urgent one fails');
SELECT is((pg_temp.job('three')).error ->> 'code', 'not_confirmed', 'with a reason');
SELECT is(pg_temp.take(1), 'two', 'then the second');

-- Change of hands.
SELECT pg_temp.lease('a', 2, 8);
SELECT ok(NOT pg_temp.finish(1, 'two', 7), 'who lost the lease ends nothing');
SELECT is(pg_temp.take(1), NULL, 'and gets nothing');
SELECT is(pg_temp.take(2), 'two!', 'the next one watches what was begun');
SELECT is(pg_temp.take(2, '{two}'), NULL, 'and is told once');
SELECT ok(pg_temp.finish(2, 'two', 8), 'it may end it');

-- Too late.
SELECT pg_temp.ask('one', '{"command": "pause"}', patience => '-1 s');
SELECT is(pg_temp.take(2), NULL, 'what comes too late is not begun');
SELECT is((pg_temp.job('one')).error ->> 'code', 'expired', 'but has expired');
SELECT is((pg_temp.job('one')).state, 'failed', 'and failed');
SELECT pg_temp.ask('one', '{"command": "pause"}', patience => '-1 s');
SELECT pg_temp.ask('two', '{"command": "pause"}');
SELECT is((pg_temp.as_role('soloprint_courier', NULL, 'SELECT sec.tasks_expire() AS n') -> 0 ->> 'n'), '1', 'also without a gateway');
SELECT is((pg_temp.job('one')).error ->> 'code', 'expired', 'by whoever looks');
SELECT is((pg_temp.job('two')).state, 'queued', 'the other one waits on');

-- Cancelling.
SELECT pg_temp.as_api('a-all', format('SELECT sec.job_cancel(%L)', pg_temp.id('two')));
SELECT is((pg_temp.job('two')).state, 'cancelled', 'who waits is cancelled at once');
SELECT is(pg_temp.task('two'), NULL, 'and never begun');
SELECT pg_temp.printer('a', 'idle');
SELECT pg_temp.ask('four', jsonb_build_object('file_id', pg_temp.id('a_file')), 'printer.send');
SELECT throws_ok($$ SELECT pg_temp.ask('five', '{"file_id": null}', 'printer.send') $$, 'SLP51', NULL, 'one send at a time');
SELECT pg_temp.ask('five', '{"command": "light"}');
SELECT is(pg_temp.take(2), 'four five', 'a send does not hold up commands');
SELECT is(pg_temp.finish(2, 'five', 8), true, 'one of them ends');
SELECT pg_temp.as_api('a-all', format('SELECT sec.job_cancel(%L)', pg_temp.id('four')));
SELECT is(pg_temp.take(2, '{four}'), 'four!-', 'who runs is told');
SELECT is(pg_temp.as_gateway(format('SELECT sec.task_starting(%L, %L, 8) AS go', pg_temp.gateway(2), pg_temp.id('four'))) -> 0 ->> 'go', 'false',
	'what was cancelled does not start');
SELECT ok(pg_temp.finish(2, 'four', 8, 'cancelled'), 'it is cancelled');
SELECT is((pg_temp.job('four')).state, 'cancelled', 'as clients see');

-- A send.
SELECT pg_temp.ask('four', jsonb_build_object('file_id', pg_temp.id('a_file'), 'plate', 2), 'printer.send');
SELECT is((pg_temp.as_gateway(format('SELECT * FROM sec.task_take(%L, NULL, ''{}'')', pg_temp.gateway(2))) -> 0)
	- '{org_id,job_id,printer_id,number,patience_ms,blob_id}'::text[], jsonb_build_object('kind', 'printer.send', 'fencing', 8, 'phase', 'begun', 'resumed', false, 'cancelled', false,
	'params', jsonb_build_object('file_id', pg_temp.id('a_file'), 'plate', 2), 'filename', 'boat.stl', 'file_kind', 'stl', 'size_bytes', 4,
	'sha256', encode(sha256('boat'), 'hex'), 'blob_location', 'local'), 'comes with its file');
SELECT is(pg_temp.as_gateway(format('SELECT sec.task_starting(%L, %L, 7) AS go', pg_temp.gateway(2), pg_temp.id('four'))) -> 0 ->> 'go', 'false', 'not with a wrong token');
SELECT is(pg_temp.as_gateway(format('SELECT sec.task_starting(%L, %L, 8) AS go', pg_temp.gateway(2), pg_temp.id('four'))) -> 0 ->> 'go', 'true', 'it may start');
SELECT pg_temp.lease('a', 1, 9);
SELECT is(pg_temp.as_gateway(format('SELECT * FROM sec.task_take(%L, NULL, ''{}'')', pg_temp.gateway(1))) -> 0 -> 'phase', '"starting"',
	'who takes over knows that it may have started');
SELECT pg_temp.as_gateway(format('SELECT sec.task_progress(%L, %L, 9, ''{"done": 2, "total": 4}'')', pg_temp.gateway(1), pg_temp.id('four')));
SELECT is((pg_temp.job('four')).progress, '{"done": 2, "total": 4}', 'progress');
SELECT pg_temp.as_api('a-all', format('UPDATE app.printers SET maintenance = true WHERE id = %L RETURNING id', pg_temp.id('a_printer')));
SELECT ok(pg_temp.finish(1, 'four', 9), 'its end');
SELECT throws_ok($$ SELECT pg_temp.ask('four', '{"file_id": null}', 'printer.send') $$, 'SLP52', NULL, 'nothing starts in maintenance');
SELECT lives_ok($$ SELECT pg_temp.ask('four', '{"file_id": null, "start": false}', 'printer.send') $$, 'a file may still be brought');
DELETE FROM app.jobs AS j WHERE j.id = pg_temp.id('four');
SELECT is(pg_temp.task('four'), NULL, 'a job that goes takes its task along');

-- Errands of no printer.
SELECT pg_temp.as_api('b-all', 'SELECT sec.task_create_any(app.uuid7(), ''printer.test'', ''{"host": "192.0.2.1"}'', ''30 s'')') FROM generate_series(1, 8);
SELECT throws_ok($$ SELECT pg_temp.as_api('b-all', 'SELECT sec.task_create_any(app.uuid7(), ''printer.test'', ''{}'', ''30 s'')') $$, 'SLP54', NULL, 'not too many');
SELECT is(pg_temp.n(pg_temp.as_gateway(format('SELECT * FROM sec.task_take_any(%L, 5, ''10 s'')', pg_temp.gateway(1)))), 5, 'some go to one gateway');
SELECT is(pg_temp.n(pg_temp.as_gateway(format('SELECT * FROM sec.task_take_any(%L, 5, ''10 s'')', pg_temp.gateway(2)))), 3, 'the others to the next');
SELECT is((SELECT count(*)::int FROM app.jobs AS j WHERE j.error ->> 'code' = 'gateway_lost'), 5, 'which sees that the first one is dead');
SELECT throws_ok($$ SELECT pg_temp.as_api('a-all', 'SELECT * FROM sec.task_take(NULL, NULL, ''{}'')') $$, '42501', NULL, 'the API takes nothing');

SELECT * FROM finish();
ROLLBACK;
