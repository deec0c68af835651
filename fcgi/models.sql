-- Models: what the library groups files by.

-- What is searched for. bar: how much alike a model must be that does not have the words: less when none has them.
-- fragment: models_search
WITH q AS MATERIALIZED (SELECT app.search_words($1) AS words, app.search_query($1) AS query),
	t AS MATERIALIZED (SELECT q.words, q.query, app.trigram_bits(q.words) AS bits, CASE WHEN EXISTS (SELECT FROM app.models AS x
			WHERE x.org_id = app.org() AND x.document @@ q.query) THEN 0.6 ELSE 0.36 END AS bar FROM q WHERE $1 IS NOT NULL),
	s AS MATERIALIZED (SELECT t.*, greatest(1, ceil(bit_count(t.bits) * t.bar))::bigint AS bits_least FROM t)
-- end

-- fragment: models_filtered
	FROM app.models AS m
	WHERE m.org_id = app.org()
		AND CASE WHEN $1 IS NULL OR ((SELECT s.bar FROM s) > 0.5 AND m.document @@ (SELECT s.query FROM s)) THEN true
			WHEN bit_count(m.trigrams & (SELECT s.bits FROM s)) < (SELECT s.bits_least FROM s) THEN false
			ELSE ext.word_similarity((SELECT s.words FROM s), m.words) >= (SELECT s.bar FROM s) END
		AND ($2 IS NULL OR m.tags @> $2)
		AND ($3 IS NULL OR EXISTS (SELECT FROM app.collection_models AS c
			WHERE c.org_id = app.org() AND c.model_id = m.id AND c.collection_id = ANY ($3)))
		AND ($4 IS NULL OR m.favorite = $4)
		AND ($5 IS NULL OR EXISTS (SELECT FROM app.files AS f
			WHERE f.org_id = app.org() AND f.model_id = m.id AND f.deleted_at IS NULL AND f.kind = ANY ($5)))
		AND ($6 IS NULL OR m.created_at >= $6)
		AND ($7 IS NULL OR m.created_at < $7)
-- end

-- fragment: model_columns
	p.id, p.name, p.description, p.notes, to_jsonb(p.tags) AS tags, p.favorite,
		coalesce((SELECT jsonb_agg(c.collection_id ORDER BY c.collection_id) FROM app.collection_models AS c
			WHERE c.org_id = p.org_id AND c.model_id = p.id), '[]') AS collection_ids,
		f.file_count, f.size_bytes, f.kinds, (SELECT app.thumbnail_url(t.id, t.thumbnails) FROM app.files AS t
			WHERE t.org_id = p.org_id AND t.model_id = p.id AND t.deleted_at IS NULL AND t.thumbnails <> '[]'
			ORDER BY t.created_at DESC, t.id DESC LIMIT 1) AS thumbnail_url,
		p.created_by, p.version, p.created_at, p.updated_at
-- end

-- fragment: model_files_summed
	CROSS JOIN LATERAL (SELECT count(*) AS file_count, coalesce(sum(x.size_bytes), 0)::bigint AS size_bytes,
			coalesce(jsonb_agg(DISTINCT x.kind), '[]') AS kinds
		FROM app.files AS x WHERE x.org_id = p.org_id AND x.model_id = p.id AND x.deleted_at IS NULL) AS f
-- end

-- name: models :page
-- params: text, text[], uuid[], bool, text[], timestamptz, timestamptz
-- orders: name m.name, created_at m.created_at timestamptz, updated_at m.updated_at timestamptz
-- also: relevance models_by_relevance
-- include: models_search
SELECT {key:p} AS _key,
-- include: model_columns
	FROM (SELECT m.*
-- include: models_filtered
		AND {after}
		ORDER BY {order} LIMIT {limit} OFFSET {offset}) AS p
-- include: model_files_summed
	ORDER BY {order:p};

