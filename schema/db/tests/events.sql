-- From the outbox to readers, webhooks and rules: order, rights, retries, ends.
BEGIN;
\ir world.psql
SELECT no_plan();

CREATE FUNCTION pg_temp.courier(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT format('00000000-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.org(slug text) RETURNS uuid LANGUAGE sql AS $$ SELECT org_id FROM sec.org_index AS i WHERE i.slug = org.slug $$;
CREATE FUNCTION pg_temp.as_courier(sql text) RETURNS jsonb LANGUAGE sql AS $$ SELECT pg_temp.as_role('soloprint_courier', NULL, sql) $$;
CREATE FUNCTION pg_temp.publish(n int DEFAULT 1) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT pg_temp.as_courier(format('SELECT leads, published, failure FROM sec.publish(%L, ''3 s'', 1000)', pg_temp.courier(n))) -> 0 $$;
CREATE FUNCTION pg_temp.claim(n int DEFAULT 1, most int DEFAULT 100, lease text DEFAULT '30 s') RETURNS jsonb LANGUAGE sql AS
	$$ SELECT pg_temp.as_courier(format('SELECT * FROM sec.deliveries_claim(%L, %L, %s)', pg_temp.courier(n), lease, most)) $$;
-- Finishes all of these with the same result.
CREATE FUNCTION pg_temp.finish(claimed jsonb, result jsonb, n int DEFAULT 1) RETURNS int LANGUAGE sql AS $$
	SELECT (pg_temp.as_courier(format('SELECT sec.deliveries_finish(%L, %L) AS n', pg_temp.courier(n), coalesce((SELECT jsonb_agg(jsonb_build_object(
		'id', c -> 'id', 'fencing', c -> 'fencing', 'kind', c -> 'kind') || result) FROM jsonb_array_elements(claimed) AS c), '[]'))) -> 0 ->> 'n')::int $$;
CREATE FUNCTION pg_temp.of(claimed jsonb, endpoint uuid) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT coalesce(jsonb_agg(c), '[]') FROM jsonb_array_elements(claimed) AS c WHERE (c ->> 'endpoint_id')::uuid = endpoint $$;
CREATE FUNCTION pg_temp.touch(slug text, what text) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT pg_temp.as_api(slug || '-all', format('UPDATE app.printers SET location = %L WHERE id = %L RETURNING id', what, pg_temp.id(slug || '_printer'))) $$;
CREATE FUNCTION pg_temp.hook(key text, more text DEFAULT '') RETURNS uuid LANGUAGE sql AS $$
	SELECT (pg_temp.as_api(key, format('INSERT INTO app.webhooks (name, endpoint_url, subscriptions%s) VALUES (''h'', ''https://example.com/h'', %s) RETURNING id',
		split_part(more, '|', 1), coalesce(nullif(split_part(more, '|', 2), ''), '''{*}'''))) -> 0 ->> 'id')::uuid $$;
-- Time goes by, for the indexes of couriers too.
CREATE FUNCTION pg_temp.due() RETURNS void LANGUAGE sql AS $$
	UPDATE sec.delivery_index SET due_at = now() WHERE courier_id IS NULL; UPDATE sec.endpoint_queue SET wake_at = now(); $$;

-- --- publishing ---
CREATE TEMP TABLE before AS SELECT o.id, o.org_id, o.sequence, o.type FROM app.outbox AS o;
SELECT is(pg_temp.publish() - 'published', '{"leads": true, "failure": null}', 'the first courier leads');
SELECT is((SELECT count(*)::int FROM app.events), (SELECT count(*)::int FROM before), 'everything is published');
SELECT is_empty('SELECT FROM app.outbox', 'and leaves the outbox');
SELECT is_empty('SELECT FROM sec.outbox_index', 'its index too');
SELECT results_eq('SELECT e.id FROM app.events AS e ORDER BY e.org_id, e.sequence', 'SELECT b.id FROM before AS b ORDER BY b.org_id, b.sequence', 'in the order of the outbox');
SELECT is((SELECT array_agg(DISTINCT e.sequence ORDER BY e.sequence) FROM app.events AS e WHERE e.org_id = pg_temp.org('b')),
	(SELECT array_agg(n) FROM generate_series(1::bigint, (SELECT count(*) FROM before AS b WHERE b.org_id = pg_temp.org('b'))) AS n), 'counted from 1 without gaps');
SELECT is(pg_temp.publish(2), '{"leads": false, "published": 0, "failure": null}', 'a second one does not');
SELECT is(pg_temp.publish(), '{"leads": true, "published": 0, "failure": null}', 'nothing twice');
UPDATE sec.publisher SET expires_at = now() - '1 s'::interval;
SELECT pg_temp.touch('a', 'one');
SELECT is(pg_temp.publish(2), '{"leads": true, "published": 1, "failure": null}', 'until the first has been silent for long');
SELECT is(pg_temp.publish(), '{"leads": false, "published": 0, "failure": null}', 'who then leads no more');
SELECT pg_temp.as_courier(format('SELECT sec.courier_leave(%L)', pg_temp.courier(2)));
SELECT is(pg_temp.publish(3) ->> 'leads', 'true', 'who leaves hands over at once');
SELECT pg_temp.as_courier(format('SELECT sec.courier_leave(%L)', pg_temp.courier(3)));
SELECT is(pg_temp.publish(2) ->> 'leads', 'true', 'to whoever asks');
SELECT throws_ok($$ UPDATE app.events SET type = 'a.b' $$, 'SLP90', NULL, 'events are not changed');
SELECT throws_ok($$ DELETE FROM app.events $$, 'SLP90', NULL, 'nor deleted while they are young');
SELECT is((SELECT e.printer_id FROM app.events AS e ORDER BY e.org_id = pg_temp.org('a') DESC, e.sequence DESC LIMIT 1), pg_temp.id('a_printer'), 'an event knows its printer');
SELECT is_empty($$ SELECT e.type FROM app.events AS e WHERE NOT EXISTS (SELECT FROM app.event_types AS t WHERE t.type = e.type AND t.capability = e.capability) $$,
	'every event is in the catalogue');

-- --- streams ---
SELECT is(jsonb_array_length(pg_temp.as_courier(format('SELECT * FROM sec.stream_work(%L, 1000)', pg_temp.courier(1)))), 0, 'only who leads tells nginx');
CREATE TEMP TABLE work AS SELECT x.* FROM jsonb_to_recordset(pg_temp.as_courier(format('SELECT * FROM sec.stream_work(%L, 1000)', pg_temp.courier(2))))
	AS x (n bigint, kind text, channels text, payload text);
SELECT is((SELECT count(*)::int FROM work AS w WHERE w.payload::jsonb ? 'sequence'), (SELECT count(*)::int FROM app.events), 'all events');
SELECT is((SELECT array_agg(m ORDER BY n) FROM json_object_keys((SELECT payload::json FROM work WHERE payload LIKE '%"sequence"%' LIMIT 1)) WITH ORDINALITY AS k (m, n)),
	'{id,type,timestamp,organization_id,sequence,data}'::text[], 'the payload and its order');
SELECT is((SELECT w.channels FROM work AS w WHERE w.payload::jsonb ->> 'type' = 'printer.updated' ORDER BY w.n DESC LIMIT 1),
	format('%s.operations-read,printer.%s', pg_temp.org('a'), pg_temp.id('a_printer')), 'to its organisation and its printer');
SELECT pg_temp.as_courier(format('SELECT sec.stream_done(%L, %L)', pg_temp.courier(2), (SELECT array_agg(n) FROM work)));
SELECT is_empty('SELECT FROM sec.stream_queue', 'told');
SELECT pg_temp.as_api('a-all', format('UPDATE app.api_keys SET capabilities = ''{operations.read}'' WHERE id = %L RETURNING id', pg_temp.add_key('a', 'a-other', '{operations.read,queue.manage}')));
SELECT is((SELECT array_agg(q.kind || ' ' || split_part(q.channels, '.', 1)) FROM sec.stream_queue AS q), '{"end key"}', 'a key that loses something ends its streams');
SELECT pg_temp.add_key('a', 'a-brief', '{operations.read}', expires_at => now() + '1 s'::interval);
UPDATE sec.publisher SET keys_looked_at = now() - '1 min'::interval;
UPDATE sec.key_index SET expires_at = now() WHERE expires_at IS NOT NULL;
SELECT pg_temp.publish(2);
SELECT is((SELECT count(*)::int FROM sec.stream_queue AS q WHERE q.kind = 'end'), 2, 'so does one whose time is over');
CREATE FUNCTION pg_temp.open(key text, args text) RETURNS jsonb LANGUAGE sql AS $$ SELECT pg_temp.as_api(key, format('SELECT * FROM sec.stream_open(%s)', args)) -> 0 $$;
SELECT is(split_part(pg_temp.open('a-other', 'NULL, NULL, NULL, NULL, 10') ->> 'channels', ',', 1), pg_temp.org('a') || '.operations-read', 'a stream of what the key may see');
SELECT is(pg_temp.open('a-other', 'NULL, NULL, NULL, 0, 1') - '{channels,snapshot,missed,principal,key}'::text[],
	jsonb_build_object('gap', true, 'sequence', (SELECT last FROM sec.event_heads WHERE org_id = pg_temp.org('a'))), 'a gap is said');
SELECT is((SELECT count(*)::int FROM jsonb_array_elements_text(pg_temp.open('a-all', format('NULL, NULL, NULL, %s, 1000', (SELECT last FROM sec.event_heads
	WHERE org_id = pg_temp.org('a')))) -> 'missed')), least(100, (SELECT count(*)::int FROM app.events WHERE org_id = pg_temp.org('a'))), 'what was published a moment before comes again');
SELECT is((SELECT count(*)::int FROM jsonb_array_elements_text(pg_temp.open('a-other', 'NULL, NULL, NULL, 0, 1000') -> 'missed') AS m WHERE m::jsonb ->> 'type' LIKE 'api_key.%'),
	0, 'nothing missed that it may not see');
SELECT is(jsonb_array_length(pg_temp.open('a-all', 'NULL, NULL, NULL, 0, 1000') -> 'missed'), (SELECT count(*)::int FROM app.events WHERE org_id = pg_temp.org('a')), 'all that was missed');
SELECT throws_ok(format('SELECT pg_temp.open(''a-all'', ''''''%s'''', NULL, NULL, NULL, 1'')', pg_temp.id('b_printer')), 'SLP10', NULL, 'no stream of another''s printer');
SELECT pg_temp.add_key('a', 'a-one', '{operations.read,integrations.manage}', printer_ids => ARRAY[pg_temp.id('a_printer')]);
SELECT is(split_part(pg_temp.open('a-one', 'NULL, NULL, NULL, NULL, 10') ->> 'channels', ',', 1), 'printer.' || pg_temp.id('a_printer'), 'a key of printers has their channels alone');

-- --- webhooks: what they get ---
SELECT is((SELECT count(*)::int FROM app.webhook_deliveries WHERE webhook_id = pg_temp.id('a_webhook')), (SELECT count(*)::int FROM app.events WHERE org_id = pg_temp.org('a')),
	'a webhook for everything gets everything');
CREATE TEMP TABLE hooks AS SELECT pg_temp.hook('a-all') AS everything, pg_temp.hook('a-all', '|''{printer.*}''') AS printers, pg_temp.hook('a-all', '|''{file.ready}''') AS files,
	pg_temp.hook('a-one') AS bound, pg_temp.hook('a-all', ', filters|''{*}'', ''{"printer_ids": []}''') AS unfiltered,
	pg_temp.hook('a-all', format(', filters|''{*}'', ''{"printer_ids": ["%s"]}''', pg_temp.id('b_printer'))) AS elsewhere,
	pg_temp.hook('a-all', format(', filters|''{*}'', ''{"printer_group_ids": ["%s"]}''', pg_temp.id('a_group'))) AS grouped, pg_temp.hook('a-all', ', enabled|''{*}'', false') AS off;
SELECT pg_temp.publish(2);
DO $$ BEGIN PERFORM pg_temp.finish(pg_temp.claim(), '{"status": 200}') FROM generate_series(1, 30); END $$;
SELECT pg_temp.touch('a', 'two');
SELECT pg_temp.as_api('a-all', 'INSERT INTO app.api_keys (name, prefix, key_hash) VALUES (''n'', ''p'', sha256(''nn'')) RETURNING id');
SELECT pg_temp.publish(2);
CREATE FUNCTION pg_temp.got(hook uuid) RETURNS text LANGUAGE sql AS
	$$ SELECT string_agg(d.event_type, ' ' ORDER BY d.sequence) FROM app.webhook_deliveries AS d WHERE d.webhook_id = hook AND d.status = 'queued' $$;
SELECT is(pg_temp.got(everything), 'printer.updated api_key.created', 'everything') FROM hooks;
SELECT is(pg_temp.got(printers), 'printer.updated', 'by a wildcard') FROM hooks;
SELECT is(pg_temp.got(files), NULL, 'by a type') FROM hooks;
SELECT is(pg_temp.got(bound), 'printer.updated', 'never more than who made it may see') FROM hooks;
SELECT is(pg_temp.got(unfiltered), 'printer.updated api_key.created', 'an empty filter is none') FROM hooks;
SELECT is(pg_temp.got(elsewhere), NULL, 'of other printers') FROM hooks;
SELECT is(pg_temp.got(grouped), 'printer.updated', 'of a group') FROM hooks;
SELECT is(pg_temp.got(off), NULL, 'switched off') FROM hooks;
SELECT throws_ok(format('SELECT pg_temp.as_api(''a-one'', %L)', format('UPDATE app.webhooks SET endpoint_url = ''https://evil.example/'' WHERE id = %L RETURNING id', everything)),
	'SLP24', NULL, 'who may see less may not turn it elsewhere') FROM hooks;
SELECT throws_ok(format('SELECT pg_temp.as_api(''a-one'', ''SELECT sec.webhook_rotate(''''%s'''', app.uuid7(), ''''x'''', NULL, ''''1 day'''')'')', everything), 'SLP24', NULL, 'nor rotate its secret') FROM hooks;

-- --- deliveries ---
DO $$ BEGIN PERFORM pg_temp.finish(pg_temp.claim(), '{"status": 200}') FROM generate_series(1, 30); END $$;
SELECT is((SELECT count(*)::int FROM app.webhook_deliveries WHERE status = 'queued'), 0, 'all is delivered');
SELECT is_empty('SELECT FROM sec.delivery_index', 'nothing is due any more');
DO $$ BEGIN FOR i IN 1 .. 12 LOOP PERFORM pg_temp.touch('a', 'n' || i); END LOOP; PERFORM pg_temp.publish(2); END $$;
CREATE TEMP TABLE claimed AS SELECT pg_temp.claim(1) AS one, pg_temp.claim(2) AS two;
SELECT is(jsonb_array_length(pg_temp.of(one, printers)), 10, 'at most ten at a time of an endpoint') FROM claimed, hooks;
SELECT is(jsonb_array_length(pg_temp.of(two, printers)), 0, 'whoever asks') FROM claimed, hooks;
SELECT is((SELECT count(DISTINCT c ->> 'id')::int FROM claimed, jsonb_array_elements(one || two) AS c), (SELECT jsonb_array_length(one || two) FROM claimed), 'nothing twice');
SELECT is((one -> 0 ->> 'body')::jsonb ->> 'organization_id', pg_temp.org('a')::text, 'whole bodies') FROM claimed;
SELECT is(pg_temp.finish(one, '{"status": 200}', 2), 0, 'another''s result does not count') FROM claimed;
SELECT is(pg_temp.finish(one, '{"status": 200, "latency_ms": 20, "response_head": "ok", "signatures": 1}'), (SELECT jsonb_array_length(one) FROM claimed), 'one''s own does') FROM claimed;
SELECT is(pg_temp.finish(one, '{"status": 200}'), 0, 'once') FROM claimed;
SELECT is(jsonb_array_length(pg_temp.of(pg_temp.claim(1, 100, '0 s'), printers)), 2, 'then the others') FROM hooks;
SELECT is(jsonb_array_length(pg_temp.of(pg_temp.claim(2), printers)), 2, 'and again when a lease has ended') FROM hooks;
DO $$ BEGIN PERFORM pg_temp.finish(pg_temp.claim(2), '{"status": 200}', 2) FROM generate_series(1, 9); END $$;
UPDATE sec.delivery_index SET due_at = now(), courier_id = NULL; UPDATE sec.endpoint_queue SET wake_at = now();
DO $$ BEGIN PERFORM pg_temp.finish(pg_temp.claim(2), '{"status": 200}', 2) FROM generate_series(1, 9); END $$;

-- Failures.
SELECT pg_temp.as_api('a-all', format('UPDATE app.webhooks SET max_attempts = 3, retry_backoff_seconds = 100 WHERE id = %L RETURNING id', printers)) FROM hooks;
SELECT pg_temp.touch('a', 'f1'); SELECT pg_temp.publish(2);
CREATE FUNCTION pg_temp.fail(result jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	h CONSTANT uuid := (SELECT printers FROM hooks);
	c jsonb;
BEGIN
	PERFORM pg_temp.due();
	c := pg_temp.claim();
	PERFORM pg_temp.finish(pg_temp.of(c, h), result);
	PERFORM pg_temp.finish((SELECT coalesce(jsonb_agg(x), '[]') FROM jsonb_array_elements(c) AS x WHERE (x ->> 'endpoint_id')::uuid <> h), '{"status": 200}');
	RETURN (SELECT jsonb_build_object('status', d.status, 'attempts', d.attempts, 'error', d.last_error, 'wait', CASE WHEN d.next_attempt_at IS NOT NULL
			THEN round(extract(epoch FROM d.next_attempt_at - app.now()) / 100) END)
		FROM app.webhook_deliveries AS d WHERE d.webhook_id = h ORDER BY d.created_at DESC, d.id DESC LIMIT 1);
END
$$;
SELECT is(pg_temp.fail('{"status": 500}'), '{"status": "queued", "attempts": 1, "error": "http_500", "wait": 1}', 'a first failure: once more after the backoff');
SELECT is(pg_temp.fail('{"error": "timeout", "retry_after_s": 900}'), '{"status": "queued", "attempts": 2, "error": "timeout", "wait": 9}', 'as long as the receiver says');
SELECT is((SELECT s.consecutive_failures FROM app.webhook_status AS s, hooks WHERE s.webhook_id = printers), 2, 'it is counted');
SELECT is(pg_temp.fail('{"status": 302, "error": "http_302"}'), '{"status": "failed", "attempts": 3, "error": "http_302", "wait": null}', 'until its attempts are used up');
SELECT throws_ok($$ UPDATE app.webhook_deliveries SET status = 'queued', finished_at = NULL WHERE status = 'failed' $$, 'SLP44', NULL, 'what has ended has ended');
SELECT is((pg_temp.as_api('a-all', format('SELECT sec.webhook_replay(%L, %L) AS id', (SELECT d.id FROM app.webhook_deliveries AS d WHERE d.status = 'failed' LIMIT 1), set_config('t.again', app.uuid7()::text, true)))
	-> 0 ->> 'id')::uuid, pg_temp.id('again'), 'a replay');
SELECT is((SELECT d.event_id FROM app.webhook_deliveries AS d WHERE d.id = pg_temp.id('again')), (SELECT d.event_id FROM app.webhook_deliveries AS d WHERE d.status = 'failed' LIMIT 1),
	'is of the same event');
SELECT is(pg_temp.as_api('b-all', format('SELECT sec.webhook_replay(%L, app.uuid7()) AS id', pg_temp.id('again'))), '[{"id": null}]', 'of one''s own deliveries alone');
SELECT is(pg_temp.as_api('a-all', format('SELECT recovered, more FROM sec.webhook_recover(%L, ''-infinity'')', printers)), '[{"recovered": 0, "more": false}]',
	'nothing to recover while it waits') FROM hooks;
SELECT is(pg_temp.fail('{"status": 400, "permanent": true}') - 'error', '{"status": "failed", "attempts": 1, "wait": null}', 'some failures are for good');
SELECT is(pg_temp.as_api('a-all', format('SELECT recovered, more FROM sec.webhook_recover(%L, ''-infinity'')', printers)), '[{"recovered": 1, "more": false}]', 'recover') FROM hooks;
SELECT is(pg_temp.fail('{"status": 200}') - '{error,wait}'::text[], '{"status": "delivered", "attempts": 1}', 'and it is delivered');
SELECT is((SELECT concat_ws(' ', w.status, w.consecutive_failures, w.queued) FROM app.webhook_rows AS w, hooks WHERE w.id = printers), 'active 0 0', 'all is well again');
SELECT is((SELECT min(app.retry_wait(NULL, 1, NULL)) >= '4 s' AND max(app.retry_wait(NULL, 1, NULL)) <= '6 s' FROM generate_series(1, 50)), true, 'the standard''s first wait');
SELECT is((SELECT max(app.retry_wait(86400, 15, NULL)) <= '28:48:00' FROM generate_series(1, 50)), true, 'a day at most');

-- Ends.
SELECT pg_temp.as_api('a-all', format('UPDATE app.webhooks SET notification_email = ''ops@example.com'' WHERE id = %L RETURNING id', printers)) FROM hooks;
SELECT pg_temp.touch('a', 'g1'); SELECT pg_temp.publish(2);
SELECT is(pg_temp.fail('{"status": 500}') ->> 'status', 'queued', 'it fails');
UPDATE app.webhook_status AS s SET failing_since = app.now() - '5 days'::interval FROM hooks WHERE s.webhook_id = printers;
SELECT is(pg_temp.fail('{"status": 500}') ->> 'status', 'queued', 'for five days');
SELECT is((SELECT w.status || ' ' || w.disabled_reason FROM app.webhook_rows AS w, hooks WHERE w.id = printers), 'disabled failing', 'and is switched off');
SELECT is((SELECT o.data - 'failing_since' FROM app.outbox AS o WHERE o.type = 'webhook.disabled'), jsonb_build_object('webhook_id', printers, 'name', 'h', 'reason', 'failing'), 'an event') FROM hooks;
SELECT is((SELECT m.emails FROM app.notification_messages AS m, hooks WHERE m.webhook_id = printers), '{ops@example.com}', 'and a mail');
SELECT pg_temp.due();
SELECT is(jsonb_array_length(pg_temp.of(pg_temp.claim(), printers)), 0, 'nothing more is sent') FROM hooks;
SELECT is((SELECT d.last_error FROM app.webhook_deliveries AS d, hooks WHERE d.webhook_id = printers ORDER BY d.created_at DESC, d.id DESC LIMIT 1), 'webhook_disabled', 'what waited has failed');
SELECT throws_ok(format('SELECT pg_temp.as_api(''a-all'', ''SELECT sec.webhook_recover(''''%s'''', now())'')', printers), 'SLP70', NULL, 'no recovery while it is off') FROM hooks;
SELECT pg_temp.as_api('a-all', format('UPDATE app.webhooks SET enabled = true WHERE id = %L RETURNING id', printers)) FROM hooks;
SELECT is((SELECT concat_ws(' ', w.status, w.consecutive_failures) FROM app.webhook_rows AS w, hooks WHERE w.id = printers), 'active 0', 'switched on it begins anew');
SELECT pg_temp.touch('a', 'g2'); SELECT pg_temp.publish(2);
SELECT is(pg_temp.fail('{"status": 410}') ->> 'status', 'failed', '410');
SELECT is((SELECT w.disabled_reason FROM app.webhook_rows AS w, hooks WHERE w.id = printers), 'gone', 'switches it off at once');
SELECT isnt(pg_temp.as_api('a-all', format('SELECT sec.webhook_test(%L, app.uuid7(), ''printer.offline'') AS id', printers)) -> 0 ->> 'id', NULL, 'a test goes out all the same') FROM hooks;
SELECT pg_temp.due();
SELECT is(jsonb_array_length(pg_temp.of(pg_temp.claim(), printers)), 1, 'to see whether it works again') FROM hooks;
SELECT throws_ok(format('SELECT pg_temp.as_api(''a-all'', ''SELECT sec.webhook_test(''''%s'''', app.uuid7(), ''''no.such'''')'')', printers), 'SLP25', NULL, 'of types that exist') FROM hooks;
SELECT pg_temp.as_api('a-all', format('UPDATE app.webhooks SET deleted_at = app.now() WHERE id = %L RETURNING id', everything)) FROM hooks;
SELECT is(pg_temp.as_api('a-all', format('SELECT sec.webhook_test(%L, app.uuid7(), ''printer.offline'') AS id', everything)), '[{"id": null}]', 'none of a deleted one') FROM hooks;

-- Secrets.
DO $$ BEGIN PERFORM pg_temp.as_api('a-all', format('SELECT sec.webhook_rotate(%L, %L, ''s'', NULL, ''1 day'')', pg_temp.id('a_webhook'), pg_temp.courier(i))) FROM generate_series(101, 109) AS i; END $$;
SELECT throws_ok(format('SELECT pg_temp.as_api(''a-all'', ''SELECT sec.webhook_rotate(''''%s'''', app.uuid7(), ''''x'''', NULL, ''''1 day'''')'')', pg_temp.id('a_webhook')), 'SLP71', NULL, 'ten old secrets at most');
UPDATE app.webhook_secrets SET expires_at = app.now() WHERE id NOT IN (pg_temp.courier(108), pg_temp.courier(109));
SELECT pg_temp.touch('a', 's1'); SELECT pg_temp.publish(2);
SELECT is((SELECT array_agg(s ->> 'id' ORDER BY n) FROM jsonb_array_elements(pg_temp.of(pg_temp.claim(), pg_temp.id('a_webhook')) -> 0 -> 'secrets') WITH ORDINALITY AS x (s, n)),
	ARRAY[pg_temp.courier(109)::text, pg_temp.courier(108)::text], 'all that are good sign, the newest first');

-- --- what is told by itself ---
SELECT sec.enter_org('a');
CREATE FUNCTION pg_temp.report(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	seen CONSTANT bigint := coalesce((SELECT max(sequence) FROM app.outbox), 0);
BEGIN
	EXECUTE replace(sql, '$p', quote_literal(pg_temp.id('a_printer')));
	RETURN (SELECT string_agg(concat_ws(' ', o.type, o.data ->> 'milestone', o.data ->> 'code', o.data ->> 'status'), ', ' ORDER BY o.sequence) FROM app.outbox AS o WHERE o.sequence > seen);
END
$$;
UPDATE app.prints SET state = 'completed', ended_at = app.now() WHERE state = 'running';
SELECT is(pg_temp.report('INSERT INTO app.prints (org_id, id, printer_id, source, name, started_at) VALUES (app.org(), ''' || pg_temp.courier(200) || ''', $p, ''printer'', ''cube'', app.now())'),
	'print.started running', 'a print begins');
SELECT is(pg_temp.report(format('UPDATE app.printer_status SET print_id = %L, job = ''{"progress": 24}'' WHERE printer_id = $p', pg_temp.courier(200))), NULL, 'little is done');
SELECT is(pg_temp.report('UPDATE app.printer_status SET job = ''{"progress": 51}'' WHERE printer_id = $p'), 'print.progress 50 running', 'a half');
SELECT is(pg_temp.report('UPDATE app.printer_status SET job = ''{"progress": 10}'' WHERE printer_id = $p'), NULL, 'back');
SELECT is(pg_temp.report('UPDATE app.printer_status SET job = ''{"progress": 52}'' WHERE printer_id = $p'), NULL, 'and forth is not told twice');
SELECT is(pg_temp.report('UPDATE app.printer_status SET job = ''{"progress": 100}'' WHERE printer_id = $p'), 'print.progress 75 running', 'three quarters');
SELECT is(pg_temp.report(format('UPDATE app.prints SET state = ''failed'', ended_at = app.now() WHERE id = %L', pg_temp.courier(200))), 'print.failed failed', 'its end');
SELECT is(pg_temp.report('UPDATE app.printer_status SET errors = ''[{"code": "E1"}]'' WHERE printer_id = $p'), 'printer.error E1', 'an error');
SELECT is(pg_temp.report('UPDATE app.printer_status SET errors = ''[{"code": "E1", "message": "x"}, {"code": "E2"}]'' WHERE printer_id = $p'), 'printer.error E2', 'only what is new');
SELECT is(pg_temp.report('UPDATE app.printer_status SET errors = ''[]'' WHERE printer_id = $p'), NULL, 'not what has gone');

CREATE FUNCTION pg_temp.blocked() RETURNS int LANGUAGE sql AS $$ SELECT count(*)::int FROM app.outbox AS o WHERE o.type = 'queue_item.blocked' AND o.data ->> 'name' = 'Impossible' $$;
SELECT pg_temp.as_api('a-all', format('SELECT sec.queue_create(app.uuid7(), %L) AS id', jsonb_build_object('file_id', pg_temp.id('a_print_file'), 'name', 'Impossible',
	'copies', 2, 'requirements', jsonb_build_object('models', jsonb_build_array('P1S')))));
DO $$ BEGIN PERFORM sec.queue_tick(pg_temp.org('a')); PERFORM sec.queue_tick(NULL); PERFORM sec.queue_tick(pg_temp.org('a')); END $$;
SELECT is(pg_temp.blocked(), 2, 'what no printer can take is told, of each item');
UPDATE app.queue_needs SET told_at = NULL;
DO $$ BEGIN PERFORM sec.queue_tick(NULL); PERFORM sec.queue_tick(pg_temp.org('a')); END $$;
SELECT is(pg_temp.blocked(), 2, 'once');

-- --- rules ---
SELECT is(app.quiet_until('{"start": "22:00", "end": "07:00", "timezone": "Europe/Berlin"}', '2026-11-20T22:30:00Z'), '2026-11-21T06:00:00Z'::timestamptz, 'quiet over midnight');
SELECT is(app.quiet_until('{"start": "22:00", "end": "07:00", "timezone": "Europe/Berlin"}', '2026-11-20T05:59:59Z'), '2026-11-20T06:00:00Z'::timestamptz, 'quiet in the morning');
SELECT is(app.quiet_until('{"start": "22:00", "end": "07:00", "timezone": "Europe/Berlin"}', '2026-11-20T06:00:00Z'), NULL, 'and no longer');
SELECT is(app.quiet_until('{"start": "12:00", "end": "13:00", "timezone": "UTC"}', '2026-11-20T12:30:00Z'), '2026-11-20T13:00:00Z'::timestamptz, 'quiet at noon');
SELECT is(app.quiet_until('{"start": "22:00", "end": "07:00", "timezone": "Europe/Berlin"}', '2026-03-28T23:00:00Z'), '2026-03-29T05:00:00Z'::timestamptz, 'the night that is an hour short');
SELECT is(app.digest_due('{"every": "hour"}', '2026-11-20T12:30:00Z'), '2026-11-20T13:00:00Z'::timestamptz, 'each hour');
SELECT is(app.digest_due('{"every": "day", "at": "07:30", "timezone": "UTC"}', '2026-11-20T07:30:00Z'), '2026-11-21T07:30:00Z'::timestamptz, 'each day');
SELECT is(app.digest_due('{"every": "week", "at": "07:30", "weekday": 1, "timezone": "UTC"}', '2026-11-20T08:00:00Z'), '2026-11-23T07:30:00Z'::timestamptz, 'on Mondays');
SELECT is(app.digest_due('{"every": "week", "at": "07:30", "weekday": 5, "timezone": "UTC"}', '2026-11-20T08:00:00Z'), '2026-11-27T07:30:00Z'::timestamptz, 'a week later when it is over');
CREATE FUNCTION pg_temp.rule(more text, given text) RETURNS uuid LANGUAGE sql AS $$
	SELECT (pg_temp.as_api('a-all', format('INSERT INTO app.notification_rules (name, events, channel, emails%s) VALUES (''Ops'', ''{printer.*}'', ''email'', ''{ops@example.com}''%s)
		RETURNING id', more, given)) -> 0 ->> 'id')::uuid $$;
SELECT pg_temp.publish(2);
CREATE TEMP TABLE rules AS SELECT pg_temp.rule('', '') AS plain, pg_temp.rule(', throttle_seconds', ', 600') AS slow, pg_temp.rule(', min_severity', ', ''critical''') AS critical,
	pg_temp.rule(', digest', ', ''{"every": "day", "at": "00:00"}''') AS daily,
	pg_temp.rule(', quiet_hours', format(', ''{"start": "%s", "end": "%s", "timezone": "UTC", "except_critical": true}''', to_char(now() AT TIME ZONE 'UTC' - '1 hour'::interval, 'HH24:MI'),
		to_char(now() AT TIME ZONE 'UTC' + '2 hours'::interval, 'HH24:MI'))) AS quiet;
SELECT pg_temp.touch('a', 'r1'); SELECT pg_temp.touch('a', 'r2'); SELECT pg_temp.publish(2);
CREATE FUNCTION pg_temp.said(rule uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', m.status, m.events, CASE WHEN m.due_at <= app.now() THEN 'now' ELSE 'later' END), ', ' ORDER BY m.created_at, m.id)
		FROM app.notification_message_rows AS m WHERE m.rule_id = said.rule $$;
SELECT is(pg_temp.said(plain), 'queued 2 now', 'what happens together is told together') FROM rules;
SELECT is(pg_temp.said(slow), 'queued 2 now', 'the first message is not held back') FROM rules;
SELECT is(pg_temp.said(critical), NULL, 'too little') FROM rules;
SELECT is(pg_temp.said(daily), 'queued 2 later', 'for the digest') FROM rules;
SELECT is(pg_temp.said(quiet), 'queued 2 later', 'for after the quiet hours') FROM rules;
DO $$ BEGIN PERFORM pg_temp.finish(pg_temp.claim(), '{"status": null}') FROM generate_series(1, 9); END $$;
SELECT pg_temp.touch('a', 'r3'); SELECT pg_temp.publish(2);
SELECT is(pg_temp.said(plain), 'delivered 2 now, queued 1 now', 'told') FROM rules;
SELECT is(pg_temp.said(slow), 'delivered 2 now, queued 1 later', 'the brake') FROM rules;
SELECT is(pg_temp.said(daily), 'queued 3 later', 'gathered') FROM rules;
SELECT sec.enter_org('a');
UPDATE app.printer_status SET errors = '[{"code": "E9", "message": "<b>hot</b>"}]' WHERE printer_id = pg_temp.id('a_printer');
SELECT pg_temp.publish(2);
SELECT is(pg_temp.said(critical), 'queued 1 now', 'bad enough') FROM rules;
SELECT is(pg_temp.said(quiet), 'queued 4 now', 'what is critical waits for no morning') FROM rules;
SELECT is((SELECT c -> 'content' ->> 'subject' FROM jsonb_array_elements(pg_temp.of(pg_temp.claim(), critical)) AS c), 'Printer of a: <b>hot</b>', 'what it says') FROM rules;
SELECT is((SELECT count(*)::int FROM app.notifications AS n WHERE n.org_id = pg_temp.org('a') AND n.data ->> 'code' = 'E9'), 1, 'and in the inbox');
SELECT is((SELECT n.title FROM app.notifications AS n WHERE n.org_id = pg_temp.org('a') AND n.data ->> 'code' = 'E9'), 'Printer of a: <b>hot</b>', 'with its title');
SELECT isnt(pg_temp.as_api('a-all', format('SELECT sec.notification_test(%L, app.uuid7()) AS id', plain)) -> 0 ->> 'id', NULL, 'a test') FROM rules;
SELECT is(pg_temp.as_api('b-all', format('SELECT sec.notification_test(%L, app.uuid7()) AS id', plain)), '[{"id": null}]', 'of one''s own rules') FROM rules;
SELECT pg_temp.as_api('a-all', format('DELETE FROM app.notification_rules WHERE id = %L RETURNING id', slow)) FROM rules;
SELECT is_empty(format('SELECT FROM sec.delivery_index WHERE endpoint_id = %L', slow), 'a rule takes what it had to say with it') FROM rules;
SELECT throws_ok(format('SELECT pg_temp.as_api(''a-one'', %L)', format('DELETE FROM app.notification_rules WHERE id = %L RETURNING id', plain)), 'SLP24', NULL, 'not by who may see less') FROM rules;

-- --- forgetting ---
SET LOCAL app.clock_offset = '31 days';
DO $$ DECLARE after uuid; BEGIN
	FOR i IN 1 .. 5 LOOP
		SELECT p.next INTO after FROM sec.events_prune(after, 1000) AS p;
		EXIT WHEN after IS NULL;
	END LOOP;
END $$;
SELECT is_empty('SELECT FROM app.events', 'after 30 days events are gone');
SELECT is_empty($$ SELECT FROM app.webhook_deliveries WHERE status <> 'queued' $$, 'and what was delivered');
SELECT is(pg_temp.as_api('a-all', 'SELECT sec.events_kept_after() = (SELECT h.last FROM (SELECT sec.events_kept_after() AS last) AS h) AS same') -> 0 -> 'same', 'true', 'readers are told');
SELECT is((pg_temp.as_api('a-all', 'SELECT sec.events_kept_after() AS n') -> 0 ->> 'n')::bigint, (SELECT last FROM sec.event_heads WHERE org_id = pg_temp.org('a')), 'from where on');
SELECT * FROM finish();
ROLLBACK;
