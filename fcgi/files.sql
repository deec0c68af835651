-- Files. A row is what app.file_rows says it is.

-- fragment: files_filtered
	FROM app.file_rows AS v
	WHERE v._org_id = app.org()
		AND ($1 IS NULL OR v.filename ILIKE $1 OR v.notes ILIKE $1)
		AND ($2 IS NULL OR v.status = ANY ($2))
		AND ($3 IS NULL OR v.kind = ANY ($3))
		AND ($4 IS NULL OR v._tags @> $4)
		AND ($5 IS NULL OR v.uploaded_by = $5)
		AND ($6 IS NULL OR v.model_id = $6)
		AND ($7 IS NULL OR $7 = ANY (v._uses))
		AND ($8 = 'all' OR (v.deleted_at IS NOT NULL) = ($8 = 'only'))
-- end

-- name: files :page
-- params: text, text[], text[], text[], uuid, uuid, text, text
-- orders: name v.filename, created_at v.created_at timestamptz, updated_at v.updated_at timestamptz, size coalesce(v.size_bytes, 0) int8
SELECT {key} AS _key, v.*
-- include: files_filtered
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: files_total :one
-- params: text, text[], text[], text[], uuid, uuid, text, text
SELECT count(*) AS total
-- include: files_filtered
;

-- name: file_get :one
-- params: uuid
SELECT v.* FROM app.file_rows AS v WHERE v._org_id = app.org() AND v.id = $1;

-- name: file_update :one
-- params: uuid, jsonb, int[]
UPDATE app.files AS f SET
		filename = CASE WHEN $2 ? 'filename' THEN b.filename ELSE f.filename END,
		content_type = CASE WHEN $2 ? 'content_type' THEN b.content_type ELSE f.content_type END,
		tags = CASE WHEN $2 ? 'tags' THEN b.tags ELSE f.tags END,
		notes = CASE WHEN $2 ? 'notes' THEN b.notes ELSE f.notes END,
		model_id = CASE WHEN $2 ? 'model_id' THEN b.model_id ELSE f.model_id END,
		revision_status = CASE WHEN $2 ? 'revision_status' THEN b.revision_status ELSE f.revision_status END
	FROM jsonb_to_record($2) AS b (filename text, content_type text, tags text[], notes text, model_id uuid,
			revision_status text),
		(SELECT x.id, app.check_version(x.version, $3)
				AND (x.deleted_at IS NULL OR app.raise('SLP41', 'the file is in the trash')) AS current
			FROM app.files AS x WHERE x.org_id = app.org() AND x.id = $1 FOR UPDATE) AS t
	WHERE f.org_id = app.org() AND f.id = t.id AND t.current
	RETURNING f.id;

-- Into the trash; what is there already stays there, and what has no content is for file_purge.
-- name: file_trash :one
-- params: uuid, int[]
UPDATE app.files AS f SET deleted_at = coalesce(f.deleted_at, app.now())
	FROM (SELECT x.id, app.check_version(x.version, $2) AS current FROM app.files AS x
		WHERE x.org_id = app.org() AND x.id = $1 FOR UPDATE) AS t
	WHERE f.org_id = app.org() AND f.id = t.id AND t.current
	RETURNING f.id;

-- name: file_purge :one
-- params: uuid, bool
SELECT sec.purge_file(f.id, false) FROM app.files AS f
	WHERE f.org_id = app.org() AND f.id = $1 AND ($2 OR f.blob_id IS NULL);

-- name: file_restore :one
-- params: uuid
UPDATE app.files AS f SET deleted_at = NULL WHERE f.org_id = app.org() AND f.id = $1 RETURNING f.id;