-- Best first: the name itself, then all words found, by weight, then what is alike.
-- name: models_by_relevance :many
-- params: text, text[], uuid[], bool, text[], timestamptz, timestamptz, text, uuid, int8, int8
-- include: models_search
SELECT p.score::text AS _key,
-- include: model_columns
	FROM (SELECT r.* FROM (SELECT m.*, ((lower(m.name) = lower($1))::int * 4
			+ CASE WHEN m.document @@ (SELECT s.query FROM s) THEN 2 + ts_rank(m.document, (SELECT s.query FROM s))
				ELSE ext.word_similarity((SELECT s.words FROM s), m.words) END
			+ ext.word_similarity((SELECT s.words FROM s), lower(m.name)))::float4 AS score
-- include: models_filtered
			) AS r
		WHERE $9 IS NULL OR (r.score, r.id) < ($8::float4, $9)
		ORDER BY r.score DESC, r.id DESC LIMIT $10 OFFSET $11) AS p
-- include: model_files_summed
	ORDER BY p.score DESC, p.id DESC;

-- name: models_total :one
-- params: text, text[], uuid[], bool, text[], timestamptz, timestamptz
-- include: models_search
SELECT count(*) AS total
-- include: models_filtered
;

-- name: model_get :one
-- params: uuid
SELECT
-- include: model_columns
		, coalesce(l.files, '[]') AS files, '"c' || p.version || '.s' || to_hex(hashtext(concat(l.state, (
			SELECT string_agg(c.collection_id::text, ',' ORDER BY c.collection_id) FROM app.collection_models AS c
				WHERE c.org_id = p.org_id AND c.model_id = p.id)))) || '"' AS _etag
	FROM app.models AS p
-- include: model_files_summed
	CROSS JOIN LATERAL (SELECT string_agg(concat(x.id, x.version, x.status), ',' ORDER BY x.created_at DESC, x.id DESC) AS state,
			jsonb_agg(jsonb_build_object('id', x.id, 'filename', x.filename, 'kind', x.kind, 'size_bytes', x.size_bytes,
				'status', x.status, 'revision', x.revision, 'revision_status', x.revision_status,
				'thumbnail_url', app.thumbnail_url(x.id, x.thumbnails),
				'estimated_time_s', (x.metadata ->> 'estimated_time_s')::numeric::bigint,
				'filament_weight_mg', (x.metadata ->> 'filament_weight_mg')::numeric::bigint,
				'uploaded_at', app.rfc3339(x.uploaded_at), 'created_at', app.rfc3339(x.created_at))
				ORDER BY x.created_at DESC, x.id DESC) AS files
		FROM (SELECT y.* FROM app.files AS y WHERE y.org_id = p.org_id AND y.model_id = p.id AND y.deleted_at IS NULL
			ORDER BY y.created_at DESC, y.id DESC LIMIT 200) AS x) AS l
	WHERE p.org_id = app.org() AND p.id = $1;

-- name: model_insert :one
-- params: uuid, jsonb
INSERT INTO app.models (id, name, description, notes, tags, favorite)
	SELECT $1, b.name, b.description, b.notes, coalesce(b.tags, '{}'), coalesce(b.favorite, false)
	FROM jsonb_to_record($2) AS b (name text, description text, notes text, tags text[], favorite boolean) RETURNING id;

-- name: model_update :one
-- params: uuid, jsonb, int[]
UPDATE app.models AS m SET
		name = CASE WHEN $2 ? 'name' THEN b.name ELSE m.name END,
		description = CASE WHEN $2 ? 'description' THEN b.description ELSE m.description END,
		notes = CASE WHEN $2 ? 'notes' THEN b.notes ELSE m.notes END,
		tags = CASE WHEN $2 ? 'tags' THEN b.tags ELSE m.tags END,
		favorite = CASE WHEN $2 ? 'favorite' THEN b.favorite ELSE m.favorite END
	FROM jsonb_to_record($2) AS b (name text, description text, notes text, tags text[], favorite boolean),
		(SELECT x.id, app.check_version(x.version, $3) AS current FROM app.models AS x
			WHERE x.org_id = app.org() AND x.id = $1 FOR UPDATE) AS t
	WHERE m.org_id = app.org() AND m.id = t.id AND t.current
	RETURNING m.id;

-- name: model_collections_clear :many
-- params: uuid, uuid[]
DELETE FROM app.collection_models
	WHERE org_id = app.org() AND model_id = $1 AND collection_id <> ALL ($2) RETURNING collection_id;

