-- Models: what their triggers and functions keep right.
BEGIN;
\ir world.psql
SELECT no_plan();

CREATE FUNCTION pg_temp.api(sql text) RETURNS jsonb LANGUAGE sql AS $$ SELECT pg_temp.as_api('a-all', sql) $$;
CREATE FUNCTION pg_temp.model(name text) RETURNS uuid LANGUAGE sql AS $$
	SELECT (pg_temp.api(format('INSERT INTO app.models (name) VALUES (%L) RETURNING id', name)) -> 0 ->> 'id')::uuid $$;
CREATE FUNCTION pg_temp.file(model uuid, filename text) RETURNS uuid LANGUAGE sql AS $$
	SELECT (pg_temp.api(format('INSERT INTO app.files (filename, kind, content_type, model_id) VALUES (%L, app.file_kind(%L), ''text/plain'', %L)
		RETURNING id', filename, filename, model)) -> 0 ->> 'id')::uuid $$;
CREATE FUNCTION pg_temp.patch(file uuid, change text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.api(format('UPDATE app.files SET %s WHERE id = %L RETURNING revision', change, file)) $$;
CREATE FUNCTION pg_temp.attach(keys text[], name text) RETURNS uuid LANGUAGE sql AS $$
	SELECT (pg_temp.api(format('SELECT app.attach_model(%L, %L) AS id', keys, name)) -> 0 ->> 'id')::uuid $$;

-- Words of a search.
SELECT is(app.search_words(t), want, format('words of %L', t)) FROM (VALUES ('', ''), ('3D_Benchy-v2.stl', '3d benchy v2 stl'),
	('  a  ', 'a'), ('Délta', 'délta'), ('%_\''"&|!:*()', ''), ('数 字', '数 字')) AS x (t, want);
SELECT is(app.search_query(t)::text, want, format('query of %L', t)) FROM (VALUES ('', NULL), ('&|!', NULL), ('Bench', '''bench'':*'),
	('a''b:* !c', '''a'':* & ''b'':* & ''c'':*'), ('not', '''not'':*')) AS x (t, want);
SELECT is(app.indexed_words('3DBenchy PLABox'), '3dbenchy plabox 3d benchy pla box', 'words that are run together count apart as well');
SELECT is(bit_count(app.trigram_bits('')), 0::bigint, 'no letters, no bits');
SELECT cmp_ok(bit_count(app.trigram_bits('benchy') & app.trigram_bits('wall benchy')), '=', bit_count(app.trigram_bits('benchy')),
	'a word''s bits are in what holds it');
SELECT is(app.replace_tag('{a,b,c}', 'b', 'x'), '{a,x,c}', 'a tag is called otherwise');
SELECT is(app.replace_tag('{a,b,c}', 'c', 'a'), '{a,b}', 'and is there once');

-- Keys.
SELECT is(pg_temp.attach('{mesh:1,stem:ship}', 'Ship'), pg_temp.id('a_model'), 'known by its mesh');
SELECT is(pg_temp.attach('{mesh:9,stem:ship}', 'Ship'), pg_temp.id('a_model'), 'known by a name it got later');
SELECT isnt(pg_temp.attach('{mesh:7,stem:car}', 'Car'), pg_temp.id('a_model'), 'unknown: a model of its own');
SELECT is(pg_temp.attach('{mesh:7,stem:boat}', 'x'), pg_temp.attach('{stem:car}', 'x'), 'the mesh speaks before the stem');
SELECT is(pg_temp.attach('{stem:boat}', 'x'), pg_temp.id('a_model'), 'a key stays with who has it');
SELECT isnt(pg_temp.id('a_model'), pg_temp.id('b_model'), 'another organisation has its own');

-- Revisions.
SELECT pg_temp.model('m') AS m, pg_temp.model('n') AS n \gset
SELECT pg_temp.file(:'m', f) FROM unnest('{a.gcode,b.bgcode,c.stl,d.gcode.3mf,e.3mf,f.txt}'::text[]) AS f;
SELECT is((SELECT jsonb_object_agg(f.filename, f.revision) FROM app.files AS f WHERE f.model_id = :'m'),
	'{"a.gcode": 1, "b.bgcode": 2, "d.gcode.3mf": 3, "c.stl": 1, "e.3mf": 2, "f.txt": 3}', 'sliced files and designs count apart');
SELECT pg_temp.file(NULL, 'stray_part.gcode') AS f \gset
SELECT is(pg_temp.patch(:'f', 'filename = filename') -> 0 ->> 'revision', NULL, 'no model, no revision');
SELECT is(pg_temp.patch(:'f', format('model_id = %L', :'m')) -> 0 ->> 'revision', '4', 'attached');
SELECT is(pg_temp.patch(:'f', format('model_id = %L', :'n')) -> 0 ->> 'revision', '1', 'moved');
SELECT is(pg_temp.patch(:'f', 'kind = ''stl''') -> 0 ->> 'revision', '1', 'a revision does not change with the kind');

-- What a model is searched by follows its files; its version does not.
SELECT is((SELECT file_names FROM app.models WHERE id = :'n'), 'stray_part', 'the file''s name');
SELECT ok((SELECT words LIKE '%stray part%' AND document @@ app.search_query('stray') FROM app.models WHERE id = :'n'), 'is found');
SELECT is((SELECT version FROM app.models WHERE id = :'n'), 1, 'its version is as it was');
SELECT pg_temp.patch(:'f', 'filename = ''other.gcode''');
SELECT is((SELECT file_names FROM app.models WHERE id = :'n'), 'other', 'renamed');
SELECT pg_temp.patch(:'f', 'deleted_at = app.now()');
SELECT is((SELECT file_names FROM app.models WHERE id = :'n'), '', 'in the trash');
SELECT pg_temp.patch(:'f', 'deleted_at = NULL');
SELECT pg_temp.patch(:'f', 'model_id = NULL');
SELECT is((SELECT file_names FROM app.models WHERE id = :'n'), '', 'detached');
SELECT is((SELECT count(*)::int FROM app.audit_log WHERE target_id = :'n'), 1, 'nothing of it in the audit log');

-- Changes.
SELECT is((pg_temp.api(format('UPDATE app.models SET name = name, tags = tags WHERE id = %L RETURNING version', :'n')) -> 0 ->> 'version'), '1', 'nothing changed');
SELECT is((pg_temp.api(format('UPDATE app.models SET tags = ''{x}'' WHERE id = %L RETURNING version', :'n')) -> 0 ->> 'version'), '2', 'a tag is a change');
SELECT throws_ok(format('SELECT pg_temp.api(%L)', format('DELETE FROM app.models WHERE id = %L RETURNING id', :'m')), '23503', NULL, 'not under its files');
SELECT is(pg_temp.n(pg_temp.api(format('DELETE FROM app.models WHERE id = %L RETURNING id', pg_temp.id('a_model')))), 1, 'deleted');
SELECT is_empty($$ SELECT FROM app.model_keys WHERE model_id = pg_temp.id('a_model') $$, 'its keys are free');
SELECT is((SELECT array_agg(changes ORDER BY id) FROM app.audit_log WHERE target_id = pg_temp.id('a_collection') AND action = 'collection.updated'),
	ARRAY[jsonb_build_object('model_ids', jsonb_build_object('added', jsonb_build_array(pg_temp.id('a_model')))),
		jsonb_build_object('model_ids', jsonb_build_object('removed', jsonb_build_array(pg_temp.id('a_model'))))], 'the collection tells of it');
SELECT is((SELECT version FROM app.collections WHERE id = pg_temp.id('a_collection')), 3, 'and has a new version');
SELECT throws_ok($$ SELECT pg_temp.api('INSERT INTO app.collections (name) VALUES (''SHELF'') RETURNING id') $$,
	'23505', 'duplicate key value violates unique constraint "collections_name_key"', 'a collection''s name is there once, in any case');
SELECT is((SELECT count(*)::int FROM app.collection_models WHERE collection_id = pg_temp.id('b_collection')), 1, 'the other organisation''s is as it was');
SELECT * FROM finish();
ROLLBACK;
