-- Whole files, and what scans find.
BEGIN;
\ir world.psql
SELECT no_plan();

CREATE FUNCTION pg_temp.api(sql text) RETURNS jsonb LANGUAGE sql AS $$ SELECT pg_temp.as_api('a-all', sql) $$;
CREATE FUNCTION pg_temp.org() RETURNS uuid LANGUAGE sql AS $$ SELECT org_id FROM sec.org_index WHERE slug = 'a' $$;
CREATE FUNCTION pg_temp.courier(sql text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('app.org_id', pg_temp.org()::text, true);
	RETURN pg_temp.as_role('soloprint_courier', NULL, sql);
END
$$;
-- What a scan found: pictures by their content.
CREATE FUNCTION pg_temp.scan(kind text, keys text[], VARIADIC pictures text[] DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('kind', kind, 'metadata', '{"layer_count": 7}'::jsonb, 'keys', to_jsonb(keys),
		'analysis', '{"state": "parsed", "reason": null}'::jsonb, 'thumbnails', coalesce((SELECT jsonb_agg(jsonb_build_object(
			'n', p.i - 1, 'blob_id', app.uuid7(), 'sha256', encode(sha256(p.content::bytea), 'hex'), 'plate', 0, 'width', 2,
			'height', 3, 'content_type', 'image/png', 'size_bytes', octet_length(p.content)))
			FROM unnest(pictures) WITH ORDINALITY AS p (content, i)), '[]'))
$$;
CREATE FUNCTION pg_temp.ingest(content text, given jsonb, scan jsonb, move boolean DEFAULT false) RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.api(format('SELECT * FROM app.ingest_file(app.uuid7(), app.uuid7(), sha256(%L), %s, %L, %L, %L)', content,
		octet_length(content), '{"source": "ingest"}' || given, scan, move)) -> 0
$$;
CREATE FUNCTION pg_temp.named(name text) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('filename', name) $$;
CREATE FUNCTION pg_temp.file(made jsonb) RETURNS app.files LANGUAGE sql AS $$
	SELECT * FROM app.files WHERE id = (made ->> 'file_id')::uuid $$;
CREATE FUNCTION pg_temp.used() RETURNS bigint LANGUAGE sql AS $$
	SELECT stored_bytes + reserved_bytes FROM app.storage_usage WHERE org_id = pg_temp.org() $$;

SELECT pg_temp.api(format('SELECT sec.purge_file(%L, false)', id)) FROM app.files WHERE org_id = pg_temp.org();
DELETE FROM app.jobs WHERE org_id = pg_temp.org();

-- A new one.
CREATE TEMP TABLE made AS SELECT pg_temp.ingest('first', '{"filename": "Lid v2.gcode.3mf", "tags": ["a"], "notes": "n"}',
	pg_temp.scan('gcode_3mf', '{mesh:one,mesh:two}', 'picture', 'other', 'picture')) AS one;
SELECT is((SELECT one ->> 'created' FROM made), 'true', 'a new file');
SELECT is((SELECT jsonb_array_length(one -> 'spare') FROM made), 1, 'a picture that comes twice is stored once');
SELECT results_eq($$ SELECT f.filename, f.kind, f.content_type, f.status, f.source, f.tags, f.notes, f.size_bytes, f.metadata,
		f.analysis, f.revision FROM pg_temp.file((SELECT one FROM made)) AS f $$,
	$$ VALUES ('Lid v2.gcode.3mf', 'gcode_3mf', 'model/3mf', 'ready', 'ingest', '{a}'::text[], 'n', 5::bigint,
		'{"layer_count": 7}'::jsonb, '{"state": "parsed", "reason": null}'::jsonb, 1) $$, 'its row');
SELECT is((pg_temp.file(one)).thumbnails -> 1, '{"n": 1, "plate": 0, "width": 2, "height": 3, "content_type": "image/png",
	"size_bytes": 5}', 'its row tells of the pictures, not where they are') FROM made;
SELECT is((SELECT count(*)::int FROM app.file_thumbnails AS t, made WHERE t.file_id = (one ->> 'file_id')::uuid), 3, 'its pictures');
SELECT is(pg_temp.used(), 5 + 7 + 5::bigint, 'each content is charged once');
SELECT results_eq($$ SELECT m.name, array_agg(k.key ORDER BY k.key) FROM app.models AS m JOIN app.model_keys AS k
		ON k.org_id = m.org_id AND k.model_id = m.id WHERE m.id = (pg_temp.file((SELECT one FROM made))).model_id GROUP BY 1 $$,
	$$ VALUES ('Lid v2', '{mesh:one,mesh:two,stem:lid v2}'::text[]) $$, 'a model that is recognised again');
SELECT is((SELECT count(*)::int FROM app.outbox WHERE type = 'file.ready'
	AND resource_id = (SELECT (one ->> 'file_id')::uuid FROM made)), 1, 'told');

-- The same content.
CREATE TEMP TABLE again AS SELECT pg_temp.ingest('first', pg_temp.named('other.stl'), pg_temp.scan('stl', '{mesh:9}', 'new')) AS one;
SELECT is((SELECT a.one - 'spare' FROM again AS a), (SELECT m.one - 'spare' || '{"created": false}' FROM made AS m),
	'known content is the file that is there');
SELECT is((SELECT jsonb_array_length(one -> 'spare') FROM again), 2, 'what was offered is not needed');
SELECT is(pg_temp.used(), 17::bigint, 'nothing is charged');
SELECT is_empty($$ SELECT FROM app.model_keys WHERE key = 'mesh:9' $$, 'nothing is learned from it');
SELECT is(pg_temp.api($$ SELECT app.known_file(sha256('first')) AS id $$) -> 0 ->> 'id', one ->> 'file_id', 'known') FROM made;
SELECT is(pg_temp.as_api('b-all', $$ SELECT app.known_file(sha256('first')) AS id $$) -> 0 ->> 'id', NULL, 'to its organisation alone');

-- Models.
SELECT is((pg_temp.file(pg_temp.ingest('b', pg_temp.named(n), pg_temp.scan('stl', k)))).model_id,
		(pg_temp.file((SELECT one FROM made))).model_id, 'found by ' || why)
	FROM (VALUES ('x.stl', '{mesh:two}'::text[], 'a mesh')) AS t (n, k, why);
SELECT is((pg_temp.file(pg_temp.ingest('c', pg_temp.named('LID V2.bgcode'), pg_temp.scan('bgcode', '{}')))).model_id,
	(pg_temp.file((SELECT one FROM made))).model_id, 'found by the name');
SELECT isnt((pg_temp.file(pg_temp.ingest('d', pg_temp.named('lid.bgcode'), pg_temp.scan('bgcode', '{}')))).model_id,
	(pg_temp.file((SELECT one FROM made))).model_id, 'another name');
CREATE TEMP TABLE bare AS SELECT pg_temp.ingest('e', pg_temp.named('.gcode'), pg_temp.scan('gcode', '{}')) AS one;
SELECT is((SELECT m.name FROM app.models AS m WHERE m.id = (pg_temp.file((SELECT one FROM bare))).model_id), '.gcode',
	'a name that is nothing but an ending');
SELECT throws_ok(format($$ SELECT pg_temp.ingest('f', %L, pg_temp.scan('stl', '{}')) $$,
	pg_temp.named('f.stl') || jsonb_build_object(member, app.uuid7())), '23503', NULL, 'no such ' || member)
	FROM unnest('{model_id,collection_id}'::text[]) AS member;

-- The trash.
SELECT pg_temp.api(format('UPDATE app.files SET deleted_at = app.now() WHERE id = %L RETURNING id', one ->> 'file_id')) FROM made;
CREATE TEMP TABLE back AS SELECT pg_temp.ingest('first', pg_temp.named('lid again.3mf'), pg_temp.scan('3mf', '{mesh:one}')) AS one;
SELECT is((SELECT one ->> 'created' FROM back), 'true', 'what is in the trash does not count');
SELECT is((pg_temp.file((SELECT one FROM back))).blob_id, (pg_temp.file((SELECT one FROM made))).blob_id, 'one content');

-- The quota.
SELECT pg_temp.as_owner('a', format('UPDATE app.organizations SET storage_quota_bytes = %s WHERE slug = ''a'' RETURNING slug', pg_temp.used() + 10));
SELECT lives_ok($$ SELECT pg_temp.api('SELECT app.need_storage(10)') $$, 'room');
SELECT throws_ok($$ SELECT pg_temp.api('SELECT app.need_storage(11)') $$, 'SLP40', NULL, 'no room');
SELECT throws_ok($$ SELECT pg_temp.ingest('0123456789', pg_temp.named('q.gcode'), pg_temp.scan('gcode', '{}', 'p')) $$, 'SLP40', NULL,
	'pictures count');
SELECT pg_temp.as_owner('a', 'UPDATE app.organizations SET storage_quota_bytes = 1000000 WHERE slug = ''a'' RETURNING slug');

-- With the object store.
DELETE FROM app.jobs WHERE org_id = pg_temp.org();
SELECT pg_temp.ingest('to s3', pg_temp.named('s.gcode'), pg_temp.scan('gcode', '{}', 'picture', 'picture of s3'), true);
SELECT is((SELECT count(*)::int FROM app.jobs WHERE kind = 'blob.move' AND org_id = pg_temp.org()), 2, 'what is new is moved');

-- What the courier finds later.
CREATE TEMP TABLE later AS SELECT jsonb_build_object('file_id', f.id) AS one FROM app.files AS f WHERE false;
WITH b AS (SELECT (pg_temp.courier($$ SELECT sec.keep_blob(app.uuid7(), sha256('later'), 5, 'local') AS id $$) -> 0 ->> 'id')::uuid AS id),
	f AS (SELECT pg_temp.api(format($$ INSERT INTO app.files (filename, kind, content_type, size_bytes, sha256, blob_id, status)
		VALUES ('lid v2.stl', 'other', 'text/plain', 5, sha256('later'), %L, 'uploaded') RETURNING id AS file_id $$, b.id)) -> 0 AS one FROM b)
	INSERT INTO later SELECT one FROM f;
CREATE FUNCTION pg_temp.store(scan jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.courier(format('SELECT app.store_scan(%L, %L, false) AS spare', (SELECT one ->> 'file_id' FROM later), scan)) -> 0 -> 'spare'
$$;
SELECT is(jsonb_array_length(pg_temp.store(pg_temp.scan('stl', '{}', 'picture', 'fresh'))), 1, 'one picture was there');
SELECT results_eq($$ SELECT f.kind, f.status, f.metadata, jsonb_array_length(f.thumbnails), f.content_type FROM pg_temp.file((SELECT one FROM later)) AS f $$,
	$$ VALUES ('stl', 'ready', '{"layer_count": 7}'::jsonb, 2, 'text/plain') $$, 'ready');
SELECT is((pg_temp.file((SELECT one FROM later))).model_id, (pg_temp.file((SELECT one FROM made))).model_id, 'with its model');
SELECT is(pg_temp.store(pg_temp.scan('obj', '{}', 'fresh')), 'null', 'once');
SELECT is((pg_temp.file((SELECT one FROM later))).kind, 'stl', 'the first word stands');
SELECT is(pg_temp.courier(format('SELECT app.store_scan(%L, %L, false) AS spare', app.uuid7(), pg_temp.scan('obj', '{}'))) -> 0 -> 'spare', 'null', 'gone');
SELECT * FROM finish();
ROLLBACK;