-- name: model_collections_join :many
-- params: uuid, uuid[]
INSERT INTO app.collection_models (org_id, collection_id, model_id)
	SELECT app.org(), x, $1 FROM unnest($2) AS x
	WHERE EXISTS (SELECT FROM app.models AS m WHERE m.org_id = app.org() AND m.id = $1)
	ON CONFLICT DO NOTHING RETURNING collection_id;

-- Nothing comes to the model any more once it is locked.
-- name: model_lock :one
-- params: uuid, int[]
SELECT m.id, app.check_version(m.version, $2) AS current FROM app.models AS m
	WHERE m.org_id = app.org() AND m.id = $1 FOR UPDATE;

-- name: model_files_leave :many
-- params: uuid, text
UPDATE app.files AS f SET model_id = NULL,
		deleted_at = CASE WHEN $2 = 'trash' AND f.blob_id IS NOT NULL THEN coalesce(f.deleted_at, app.now())
			ELSE f.deleted_at END
	WHERE f.org_id = app.org() AND f.model_id = $1
		AND CASE WHEN $2 IS NULL AND f.deleted_at IS NULL AND f.status NOT IN ('failed', 'expired')
			THEN app.raise('SLP45', 'the model has files') ELSE true END
	RETURNING f.id;

-- name: model_delete :one
-- params: uuid
DELETE FROM app.models WHERE org_id = app.org() AND id = $1 RETURNING id;

-- name: models_stats :one
WITH f AS MATERIALIZED (
		SELECT x.id, x.kind, coalesce(x.size_bytes, 0) AS size_bytes, x.metadata, x.created_at FROM app.files AS x
			WHERE x.org_id = app.org() AND x.model_id IS NOT NULL AND x.deleted_at IS NULL),
	months AS (
		SELECT x AS start, x + interval '1 month' AS stop FROM generate_series(date_trunc('month', app.now(), 'UTC')
			- interval '11 months', date_trunc('month', app.now(), 'UTC'), interval '1 month') AS x)
