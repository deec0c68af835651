-- Deploy soloprint:ingest to pg
-- requires: models
-- Files that arrive whole, and what a scan has found in a file.

BEGIN;
SET LOCAL ROLE soloprint_owner;

-- True, or SLP40: so many bytes more would not fit. Nothing is reserved.
CREATE FUNCTION app.need_storage(bytes bigint) RETURNS boolean
	LANGUAGE plpgsql STABLE
	AS $$
BEGIN
	IF bytes > (SELECT o.storage_quota_bytes - coalesce(u.stored_bytes + u.reserved_bytes, 0)
			FROM app.organizations AS o LEFT JOIN app.storage_usage AS u ON u.org_id = o.org_id
			WHERE o.org_id = app.org()) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP40', MESSAGE = 'the organization''s storage is full';
	END IF;
	RETURN true;
END
$$;

-- The blob that has the content: the one offered, or the one that the organisation has already. move: a new one shall go
-- to the object store.
CREATE FUNCTION app.keep_content(offered uuid, content bytea, bytes bigint, move boolean) RETURNS uuid
	LANGUAGE plpgsql
	AS $$
DECLARE
	kept uuid := sec.keep_blob(offered, content, bytes, 'local');
BEGIN
	IF move AND kept = offered THEN
		PERFORM app.queue_blob_move(kept);
	END IF;
	RETURN kept;
END
$$;

-- The organisation's oldest file with this content that is not in the trash.
CREATE FUNCTION app.known_file(content bytea) RETURNS uuid
	LANGUAGE sql STABLE
	RETURN (SELECT f.id FROM app.blobs AS b JOIN app.files AS f ON f.org_id = b.org_id AND f.blob_id = b.id
		WHERE b.org_id = app.org() AND b.sha256 = content AND f.deleted_at IS NULL ORDER BY f.created_at, f.id LIMIT 1);

-- The model of a file: by what a scan recognised in it, else by its name without the ending; new when none is known.
CREATE FUNCTION app.model_of_file(filename text, scan jsonb) RETURNS uuid
	LANGUAGE plpgsql
	AS $$
DECLARE
	stem text := coalesce(nullif(regexp_replace(filename, '((\.gcode)?\.3mf|\.[^.]*)$', '', 'i'), ''), filename);
BEGIN
	RETURN app.attach_model(ARRAY(SELECT k.key FROM jsonb_array_elements_text(scan -> 'keys') WITH ORDINALITY AS k (key, n)
		ORDER BY k.n) || ('stem:' || lower(stem)), stem);
END
$$;

-- The pictures of a scan, [{n, blob_id, sha256, plate, width, height, content_type, size_bytes}], become the file's, in
-- place of those it had. In the order of their content, so that two files with the same pictures wait for each other
-- instead of both.
CREATE FUNCTION app.keep_thumbnails(file uuid, pictures jsonb, move boolean) RETURNS void
	LANGUAGE plpgsql
	AS $$
BEGIN
	DELETE FROM app.file_thumbnails AS t WHERE t.org_id = app.org() AND t.file_id = file;
	INSERT INTO app.file_thumbnails (org_id, file_id, n, blob_id, content_type)
		SELECT app.org(), file, p.n, app.keep_content(p.blob_id, decode(p.sha256, 'hex'), p.size_bytes, move), p.content_type
		FROM (SELECT * FROM jsonb_to_recordset(pictures)
			AS x (n int, blob_id uuid, sha256 text, content_type text, size_bytes bigint) ORDER BY x.sha256, x.n) AS p;
END
$$;

-- What a file's row says of its pictures.
CREATE FUNCTION app.describe_thumbnails(pictures jsonb) RETURNS jsonb
	LANGUAGE sql IMMUTABLE
	RETURN (SELECT coalesce(jsonb_agg(p - '{blob_id,sha256}'::text[] ORDER BY (p -> 'n')::int), '[]')
		FROM jsonb_array_elements(pictures) AS p);

-- The offered blobs that are not the organisation's: somebody had their content before.
CREATE FUNCTION app.spare_blobs(offered uuid[]) RETURNS uuid[]
	LANGUAGE sql STABLE
	RETURN ARRAY(SELECT x FROM unnest(offered) AS x
		WHERE NOT EXISTS (SELECT FROM app.blobs AS b WHERE b.org_id = app.org() AND b.id = x));

