-- What is refused of commands and sends, for whom, and what a batch makes of it.
BEGIN;
\ir world.psql
SELECT no_plan();

CREATE FUNCTION pg_temp.connect(slug text) RETURNS void LANGUAGE sql AS $$
	UPDATE app.printer_status AS s SET state = 'idle', connection = '{"state": "connected"}' WHERE s.printer_id = pg_temp.id(slug || '_printer')
$$;
CREATE FUNCTION pg_temp.allow(list text) RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.as_api('a-all', format('UPDATE app.printers SET gcode_allowlist = %L WHERE id = %L RETURNING id', list, pg_temp.id('a_printer')))
$$;
CREATE FUNCTION pg_temp.faults(command text, words text DEFAULT '[]', key text DEFAULT 'a-all') RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.as_api(key, format('SELECT f.pointer, f.code FROM app.command_faults(%L, %L, %L) AS f', pg_temp.id('a_printer'), command, words))
$$;
CREATE FUNCTION pg_temp.many(command text, words text DEFAULT '[]', printers text[] DEFAULT '{a_printer,b_printer}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.as_api('a-all', format('SELECT c.operation_id IS NOT NULL AS done, c.failure, c.faults #>> ''{0,pointer}'' AS at
		FROM app.command_many(%L, %L, %L, ''30 s'', false) AS c ORDER BY c.n',
		(SELECT array_agg(pg_temp.id(k) ORDER BY o) FROM unnest(printers) WITH ORDINALITY AS u (k, o)), command, words))
$$;

-- Lines of G-code.
SELECT is(pg_temp.faults('{"command": "gcode"}', '[{"line": 0, "word": "M112"}]'), '[]', 'without a list everything goes');
SELECT pg_temp.allow('{g28,PRINT_START}');
SELECT is(pg_temp.faults('{"command": "gcode"}', '[{"line": 0, "word": "G28"}, {"line": 3, "word": "print_start"}]'), '[]', 'in either case');
SELECT is(pg_temp.faults('{"command": "gcode"}', '[{"line": 0, "word": "G28"}, {"line": 1, "word": "G280"}]'),
	'[{"code": "gcode_not_allowed", "pointer": "/lines/1"}]', 'the line is named');
SELECT pg_temp.allow('{}');
SELECT is(jsonb_array_length(pg_temp.faults('{"command": "gcode"}', '[{"line": 0, "word": "G28"}]')), 1, 'an empty list is not the same as none');
SELECT is(pg_temp.faults('{"command": "gcode"}', '[{"line": 0, "word": "G28"}]', 'b-all'), '[]', 'another organisation learns nothing of it');

-- Temperatures.
SELECT pg_temp.as_api('a-all', format('UPDATE app.printers SET max_temperatures = %L WHERE id = %L RETURNING id',
	'{"nozzle_c": 250, "bed_c": null}', pg_temp.id('a_printer')));
SELECT is(pg_temp.faults('{"command": "set_temperatures", "nozzle_c": 250, "bed_c": 500, "chamber_c": 500}'), '[]', 'what is not said is not bounded');
SELECT is(pg_temp.faults('{"command": "set_temperatures", "nozzle_c": 250.1}'), '[{"code": "too_large", "pointer": "/nozzle_c"}]', 'what is said is');

-- Batches.
SELECT is(pg_temp.many('{"command": "pause"}'), '[{"at": null, "done": false, "failure": "SLP20"}, {"at": null, "done": false, "failure": "SLP10"}]',
	'each row has its own failure');
SELECT pg_temp.connect('a'), pg_temp.connect('b');
SELECT is(pg_temp.many('{"command": "pause"}', printers => '{b_printer,a_printer}'),
	'[{"at": null, "done": false, "failure": "SLP10"}, {"at": null, "done": true, "failure": null}]', 'another''s printer does not hurt one''s own');
SELECT is(pg_temp.many('{"command": "gcode"}', '[{"line": 0, "word": "G28"}]', '{a_printer}'), '[{"at": "/lines/0", "done": false, "failure": null}]',
	'nor does what the printer forbids');
SELECT is((SELECT count(*)::int FROM sec.printer_tasks), 1, 'one command is left');

-- Kinds of files.
SELECT is((SELECT string_agg(p || ' ' || k, ', ' ORDER BY p, k) FROM unnest('{bambu,moonraker,octoprint,prusalink}'::text[]) AS p,
	unnest('{gcode,bgcode,gcode_3mf,3mf,stl,step,obj,other}'::text[]) AS k WHERE app.prints_kind(p, k)),
	'bambu gcode, bambu gcode_3mf, moonraker gcode, octoprint gcode, prusalink bgcode, prusalink gcode', 'what printers print');

SELECT * FROM finish();
ROLLBACK;