SELECT m.models, m.favorites, (SELECT count(*) FROM app.collections AS c WHERE c.org_id = app.org()) AS collections,
		(SELECT count(DISTINCT t) FROM app.models AS x, unnest(x.tags) AS t WHERE x.org_id = app.org()) AS tags,
		(SELECT count(*) FROM f) AS files, (SELECT coalesce(sum(f.size_bytes), 0)::bigint FROM f) AS size_bytes,
		(SELECT coalesce(jsonb_agg(to_jsonb(g) ORDER BY g.files DESC, g.kind), '[]') FROM (
			SELECT f.kind, count(*) AS files, sum(f.size_bytes) AS size_bytes FROM f GROUP BY f.kind) AS g) AS by_kind,
		(SELECT coalesce(jsonb_agg(to_jsonb(g) ORDER BY g.files DESC, g.slicer), '[]') FROM (
			SELECT f.metadata #>> '{slicer,name}' AS slicer, count(*) AS files FROM f
			WHERE f.metadata #>> '{slicer,name}' IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100) AS g) AS by_slicer,
		(SELECT coalesce(jsonb_agg(to_jsonb(g) ORDER BY g.files DESC, g.printer_model), '[]') FROM (
			SELECT f.metadata ->> 'printer_model' AS printer_model, count(*) AS files FROM f
			WHERE f.metadata ->> 'printer_model' IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100) AS g) AS by_printer_model,
		(SELECT coalesce(jsonb_agg(to_jsonb(g) ORDER BY g.files DESC, g.material), '[]') FROM (
			SELECT u.material, count(*) AS files, sum(u.weight_mg)::bigint AS weight_mg FROM (
				SELECT s ->> 'material' AS material, sum(coalesce((s ->> 'weight_mg')::numeric, 0)) AS weight_mg
					FROM f, jsonb_path_query(f.metadata, '$.filaments[*] ? (@.material.type() == "string")') AS s
					GROUP BY f.id, 1) AS u
			GROUP BY u.material ORDER BY 2 DESC, 1 LIMIT 100) AS g) AS by_material,
		(SELECT jsonb_agg(jsonb_build_object('month', to_char(months.start AT TIME ZONE 'UTC', 'YYYY-MM'),
			'models', (SELECT count(*) FROM app.models AS x WHERE x.org_id = app.org() AND x.created_at >= months.start
				AND x.created_at < months.stop),
			'files', (SELECT count(*) FROM f WHERE f.created_at >= months.start AND f.created_at < months.stop))
			ORDER BY months.start) FROM months) AS per_month
	FROM (SELECT count(*) AS models, count(*) FILTER (WHERE x.favorite) AS favorites FROM app.models AS x
		WHERE x.org_id = app.org()) AS m;

-- One page after a model, and one model more: it says that there is more.
-- fragment: export_page
	FROM (SELECT m.*, row_number() OVER (ORDER BY m.id) AS n, coalesce((SELECT array_agg(c.name ORDER BY c.name) FROM app.collection_models AS x
				JOIN app.collections AS c ON c.org_id = x.org_id AND c.id = x.collection_id
				WHERE x.org_id = m.org_id AND x.model_id = m.id), '{}') AS collections
			FROM app.models AS m WHERE m.org_id = app.org()
				AND m.id > coalesce($1, '00000000-0000-0000-0000-000000000000') ORDER BY m.id LIMIT $2 + 1) AS p
		LEFT JOIN LATERAL (SELECT f.*, f.metadata #>> '{slicer,name}' AS slicer,
			f.metadata ->> 'printer_model' AS printer_model, (f.metadata ->> 'estimated_time_s')::numeric::bigint AS time_s,
			(f.metadata ->> 'filament_weight_mg')::numeric::bigint AS weight_mg, (SELECT string_agg(t.material, ', ') FROM (
				SELECT DISTINCT s #>> '{}' AS material FROM jsonb_path_query(f.metadata, '$.filaments[*].material') AS s) AS t
			) AS material FROM app.files AS f WHERE f.org_id = p.org_id AND f.model_id = p.id AND f.deleted_at IS NULL) AS f ON true
-- end

-- name: models_export :many
-- params: uuid, int8
SELECT p.n AS _n, p.id AS _id, p.id, p.name, p.description, p.notes, to_jsonb(p.tags) AS tags, p.favorite, to_jsonb(p.collections) AS collections,
		p.created_at, p.updated_at, coalesce(jsonb_agg(jsonb_build_object('id', f.id, 'filename', f.filename, 'kind', f.kind,
			'size_bytes', f.size_bytes, 'sha256', encode(f.sha256, 'hex'), 'status', f.status, 'revision', f.revision,
			'revision_status', f.revision_status, 'estimated_time_s', f.time_s, 'filament_weight_mg', f.weight_mg,
			'slicer', f.slicer, 'printer_model', f.printer_model, 'material', f.material,
			'uploaded_at', app.rfc3339(f.uploaded_at)) ORDER BY f.created_at DESC, f.id DESC)
			FILTER (WHERE f.id IS NOT NULL), '[]') AS files
-- include: export_page
	GROUP BY p.n, p.id, p.name, p.description, p.notes, p.tags, p.favorite, p.collections, p.created_at, p.updated_at
	ORDER BY p.id;

-- name: models_export_lines :many
-- params: uuid, int8
SELECT p.n AS _n, p.id AS _id, p.id AS model_id, p.name AS model_name, p.description, p.notes, array_to_string(p.tags, ',') AS tags,
		CASE WHEN p.favorite THEN 'true' ELSE 'false' END AS favorite, array_to_string(p.collections, ',') AS collections,
		app.rfc3339(p.created_at) AS created_at, app.rfc3339(p.updated_at) AS updated_at, f.id AS file_id, f.filename, f.kind,
		f.size_bytes, encode(f.sha256, 'hex') AS sha256, f.status, f.revision, f.revision_status,
		f.time_s AS estimated_time_s, f.weight_mg AS filament_weight_mg, f.slicer, f.printer_model, f.material,
		app.rfc3339(f.uploaded_at) AS uploaded_at
-- include: export_page
	ORDER BY p.id, f.created_at DESC, f.id DESC;