-- What a scan has found becomes the file's, which is ready then. scan: {kind, metadata, analysis: {state, reason}, keys,
-- thumbnails}. Gives the pictures' blobs that are not needed; NULL when there is no such file, or it is not waiting for
-- this any more.
CREATE FUNCTION app.store_scan(file uuid, scan jsonb, move boolean) RETURNS uuid[]
	LANGUAGE plpgsql
	AS $$
DECLARE
	org uuid := app.org();
	f app.files;
BEGIN
	SELECT * INTO f FROM app.files AS x WHERE x.org_id = org AND x.id = file AND x.status IN ('uploaded', 'analyzing')
		FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	PERFORM app.keep_thumbnails(file, scan -> 'thumbnails', move);
	f.model_id := coalesce(f.model_id, app.model_of_file(f.filename, scan));
	UPDATE app.files AS x SET kind = scan ->> 'kind', metadata = nullif(scan -> 'metadata', 'null'),
			analysis = scan -> 'analysis', thumbnails = app.describe_thumbnails(scan -> 'thumbnails'),
			model_id = f.model_id, status = 'ready'
		WHERE x.org_id = org AND x.id = file;
	RETURN app.spare_blobs(ARRAY(SELECT (p ->> 'blob_id')::uuid FROM jsonb_array_elements(scan -> 'thumbnails') AS p));
END
$$;

-- A file that arrived whole. What the organisation has already stays as it is: that file is the answer, and created is
-- false. Two at once with the same content wait for each other. given: {filename, source, model_id, collection_id, tags,
-- notes}; scan: as above.
CREATE FUNCTION app.ingest_file(new_file uuid, offered uuid, content bytea, bytes bigint, given jsonb, scan jsonb, move boolean,
		OUT file_id uuid, OUT created boolean, OUT spare uuid[])
	LANGUAGE plpgsql
	AS $$
DECLARE
	org uuid := app.org();
	g record;
	blob uuid;
BEGIN
	PERFORM pg_advisory_xact_lock(hashtextextended(org::text || '/content/' || encode(content, 'hex'), 0));
	file_id := app.known_file(content);
	created := file_id IS NULL;
	IF created THEN
		SELECT * INTO g FROM jsonb_to_record(given)
			AS x (filename text, source text, model_id uuid, collection_id uuid, tags text[], notes text);
		file_id := new_file;
		blob := app.keep_content(offered, content, bytes, move);
		g.model_id := coalesce(g.model_id, app.model_of_file(g.filename, scan));
		INSERT INTO app.files (id, filename, kind, content_type, size_bytes, sha256, blob_id, status, analysis, metadata,
				thumbnails, model_id, tags, notes, source, uploaded_at)
			VALUES (new_file, g.filename, scan ->> 'kind', app.file_content_type(scan ->> 'kind'), bytes, content, blob, 'ready',
				scan -> 'analysis', nullif(scan -> 'metadata', 'null'), app.describe_thumbnails(scan -> 'thumbnails'),
				g.model_id, coalesce(g.tags, '{}'), g.notes, g.source, app.now());
		PERFORM app.keep_thumbnails(new_file, scan -> 'thumbnails', move);
		IF g.collection_id IS NOT NULL THEN
			INSERT INTO app.collection_models (org_id, collection_id, model_id) VALUES (org, g.collection_id, g.model_id)
				ON CONFLICT DO NOTHING;
		END IF;
	END IF;
	spare := app.spare_blobs(offered || ARRAY(SELECT (p ->> 'blob_id')::uuid
		FROM jsonb_array_elements(scan -> 'thumbnails') AS p));
END
$$;

GRANT EXECUTE ON FUNCTION app.keep_content(uuid, bytea, bigint, boolean),
	app.model_of_file(text, jsonb), app.keep_thumbnails(uuid, jsonb, boolean), app.describe_thumbnails(jsonb),
	app.spare_blobs(uuid[]) TO soloprint_api, soloprint_courier;
GRANT EXECUTE ON FUNCTION app.need_storage(bigint), app.known_file(bytea),
	app.ingest_file(uuid, uuid, bytea, bigint, jsonb, jsonb, boolean) TO soloprint_api;
GRANT EXECUTE ON FUNCTION app.store_scan(uuid, jsonb, boolean) TO soloprint_courier;

COMMIT;
