-- The queue: matching reason by reason, moves and what forbids them, and what organisations see of each other.
BEGIN;
\ir world.psql
SELECT no_plan();

CREATE FUNCTION pg_temp.facts(more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT '{"id": "01a22345-0000-7000-8000-000000000001", "protocol": "bambu", "model": "X1C", "model_key": "x1c", "upload": true, "ams": true, "ams_seen": true,
		"bed": {"x_mm": 256, "y_mm": 256, "z_mm": 250}, "nozzles": [{"diameter_mm": 0.4, "material": "hardened_steel"}], "enclosure": true,
		"max": {"nozzle_c": 300, "bed_c": 110}, "tags": ["a", "b"], "groups": ["01a22345-0000-7000-8000-000000000009"],
		"slots": [{"unit": 0, "slot": 0, "material": "PLA", "color": "#FF0000FF"}, {"unit": 0, "slot": 1, "material": "PLA Basic", "color": "#00FF00FF"},
			{"unit": 0, "slot": 2, "material": "PETG", "color": null}]}'::jsonb || more
$$;
CREATE FUNCTION pg_temp.file(more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_array('{"n": 0, "models": null, "kind": "gcode_3mf", "model": "Bambu Lab X1 Carbon", "model_key": "x1c", "nozzle": 0.4, "size": {"z_mm": 40},
		"temperatures": {"nozzle_c": 220}, "slots": [{"material": "PLA", "color": "#F00000FF"}]}'::jsonb || more)
$$;
-- "state: code code …", with `!` behind hard ones.
CREATE FUNCTION pg_temp.verdict(req jsonb, variants jsonb DEFAULT pg_temp.file(), facts jsonb DEFAULT pg_temp.facts()) RETURNS text LANGUAGE sql AS $$
	SELECT m.state || ':' || coalesce((SELECT string_agg(' ' || (r ->> 'code') || CASE r ->> 'severity' WHEN 'hard' THEN '!' ELSE '' END, '' ORDER BY n)
			FROM jsonb_array_elements(m.reasons) WITH ORDINALITY AS x (r, n)), '')
		FROM app.queue_match(jsonb_build_object('req', req, 'variants', variants), facts) AS m
$$;

SELECT is(pg_temp.verdict(req, variants, facts), wanted, what) FROM (VALUES
	('{}'::jsonb, pg_temp.file(), pg_temp.facts(), 'eligible:', 'what fits'),
	('{}', '[]', pg_temp.facts(), 'eligible:', 'nothing to print asks for nothing'),
	('{"printer_ids": ["01a22345-0000-7000-8000-000000000001"]}', pg_temp.file(), pg_temp.facts(), 'eligible:', 'named'),
	('{"printer_ids": ["01a22345-0000-7000-8000-000000000002"]}', pg_temp.file(), pg_temp.facts(), 'blocked: printer_not_targeted!', 'another is named'),
	('{"printer_ids": ["01a22345-0000-7000-8000-000000000002"], "models": ["x1c"]}', pg_temp.file(), pg_temp.facts(), 'eligible:', 'one of the three is enough'),
	('{"models": ["P1S"]}', pg_temp.file(), pg_temp.facts(), 'blocked: model_mismatch!', 'another model'),
	('{"group_ids": ["01a22345-0000-7000-8000-000000000009"]}', pg_temp.file(), pg_temp.facts(), 'eligible:', 'of the group'),
	('{"group_ids": ["01a22345-0000-7000-8000-000000000008"]}', pg_temp.file(), pg_temp.facts(), 'blocked: group_mismatch!', 'of another group'),
	('{"tags": ["b"]}', pg_temp.file(), pg_temp.facts(), 'eligible:', 'has the tag'),
	('{"tags": ["a", "c"]}', pg_temp.file(), pg_temp.facts(), 'blocked: missing_tags!', 'lacks one of the tags'),
	('{}', pg_temp.file('{"kind": "bgcode"}'), pg_temp.facts(), 'blocked: file_format_mismatch!', 'a kind it does not print'),
	('{}', pg_temp.file('{"kind": "gcode"}'), pg_temp.facts(), 'eligible:', 'an X1 prints plain G-code'),
	('{}', pg_temp.file('{"kind": "gcode"}'), pg_temp.facts('{"model": "A1", "model_key": "a1"}'), 'blocked: file_format_mismatch!', 'an A1 does not'),
	('{}', pg_temp.file(), pg_temp.facts('{"upload": false}'), 'blocked: protocol_unsupported!', 'a provider without uploads'),
	('{}', pg_temp.file('{"model": "Bambu Lab P1S", "model_key": "p1s"}'), pg_temp.facts(), 'blocked: model_mismatch!', 'sliced for another known model'),
	('{}', pg_temp.file('{"model": "MK4", "model_key": "mk4"}'), pg_temp.facts(), 'blocked: model_mismatch!', 'of another maker'),
	('{}', pg_temp.file('{"model": "Homemade", "model_key": "homemade"}'), pg_temp.facts(), 'unknown: model_unverified', 'sliced for something that nobody knows'),
	('{}', pg_temp.file('{"models": ["p1s"]}'), pg_temp.facts(), 'blocked: model_mismatch!', 'no variant for it'),
	('{}', pg_temp.file('{"model": "Bambu Lab P1S", "model_key": "p1s"}') || pg_temp.file('{"n": 1, "models": ["x1c"]}'), pg_temp.facts(), 'eligible:', 'the variant for it'),
	('{}', pg_temp.file(), pg_temp.facts('{"nozzles": [{"diameter_mm": 0.6}]}'), 'blocked: nozzle_mismatch!', 'another nozzle than the file''s'),
	('{}', pg_temp.file(), pg_temp.facts('{"nozzles": [{"diameter_mm": 0.405}]}'), 'eligible:', 'nearly the same nozzle'),
	('{}', pg_temp.file(), pg_temp.facts('{"nozzles": []}'), 'unknown: nozzle_unknown', 'nobody knows the nozzle'),
	('{"nozzle_diameter_mm": 0.6}', pg_temp.file(), pg_temp.facts(), 'blocked: nozzle_mismatch!', 'what is asked for wins over the file'),
	('{"nozzle_diameter_mm": 0.4, "nozzle_material": "brass"}', pg_temp.file(), pg_temp.facts(), 'blocked: nozzle_mismatch!', 'of another material'),
	('{}', pg_temp.file('{"size": {"z_mm": 251}}'), pg_temp.facts(), 'blocked: volume_exceeded!', 'too high'),
	('{"bed_size": {"x_mm": 300}}', pg_temp.file(), pg_temp.facts(), 'blocked: volume_exceeded!', 'too wide'),
	('{"bed_size": {"x_mm": 30}}', pg_temp.file(), pg_temp.facts('{"bed": null}'), 'unknown: volume_unknown', 'nobody knows how wide it is'),
	('{}', pg_temp.file('{"temperatures": {"nozzle_c": 320}}'), pg_temp.facts(), 'blocked: temp_exceeded!', 'too hot'),
	('{"temperatures": {"chamber_c": 60}}', pg_temp.file(), pg_temp.facts(), 'unknown: temp_unknown', 'nobody knows how hot it gets'),
	('{"enclosure": true}', pg_temp.file(), pg_temp.facts('{"enclosure": false}'), 'blocked: enclosure_missing!', 'open'),
	('{"enclosure": true}', pg_temp.file(), pg_temp.facts('{"enclosure": null}'), 'unknown: enclosure_unknown', 'nobody knows'),
	('{"bed_type": "textured"}', pg_temp.file(), pg_temp.facts(), 'unknown: bed_plate_unknown', 'nobody knows which plate lies there'),
	('{}', pg_temp.file('{"slots": [{"material": "ABS"}]}'), pg_temp.facts(), 'blocked: material_mismatch!', 'another material'),
	('{}', pg_temp.file('{"slots": [{"material": "pla+"}, null, {"material": "petg"}]}'), pg_temp.facts(), 'eligible:', 'names of one material'),
	('{}', pg_temp.file(), pg_temp.facts('{"slots": [{"unit": 0, "slot": 0, "material": null, "color": null}]}'), 'unknown: material_unknown', 'a spool nobody knows'),
	('{}', pg_temp.file(), pg_temp.facts('{"slots": []}'), 'blocked: slot_missing!', 'nothing is loaded'),
	('{}', pg_temp.file(), pg_temp.facts('{"slots": [], "ams_seen": false}'), 'unknown: material_unknown', 'nothing has been told yet'),
	('{}', pg_temp.file(), pg_temp.facts('{"slots": [], "ams": false}'), 'unknown: material_unknown', 'a printer that tells nothing of spools'),
	('{"slots": [{"material": "PLA", "color": "#FF0000", "color_match": "exact"}]}', pg_temp.file(), pg_temp.facts(), 'eligible:', 'exactly the colour'),
	('{"slots": [{"material": "PLA", "color": "#FE0000", "color_match": "exact"}]}', pg_temp.file(), pg_temp.facts(), 'blocked: color_mismatch!', 'not exactly'),
	('{"slots": [{"material": "PLA", "color": "#D80028", "color_match": "similar"}]}', pg_temp.file(), pg_temp.facts(), 'eligible:', 'similar, just so'),
	('{"slots": [{"material": "PLA", "color": "#D60000", "color_match": "similar"}]}', pg_temp.file(), pg_temp.facts(), 'blocked: color_mismatch!', 'not similar any more'),
	('{"slots": [{"material": "PLA", "color": "#0000FF"}]}', pg_temp.file(), pg_temp.facts(), 'eligible:', 'a preference blocks nothing'),
	('{"slots": [{"material": "PETG", "color": "#0000FF", "color_match": "similar"}]}', pg_temp.file(), pg_temp.facts(), 'unknown: color_unknown', 'a colour nobody knows'),
	('{"slots": [{"material": "PLA", "minimum_mg": 1000}]}', pg_temp.file(), pg_temp.facts(), 'unknown: filament_unknown', 'how much is left never blocks'),
	('{"tags": ["c"], "enclosure": true}', pg_temp.file('{"model": "Homemade", "model_key": "homemade"}'), pg_temp.facts('{"enclosure": null}'),
		'blocked: missing_tags! model_unverified enclosure_unknown', 'all reasons are told')
	) AS t (req, variants, facts, wanted, what);
SELECT is((SELECT m.mapping FROM app.queue_match(jsonb_build_object('req', '{}'::jsonb, 'variants', pg_temp.file(
	'{"slots": [{"material": "PLA", "color": "#00F000"}, null, {"material": "PLA", "color": "#F00000"}]}')), pg_temp.facts()) AS m),
	'[{"unit": 0, "slot": 1}, null, {"unit": 0, "slot": 0}]', 'each filament comes from the slot of its colour');
SELECT is((SELECT m.misses FROM app.queue_match('{"req": {"slots": [{"material": "PLA", "color": "#0000FF"}]}, "variants": []}', pg_temp.facts()) AS m), 1,
	'a preferred colour that is missing counts');

SELECT is(app.queue_in_window(w, t, z), wanted, what) FROM (VALUES
	('[]'::jsonb, '2026-11-23 12:00Z'::timestamptz, 'UTC', true, 'no windows: always'),
	('[{"days": ["mon"], "from": "08:00", "to": "16:00"}]', '2026-11-23 12:00Z', 'UTC', true, 'inside'),
	('[{"days": ["mon"], "from": "08:00", "to": "16:00"}]', '2026-11-23 16:00Z', 'UTC', false, 'its end is outside'),
	('[{"days": ["tue"], "from": "08:00", "to": "16:00"}]', '2026-11-23 12:00Z', 'UTC', false, 'another day'),
	('[{"days": ["mon"], "from": "22:00", "to": "06:00"}]', '2026-11-24 05:00Z', 'UTC', true, 'over midnight'),
	('[{"days": ["mon"], "from": "22:00", "to": "06:00"}]', '2026-11-23 05:00Z', 'UTC', false, 'but not the night before'),
	('[{"days": ["mon"], "from": "08:00", "to": "16:00"}]', '2026-11-23 22:30Z', 'Asia/Tokyo', false, 'in the zone it is Tuesday'),
	('[{"days": ["tue"], "from": "07:00", "to": "16:00"}]', '2026-11-23 22:30Z', 'Asia/Tokyo', true, 'of the settings')
	) AS t (w, t, z, wanted, what);

-- --- moves ---------------------------------------------------------------------------------------
CREATE FUNCTION pg_temp.api(sql text, slug text DEFAULT 'a') RETURNS jsonb LANGUAGE sql AS $$ SELECT pg_temp.as_api(slug || '-all', sql) $$;
-- A statement of nobody's, for organisation a: as the gateway's functions make them.
CREATE FUNCTION pg_temp.su(sql text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('app.org_id', (SELECT i.org_id::text FROM sec.org_index AS i WHERE i.slug = 'a'), true);
	EXECUTE sql;
	PERFORM set_config('app.org_id', '', true);
END
$$;
CREATE FUNCTION pg_temp.item(name text) RETURNS app.queue_items LANGUAGE sql AS $$ SELECT i FROM app.queue_items AS i WHERE i.id = pg_temp.id(item.name) $$;
CREATE FUNCTION pg_temp.make(name text, more jsonb DEFAULT '{}') RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.keep(name, pg_temp.api(format('SELECT sec.queue_create(app.uuid7(), %L) AS id',
		jsonb_build_object('file_id', pg_temp.id('a_print_file'), 'name', name) || more)))
$$;
CREATE FUNCTION pg_temp.act(name text, action text, args jsonb DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.api(format('SELECT sec.queue_act(%L, %L, %L)', pg_temp.id(name), action, args));
	RETURN (pg_temp.item(name)).state;
END
$$;
CREATE FUNCTION pg_temp.next() RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.api(format('SELECT * FROM sec.dispatch_next(%L)', pg_temp.id('a_printer'))) -> 0 $$;
CREATE FUNCTION pg_temp.printer(state text, connection text DEFAULT 'connected') RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.su(format('UPDATE app.printer_status SET state = %L, connection = jsonb_build_object(''state'', %L::text) WHERE printer_id = %L',
		printer.state, printer.connection, pg_temp.id('a_printer'))) $$;
-- The gateway ends the item's send.
CREATE FUNCTION pg_temp.sent(name text, outcome text, code text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	i app.queue_items := pg_temp.item(name);
BEGIN
	PERFORM sec.task_settle(t, outcome, NULL, CASE WHEN code IS NOT NULL THEN jsonb_build_object('code', code, 'message', 'x') END)
		FROM sec.printer_tasks AS t WHERE t.job_id = i.operation_id;
	RETURN (pg_temp.item(name)).state;
END
$$;
CREATE FUNCTION pg_temp.printed(name text, outcome text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	i app.queue_items := pg_temp.item(name);
BEGIN
	PERFORM set_config('app.org_id', i.org_id::text, true);
	INSERT INTO app.prints (org_id, printer_id, source, operation_id, started_at) VALUES (i.org_id, i.assigned_printer, 'send', i.operation_id, app.now());
	IF outcome <> 'running' THEN
		UPDATE app.prints SET state = outcome, ended_at = app.now() WHERE org_id = i.org_id AND operation_id = i.operation_id;
	END IF;
	PERFORM set_config('app.org_id', '', true);
	RETURN (pg_temp.item(name)).state;
END
$$;
SELECT pg_temp.su('DELETE FROM app.queue_items WHERE org_id = app.org()'); -- the world's

SELECT pg_temp.make('i1', '{"copies": 2}');
SELECT is((SELECT count(*) FROM app.queue_items WHERE name = 'i1'), 2::bigint, 'an item for each copy');
SELECT is((SELECT count(DISTINCT need_id) FROM app.queue_items WHERE name = 'i1'), 1::bigint, 'which want the same');
SELECT is(pg_temp.next() -> 'counts' -> 'reasons' -> 0 ->> 'code', 'material_unknown', 'what is soft is told too');
SELECT is((pg_temp.next() -> 'counts' ->> 'waiting')::int, 2, 'with how many wait');
SELECT ok(pg_temp.next() -> 'counts' -> 'reasons' @> '[{"code": "printer_offline", "items": 2}]', 'the printer is offline');
SELECT pg_temp.printer('printing');
SELECT ok(pg_temp.next() -> 'counts' -> 'reasons' @> '[{"code": "printer_busy"}]', 'the printer is busy');
SELECT pg_temp.printer('idle');
SELECT is(pg_temp.act('i1', 'hold'), 'queued', 'held');
SELECT isnt(pg_temp.next() ->> 'queue_item_id', pg_temp.id('i1')::text, 'a held item is passed over');
SELECT is((SELECT count(*) FROM app.queue_items WHERE state = 'dispatching'), 1::bigint, 'the other copy goes');
SELECT ok(pg_temp.next() -> 'counts' -> 'reasons' @> '[{"code": "printer_reserved"}]', 'nothing more while it has one');
SELECT throws_ok($$ SELECT pg_temp.act('i1', 'resolve', '{"outcome": "completed"}') $$, 'SLP61', NULL, 'only what is unknown is resolved');
SELECT throws_ok($$ SELECT pg_temp.su('UPDATE app.queue_items SET state = ''completed'', ended_at = now() WHERE org_id = app.org() AND state = ''queued''') $$, 'SLP61', NULL, 'no way leads there');
SELECT throws_ok($$ SELECT pg_temp.su('UPDATE app.queue_items SET generation = 7 WHERE org_id = app.org() AND state = ''queued''') $$, 'SLP61', NULL, 'a generation is one assignment');
SELECT throws_ok($$ UPDATE app.queue_dispatches SET generation = 7 $$, 'SLP90', NULL, 'dispatches stay as they are');
SELECT throws_ok(format($$ SELECT pg_temp.su('UPDATE app.queue_items SET state = ''assigned'', generation = generation + 1, assigned_printer = ''%s'' WHERE id = ''%s''') $$,
	pg_temp.id('a_printer'), pg_temp.id('i1')), '23505', NULL, 'no printer is held twice, whoever tries');

SELECT pg_temp.keep('i2', jsonb_build_array(jsonb_build_object('id', (SELECT id FROM app.queue_items WHERE state = 'dispatching'))));
SELECT is(pg_temp.sent('i2', 'failed', 'upload_failed'), 'queued', 'an upload that failed goes back');
SELECT is(((pg_temp.item('i2')).attempts, (pg_temp.item('i2')).last_error ->> 'code', (pg_temp.item('i2')).not_before > app.now())::text,
	'(1,upload_failed,t)', 'counted, told, and not at once again');
SELECT is(pg_temp.next() ->> 'queue_item_id', NULL, 'nothing before its time');
SELECT pg_temp.su('UPDATE app.queue_items SET not_before = NULL WHERE org_id = app.org()');
SELECT is(pg_temp.next() ->> 'queue_item_id', pg_temp.id('i2')::text, 'again');
SELECT is((pg_temp.item('i2')).generation, 2, 'under the next generation');
SELECT is(pg_temp.sent('i2', 'failed', 'printer_busy'), 'queued', 'a printer that was busy costs no attempt');
SELECT is((pg_temp.item('i2')).attempts, 1, 'indeed');
SELECT pg_temp.su('UPDATE app.queue_items SET not_before = NULL WHERE org_id = app.org()');
SELECT pg_temp.next();
SELECT is(pg_temp.sent('i2', 'failed', 'start_unknown'), 'start_unknown', 'nobody knows');
SELECT is(pg_temp.next() ->> 'queue_item_id', NULL, 'and nothing is sent again');
SELECT throws_ok($$ SELECT pg_temp.act('i2', 'resolve', '{"outcome": "printing"}') $$, 'SLP61', NULL, 'it does not print');
SELECT is(pg_temp.act('i2', 'resolve', '{"outcome": "not_started"}'), 'queued', 'somebody has looked');
SELECT pg_temp.next();
SELECT is((pg_temp.item('i2')).generation, 4, 'a generation each time');
SELECT is(pg_temp.sent('i2', 'succeeded'), 'printing', 'it prints');
SELECT is(pg_temp.printed('i2', 'running'), 'printing', 'seen by the gateway');
SELECT is((SELECT p.source FROM app.prints AS p WHERE p.id = (pg_temp.item('i2')).print_id), 'queue', 'a print of the queue');
SELECT pg_temp.printer('printing');
SELECT pg_temp.printer('paused');
SELECT is((pg_temp.item('i2')).state, 'paused', 'paused at the printer');
SELECT pg_temp.printer('printing');
SELECT is((pg_temp.item('i2')).state, 'printing', 'and on');
SELECT is(pg_temp.act('i2', 'cancel'), 'printing', 'cancelled, but the printer has to stop first');
SELECT is((SELECT params ->> 'command' FROM app.jobs WHERE kind = 'printer.command'), 'stop', 'which it is told');
SELECT pg_temp.su('UPDATE app.prints SET state = ''cancelled'', ended_at = app.now() WHERE id = (pg_temp.item(''i2'')).print_id');
SELECT is((pg_temp.item('i2')).state, 'cancelled', 'then it is');
SELECT pg_temp.printer('idle');
SELECT pg_temp.act('i1', 'release');
SELECT ok(pg_temp.next() -> 'counts' -> 'reasons' @> '[{"code": "plate_not_cleared"}]', 'the plate has to be cleared');
SELECT is((pg_temp.api(format('SELECT * FROM sec.clear_plate(%L)', pg_temp.id('a_printer'))) -> 0 ->> 'plate_cleared')::boolean, true, 'cleared');
SELECT is(pg_temp.next() ->> 'queue_item_id', pg_temp.id('i1')::text, 'the next');
SELECT is(pg_temp.printed('i1', 'completed'), 'completed', 'a print so short that it ended before the send did');
SELECT is(pg_temp.sent('i1', 'succeeded'), 'completed', 'which changes nothing then');
SELECT is(pg_temp.act('i2', 'retry'), 'queued', 'once more');
SELECT pg_temp.api(format('SELECT * FROM sec.clear_plate(%L)', pg_temp.id('a_printer')));

-- Attempts come to an end.
SELECT pg_temp.api('SELECT sec.queue_settings_update(''{"max_attempts": 1}'', NULL)');
SELECT pg_temp.next();
SELECT is(pg_temp.sent('i2', 'failed', 'no_space'), 'failed', 'after the last attempt it has failed');

-- Deleting the printer.
SELECT pg_temp.make('i3');
SELECT pg_temp.make('i4');
SELECT is(pg_temp.api(format('SELECT * FROM sec.queue_assign(%L, %L, false, false)', pg_temp.id('i3'), pg_temp.id('a_printer'))) -> 0 -> 'refused',
	'null', 'assigned');
SELECT is(pg_temp.api(format('SELECT * FROM sec.queue_assign(%L, %L, true, false)', pg_temp.id('i4'), pg_temp.id('a_printer'))) -> 0 -> 'refused' -> 0 ->> 'code',
	'printer_reserved', 'no printer for two, whoever insists');
SELECT is(pg_temp.next() ->> 'queue_item_id', pg_temp.id('i3')::text, 'what is assigned goes first');
SELECT pg_temp.api(format('UPDATE app.printers SET deleted_at = app.now() WHERE id = %L RETURNING id', pg_temp.id('a_printer')));
SELECT is((pg_temp.item('i3')).state, 'start_unknown', 'a deleted printer leaves a question');
SELECT is((pg_temp.item('i3')).last_error ->> 'code', 'printer_deleted', 'with its reason');
SELECT is(pg_temp.api(format('SELECT count(*) AS n FROM app.queue_eligible_rows WHERE _item_id = %L', pg_temp.id('i4'))) -> 0 ->> 'n', '0', 'and is matched with nothing');

-- Why it waited is still known when it has ended.
SELECT pg_temp.su('UPDATE app.queue_needs SET told = NULL, told_at = NULL WHERE org_id = app.org()');
SELECT pg_temp.su('SELECT sec.queue_tell_standing()');
SELECT pg_temp.act('i4', 'cancel');
SELECT is(pg_temp.api(format('SELECT event, detail ->> ''blocked'' AS n FROM app.queue_item_history(%L) WHERE event IN (''standing'', ''cancelled'')
	ORDER BY event', pg_temp.id('i4'))), '[{"event": "cancelled", "n": null}, {"event": "standing", "n": "0"}]', 'how it stood with the printers');

-- Another filament is loaded while an item waits for its turn on the printer it has.
SELECT pg_temp.keep('second', pg_temp.api('INSERT INTO app.printers (name, protocol, model) VALUES (''Second'', ''bambu'', ''X1C'') RETURNING id'));
CREATE FUNCTION pg_temp.load(material text) RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.su(format('UPDATE app.printer_status SET ams = %L WHERE printer_id = %L', jsonb_build_object('units', jsonb_build_array(
		jsonb_build_object('id', 0, 'slots', jsonb_build_array(jsonb_build_object('slot', 0, 'present', true, 'material', material)))), 'external', '[]'::jsonb),
		pg_temp.id('second'))) $$;
SELECT pg_temp.load('PLA');
SELECT pg_temp.make('i5');
SELECT is((SELECT m.state FROM app.queue_matches AS m WHERE m.printer_id = pg_temp.id('second') AND m.need_id = (pg_temp.item('i5')).need_id),
	'eligible', 'its filament is there');
SELECT pg_temp.api(format('SELECT * FROM sec.queue_assign(%L, %L, false, true)', pg_temp.id('i5'), pg_temp.id('second')));
SELECT is((pg_temp.item('i5')).state, 'assigned', 'assigned, the printer is away');
SELECT pg_temp.load('ABS');
SELECT is((SELECT m.reasons -> 0 ->> 'code' FROM app.queue_matches AS m WHERE m.printer_id = pg_temp.id('second')
	AND m.need_id = (pg_temp.item('i5')).need_id AND m.state = 'blocked'), 'material_mismatch', 'the match follows what is loaded');
SELECT pg_temp.su(format('UPDATE app.printer_status SET state = ''idle'', connection = ''{"state": "connected"}'' WHERE printer_id = %L', pg_temp.id('second')));
SELECT pg_temp.api(format('SELECT * FROM sec.dispatch_next(%L)', pg_temp.id('second')));
SELECT is(((pg_temp.item('i5')).state, (pg_temp.item('i5')).last_error ->> 'code')::text, '(queued,no_longer_eligible)', 'back, rather than printed with ABS');
SELECT pg_temp.load('PLA');
SELECT pg_temp.su(format('UPDATE app.queue_matches SET state = ''eligible'', reasons = ''[]'' WHERE printer_id = %L', pg_temp.id('second')));
SELECT pg_temp.su(format('ALTER TABLE app.printer_status DISABLE TRIGGER queue_slots'));
SELECT pg_temp.load('ABS');
SELECT is(pg_temp.api(format('SELECT * FROM sec.dispatch_next(%L)', pg_temp.id('second'))) -> 0 ->> 'queue_item_id', NULL,
	'a match that is out of date starts nothing');
SELECT is((SELECT m.state FROM app.queue_matches AS m WHERE m.printer_id = pg_temp.id('second') AND m.need_id = (pg_temp.item('i5')).need_id),
	'blocked', 'and is put right');
SELECT pg_temp.su(format('UPDATE app.queue_printers SET rematch_after = %L WHERE printer_id = %L', '00000000-0000-0000-0000-000000000000', pg_temp.id('second')));
SELECT pg_temp.load('PLA');
SELECT pg_temp.su('SELECT sec.queue_repair()');
SELECT is((SELECT m.state FROM app.queue_matches AS m WHERE m.printer_id = pg_temp.id('second') AND m.need_id = (pg_temp.item('i5')).need_id),
	'eligible', 'as it is by couriers, in steps');

-- A printer and a need that came at once, and neither saw the other.
SELECT pg_temp.su(format('DELETE FROM app.queue_matches WHERE printer_id = %L', pg_temp.id('second')));
SELECT pg_temp.su('SELECT sec.queue_repair()');
SELECT is((SELECT m.state FROM app.queue_matches AS m WHERE m.printer_id = pg_temp.id('second') AND m.need_id = (pg_temp.item('i5')).need_id),
	'eligible', 'are matched by couriers');

-- A printer that does not take the file is passed over, and asked again when somebody says so; when it was the only one, that was it.
SELECT pg_temp.api('SELECT sec.queue_settings_update(''{"max_attempts": 3}'', NULL)');
SELECT pg_temp.keep('third', pg_temp.api('INSERT INTO app.printers (name, protocol, model) VALUES (''Third'', ''bambu'', ''X1C'') RETURNING id'));
SELECT pg_temp.api(format('SELECT * FROM sec.dispatch_next(%L)', pg_temp.id('second')));
SELECT is(pg_temp.sent('i5', 'failed', 'upload_refused'), 'queued', 'refused by one of two');
SELECT pg_temp.su('UPDATE app.queue_items SET not_before = NULL WHERE org_id = app.org()');
SELECT ok(pg_temp.api(format('SELECT * FROM sec.dispatch_next(%L)', pg_temp.id('second'))) -> 0 -> 'counts' -> 'reasons' @> '[{"code": "printer_refused", "items": 1}]',
	'not once more');
SELECT is(pg_temp.api(format('SELECT v.state, v.reasons -> 0 ->> ''code'' AS code FROM app.queue_eligible_rows AS v WHERE v._item_id = %L AND v._printer_id = %L',
	pg_temp.id('i5'), pg_temp.id('second'))), '[{"code": "printer_refused", "state": "blocked"}]', 'and it is told');
SELECT pg_temp.act('i5', 'recompute');
SELECT pg_temp.api(format('UPDATE app.printers SET deleted_at = app.now() WHERE id = %L RETURNING id', pg_temp.id('third')));
SELECT is(pg_temp.api(format('SELECT * FROM sec.dispatch_next(%L)', pg_temp.id('second'))) -> 0 ->> 'queue_item_id', pg_temp.id('i5')::text, 'asked again');
SELECT is(pg_temp.sent('i5', 'failed', 'upload_refused'), 'failed', 'refused by the only one');
SELECT is(pg_temp.act('i5', 'retry'), 'queued', 'tried again');

-- Couriers send by themselves what may be sent, but nothing of an organisation that is suspended.
SELECT pg_temp.api('SELECT sec.queue_settings_update(''{"auto_dispatch": true}'', NULL)');
SELECT pg_temp.act('i5', 'release');
SELECT pg_temp.su('UPDATE app.organizations SET state = ''suspended'' WHERE slug = ''a''');
SELECT pg_temp.su('SELECT sec.queue_tick(NULL)');
SELECT is((pg_temp.item('i5')).state, 'queued', 'suspended: it waits');
SELECT pg_temp.su('UPDATE app.organizations SET state = ''active'' WHERE slug = ''a''');
SELECT pg_temp.su('SELECT sec.queue_tick(NULL)');
SELECT is((pg_temp.item('i5')).state, 'dispatching', 'active again: it goes');
SELECT is(pg_temp.sent('i5', 'cancelled'), 'cancelled', 'and is called off');
SELECT is(pg_temp.act('i5', 'retry'), 'queued', 'for what follows');
SELECT pg_temp.act('i5', 'hold');

-- What somebody sends past the queue.
SELECT pg_temp.api(format('SELECT sec.task_create(%L, ''printer.send'', %L, ''1 minute'', false) AS id', pg_temp.id('second'),
	jsonb_build_object('file_id', pg_temp.id('a_print_file'), 'start', true)));
SELECT ok(pg_temp.api(format('SELECT * FROM sec.dispatch_next(%L)', pg_temp.id('second'))) -> 0 -> 'counts' -> 'reasons' @> '[{"code": "printer_busy"}]',
	'a printer that is being sent a file is busy');

-- Others.
SELECT is(pg_temp.api(sql, 'b'), wanted, what) FROM (VALUES
	('SELECT count(*) AS n FROM app.queue_rows WHERE name LIKE ''i%''', '[{"n": 0}]'::jsonb, 'another organisation sees no item'),
	(format('SELECT sec.queue_act(%L, ''cancel'', ''{}'') AS id', pg_temp.id('i5')), '[{"id": null}]', 'cancels none'),
	(format('SELECT sec.queue_update(%L, ''{"name": "taken"}'', NULL) AS id', pg_temp.id('i5')), '[{"id": null}]', 'changes none'),
	(format('SELECT sec.queue_delete(%L, NULL) AS id', pg_temp.id('i5')), '[{"id": null}]', 'deletes none'),
	(format('SELECT sec.queue_duplicate(%L, app.uuid7()) AS id', pg_temp.id('i5')), '[{"id": null}]', 'copies none'),
	(format('SELECT * FROM sec.queue_assign(%L, %L, true, true)', pg_temp.id('i5'), pg_temp.id('b_printer')), '[]', 'assigns none'),
	(format('SELECT * FROM sec.dispatch_next(%L)', pg_temp.id('a_printer')), '[]', 'dispatches nothing on their printer'),
	(format('SELECT * FROM sec.clear_plate(%L)', pg_temp.id('a_printer')), '[]', 'clears no plate of theirs')
	) AS t (sql, wanted, what);
SELECT throws_ok(format($$ SELECT pg_temp.api('SELECT sec.queue_reorder(ARRAY[''%s'']::uuid[], NULL)', 'b') $$, pg_temp.id('i5')), 'SLP63', NULL,
	'reorders none of theirs');
SELECT results_eq(format($$ SELECT f.pointer, f.code FROM jsonb_to_recordset(pg_temp.api(
		'SELECT * FROM app.queue_faults(''{"file_id": "%s", "requirements": {"printer_ids": ["%s"], "group_ids": ["%s"]}}'', NULL)', 'b'))
		AS f (pointer text, code text) $$, pg_temp.id('a_print_file'), pg_temp.id('a_printer'), pg_temp.id('a_group')),
	$$ VALUES ('/file_id', 'unknown_reference'), ('/requirements/printer_ids/0', 'unknown_reference'), ('/requirements/group_ids/0', 'unknown_reference') $$,
	'and their files, printers and groups are nobody''s');
SELECT throws_ok($$ SELECT pg_temp.api('UPDATE app.queue_items SET state = ''completed'' RETURNING id') $$, '42501', NULL, 'the API writes no items itself');

SELECT * FROM finish();
ROLLBACK;
