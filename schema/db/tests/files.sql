-- Files: their life, their content, what an organisation may store, and what is left when they go.
BEGIN;
\ir world.psql
SELECT no_plan();

CREATE FUNCTION pg_temp.api(sql text) RETURNS jsonb LANGUAGE sql AS $$ SELECT pg_temp.as_api('a-all', sql) $$;
CREATE FUNCTION pg_temp.org() RETURNS uuid LANGUAGE sql AS $$ SELECT org_id FROM sec.org_index WHERE slug = 'a' $$;
-- One statement as the courier for the organisation.
CREATE FUNCTION pg_temp.courier(sql text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('app.org_id', pg_temp.org()::text, true);
	RETURN pg_temp.as_role('soloprint_courier', NULL, sql);
END
$$;
CREATE FUNCTION pg_temp.used() RETURNS text LANGUAGE sql AS $$
	SELECT stored_bytes || '/' || reserved_bytes FROM app.storage_usage WHERE org_id = pg_temp.org() $$;
CREATE FUNCTION pg_temp.file(name text) RETURNS app.files LANGUAGE sql AS $$ SELECT * FROM app.files WHERE id = pg_temp.id(name) $$;
-- Announces a file of so many bytes.
CREATE FUNCTION pg_temp.announce(name text, bytes int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.keep(name, pg_temp.api(format('INSERT INTO app.files (filename, kind, content_type, size_bytes)
		VALUES (%L, ''stl'', ''model/stl'', %s) RETURNING id', name || '.stl', bytes)));
	PERFORM pg_temp.api(format('INSERT INTO app.uploads (file_id, size_bytes, part_bytes, expires_at)
		VALUES (%L, %s, 100, app.now() + interval ''1 hour'') RETURNING file_id', pg_temp.id(name), bytes));
END
$$;
CREATE FUNCTION pg_temp.commit(name text, content text) RETURNS uuid LANGUAGE sql AS $$
	SELECT (pg_temp.api(format('SELECT app.commit_file(%L, %L, sha256(%L), %s, ''local'') AS kept', pg_temp.id(name), app.uuid7(),
		content, octet_length(content))) -> 0 ->> 'kept')::uuid $$;
CREATE FUNCTION pg_temp.jobs(of_kind text) RETURNS int LANGUAGE sql AS $$
	SELECT count(*)::int FROM app.jobs WHERE org_id = pg_temp.org() AND kind = of_kind $$;

-- Without what the world brought.
SELECT pg_temp.api(format('SELECT sec.purge_file(%L, false)', id)) FROM app.files WHERE org_id = pg_temp.org();
DELETE FROM app.jobs WHERE org_id = pg_temp.org();

-- What names promise.
SELECT is(app.file_kind(n), k, n || ' is a ' || k) FROM (VALUES ('a.gcode', 'gcode'), ('A.GCO', 'gcode'), ('a.g', 'gcode'),
	('a.bgcode', 'bgcode'), ('a.gcode.3mf', 'gcode_3mf'), ('a.3mf', '3mf'), ('a.gcode.stl', 'stl'), ('a.STEP', 'step'),
	('a.stp', 'step'), ('a.obj', 'obj'), ('gcode', 'other'), ('.gcode', 'gcode'), ('a.zip', 'other')) AS t (n, k);
SELECT is(app.file_uses(k, s, d), u, concat_ws(' ', k, s, d, u)) FROM (VALUES ('gcode', 'ready', NULL, '{queue}'::text[]),
	('bgcode', 'ready', NULL, '{queue}'), ('gcode_3mf', 'ready', NULL, '{queue}'), ('3mf', 'ready', NULL, '{slice}'),
	('step', 'ready', NULL, '{slice}'), ('other', 'ready', NULL, '{}'), ('gcode', 'uploaded', NULL, '{}'),
	('gcode', 'ready', now(), '{}')) AS t (k, s, d, u);

-- Announced, reserved, committed.
SELECT pg_temp.announce('f1', 500);
SELECT is((pg_temp.file('f1')).status, 'pending_upload', 'announced');
SELECT is((pg_temp.file('f1')).stem, 'f1', 'its stem');
SELECT is(pg_temp.used(), '0/500', 'reserved');
SELECT is((SELECT count(*) FROM sec.upload_index WHERE file_id = pg_temp.id('f1'))::int, 1, 'known to sweeps');
SELECT isnt(pg_temp.commit('f1', 'content one'), NULL, 'committed');
SELECT is((pg_temp.file('f1')).status, 'uploaded', 'uploaded');
SELECT is((pg_temp.file('f1')).sha256, sha256('content one'), 'has its digest');
SELECT is(pg_temp.used(), '11/0', 'stored, nothing reserved');
SELECT is((SELECT count(*) FROM app.uploads WHERE org_id = pg_temp.org())::int, 0, 'no upload is left');
SELECT is((SELECT count(*) FROM sec.upload_index WHERE org_id = pg_temp.org())::int, 0, 'nor known to sweeps');
SELECT is(pg_temp.jobs('file.analyze'), 1, 'is analyzed next');
SELECT is(pg_temp.commit('f1', 'content two'), NULL, 'a second commit is none');
SELECT is((pg_temp.file('f1')).sha256, sha256('content one'), 'and changes nothing');
SELECT is(pg_temp.used(), '11/0', 'nor is it stored');

-- The same content is there once in an organisation, and once in each.
SELECT pg_temp.announce('f2', 11);
SELECT is(pg_temp.commit('f2', 'content one'), (pg_temp.file('f1')).blob_id, 'the blob that is there');
SELECT is(pg_temp.used(), '11/0', 'stored once');
SELECT pg_temp.as_api('b-all', format('SELECT sec.keep_blob(%L, sha256(''content one''), 11, ''local'')', app.uuid7()));
SELECT is((SELECT count(*) FROM app.blobs WHERE sha256 = sha256('content one'))::int, 2, 'the other organisation has its own');

-- Guards.
SELECT throws_ok(format('SELECT pg_temp.api(%L)', format('UPDATE app.files SET %s WHERE id = %L RETURNING id', change, pg_temp.id('f1'))), 'SLP41', NULL, change)
	FROM unnest(ARRAY['status = ''pending_upload''', 'status = ''expired''', 'status = ''failed''', 'sha256 = sha256(''x'')',
		'size_bytes = 12', 'blob_id = NULL']) AS change;
SELECT throws_ok(format('SELECT pg_temp.api(%L)', format('UPDATE app.files SET blob_id = %L WHERE id = %L RETURNING id',
	(SELECT id FROM app.blobs WHERE org_id <> pg_temp.org() AND sha256 = sha256('content one')), pg_temp.id('f1'))), 'SLP41', NULL, 'no other blob, not even theirs');
SELECT throws_ok(format('SELECT pg_temp.api(%L)', format('INSERT INTO app.files (filename, kind, content_type, size_bytes, sha256, blob_id, status)
	VALUES (''x'', ''stl'', ''x/y'', 11, sha256(''content one''), %L, ''ready'') RETURNING id', (SELECT id FROM app.blobs WHERE org_id <> pg_temp.org() AND sha256 = sha256('content one')))),
	'23503', NULL, 'a file cannot have their content');
SELECT throws_ok($$ SELECT pg_temp.api('INSERT INTO app.files (filename, kind, content_type, status) VALUES (''x'', ''stl'', ''x/y'', ''ready'') RETURNING id') $$,
	'23514', NULL, 'no file is ready without content');
SELECT throws_ok($$ SELECT pg_temp.api('DELETE FROM app.files RETURNING id') $$, '42501', NULL, 'the API deletes no rows');
SELECT throws_ok($$ SELECT pg_temp.api('DELETE FROM app.blobs RETURNING id') $$, '42501', NULL, 'nor content');
SELECT throws_ok($$ SELECT pg_temp.api('UPDATE app.storage_usage SET stored_bytes = 0 RETURNING org_id') $$, '42501', NULL, 'nor counts');

-- Versions.
SELECT (pg_temp.file('f1')).version AS v \gset
SELECT pg_temp.api(format('UPDATE app.files SET notes = ''n'' WHERE id = %L RETURNING id', pg_temp.id('f1')));
SELECT is((pg_temp.file('f1')).version, :v + 1, 'a change is a new version');
SELECT pg_temp.api(format('UPDATE app.files SET notes = ''n'' WHERE id = %L RETURNING id', pg_temp.id('f1')));
SELECT is((pg_temp.file('f1')).version, :v + 1, 'the same again is none');

-- Quota: no more is reserved or stored than there may be.
SELECT pg_temp.as_owner('a', 'UPDATE app.organizations SET storage_quota_bytes = 100 RETURNING org_id');
SELECT throws_ok($$ SELECT pg_temp.announce('big', 90) $$, 'SLP40', NULL, 'more than fits is not announced');
SELECT lives_ok($$ SELECT pg_temp.announce('fits', 89) $$, 'what fits is');
SELECT throws_ok(format('SELECT pg_temp.api(%L)', format('SELECT sec.keep_blob(%L, sha256(''y''), 1, ''local'')', app.uuid7())), 'SLP40', NULL, 'what is reserved cannot be stored into');
SELECT isnt(pg_temp.commit('fits', repeat('z', 89)), NULL, 'but for what it was reserved for');
SELECT is(pg_temp.used(), '100/0', 'full');
SELECT pg_temp.as_owner('a', 'UPDATE app.organizations SET storage_quota_bytes = 1000000 RETURNING org_id');

-- Uploads that nobody finishes.
SELECT pg_temp.announce('late', 50);
SELECT is(pg_temp.courier(format('SELECT app.expire_upload(%L) AS x', pg_temp.id('late'))) -> 0 -> 'x', 'true', 'not yet');
SELECT is(pg_temp.jobs('file.expire'), 1, 'it is looked at again');
UPDATE app.uploads SET expires_at = app.now() - interval '1 s', state = 'completing' WHERE file_id = pg_temp.id('late');
SELECT is(pg_temp.courier(format('SELECT app.expire_upload(%L) AS x', pg_temp.id('late'))) -> 0 -> 'x', 'true', 'not while it is put together');
UPDATE app.uploads SET state = 'open' WHERE file_id = pg_temp.id('late');
SELECT is(pg_temp.courier(format('SELECT app.expire_upload(%L) AS x', pg_temp.id('late'))) -> 0 -> 'x', 'false', 'now');
SELECT is((pg_temp.file('late')).status, 'expired', 'expired');
SELECT is(pg_temp.used(), '100/0', 'its reservation is released');
SELECT is((SELECT run_after FROM app.jobs WHERE kind = 'file.purge' AND resource_id = pg_temp.id('late')), app.now() + '30 days', 'goes with the retention');
SELECT is(pg_temp.courier(format('SELECT app.expire_upload(%L) AS x', pg_temp.id('late'))) -> 0 -> 'x', 'false', 'again changes nothing');
SELECT is(pg_temp.commit('late', 'too late'), NULL, 'its bytes come too late');

-- The trash.
SELECT pg_temp.api(format('UPDATE app.files SET deleted_at = app.now() WHERE id = %L RETURNING id', pg_temp.id('f1')));
SELECT is((pg_temp.file('f1')).purge_after, app.now() + '30 days', 'retention begins');
SELECT is(pg_temp.courier(format('SELECT sec.purge_file(%L, true) AS x', pg_temp.id('f1'))) -> 0 -> 'x', 'false', 'is not over');
SELECT pg_temp.api(format('UPDATE app.files SET deleted_at = NULL WHERE id = %L RETURNING id', pg_temp.id('f1')));
SELECT is((pg_temp.file('f1')).purge_after, NULL, 'restored');
SELECT pg_temp.as_owner('a', 'UPDATE app.organizations SET trash_days = 0 RETURNING org_id');
SELECT pg_temp.api(format('UPDATE app.files SET deleted_at = app.now() WHERE id = %L RETURNING id', pg_temp.id('f1')));
SELECT is(pg_temp.courier(format('SELECT sec.purge_file(%L, true) AS x', pg_temp.id('f1'))) -> 0 -> 'x', 'true', 'without retention');
SELECT is((SELECT count(*) FROM app.files WHERE id = pg_temp.id('f1'))::int, 0, 'gone');
SELECT is((SELECT count(*) FROM app.blobs WHERE org_id = pg_temp.org() AND sha256 = sha256('content one'))::int, 1, 'what another file has stays');
SELECT is(pg_temp.jobs('blob.delete'), 0, 'so does its object');
SELECT pg_temp.api(format('INSERT INTO app.file_thumbnails (file_id, n, blob_id, content_type)
	SELECT %L, 0, sec.keep_blob(%L, sha256(''picture''), 7, ''local''), ''image/png'' RETURNING n', pg_temp.id('f2'), app.uuid7()));
SELECT is(pg_temp.used(), '107/0', 'pictures count');
SELECT is(pg_temp.courier(format('SELECT sec.purge_file(%L, true) AS x', pg_temp.id('f2'))) -> 0 -> 'x', 'false', 'not what is not in the trash');
SELECT is(pg_temp.as_api('b-all', format('SELECT sec.purge_file(%L, false) AS x', pg_temp.id('f2'))) -> 0 -> 'x', 'false', 'nor by another organisation');
SELECT is(pg_temp.api(format('SELECT sec.purge_file(%L, false) AS x', pg_temp.id('f2'))) -> 0 -> 'x', 'true', 'but when asked to');
SELECT is(pg_temp.used(), '89/0', 'content and picture are gone');
SELECT is(pg_temp.jobs('blob.delete'), 2, 'and their objects follow');
SELECT is((SELECT count(*) FROM sec.blob_index WHERE org_id = pg_temp.org())::int, 1, 'sweeps know');
SELECT pg_temp.announce('open', 5);
SELECT pg_temp.api(format('SELECT sec.purge_file(%L, false)', pg_temp.id('open')));
SELECT is(pg_temp.used(), '89/0', 'an open upload is closed with its file');
SELECT is((SELECT count(*) FROM app.jobs WHERE kind = 'file.expire' AND resource_id = pg_temp.id('open'))::int, 1, 'what arrived of it is removed');

-- Signed requests.
SELECT lives_ok(format('SELECT pg_temp.as_role(''soloprint_api'', NULL, %L)', format('SELECT app.enter_signed(%L, ''192.0.2.1'', ''r'')', pg_temp.org())), 'enters');
SELECT throws_ok(format('SELECT pg_temp.as_role(''soloprint_api'', NULL, %L)', format('SELECT app.enter_signed(%L, ''192.0.2.1'', ''r'')', app.uuid7())), 'SLP10', NULL, 'no such organisation');
SELECT pg_temp.as_owner('a', 'UPDATE app.organizations SET state = ''suspended'' RETURNING org_id');
SELECT throws_ok(format('SELECT pg_temp.as_role(''soloprint_api'', NULL, %L)', format('SELECT app.enter_signed(%L, ''192.0.2.1'', ''r'')', pg_temp.org())), 'SLP06', NULL, 'not a suspended one');

SELECT * FROM finish();
ROLLBACK;
