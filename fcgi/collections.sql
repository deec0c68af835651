-- Collections of models.

-- fragment: collection_columns
	c.id, c.name, c.description, (SELECT count(*) FROM app.collection_models AS m
			WHERE m.org_id = c.org_id AND m.collection_id = c.id) AS model_count,
		c.version, c.created_at, c.updated_at, '"' || c.version || '"' AS _etag
	FROM app.collections AS c WHERE c.org_id = app.org()
-- end

-- name: collections :page
-- params: text
-- orders: name c.name, created_at c.created_at timestamptz
SELECT {key} AS _key,
-- include: collection_columns
		AND ($1 IS NULL OR c.name ILIKE $1 OR c.description ILIKE $1)
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: collections_total :one
-- params: text
SELECT count(*) AS total FROM app.collections AS c
	WHERE c.org_id = app.org() AND ($1 IS NULL OR c.name ILIKE $1 OR c.description ILIKE $1);

-- name: collection_get :one
-- params: uuid
SELECT
-- include: collection_columns
		AND c.id = $1;

-- name: collection_insert :one
-- params: uuid, jsonb
INSERT INTO app.collections (id, name, description)
	SELECT $1, b.name, b.description FROM jsonb_to_record($2) AS b (name text, description text) RETURNING id;

-- name: collection_update :one
-- params: uuid, jsonb, int[]
UPDATE app.collections AS c SET
		name = CASE WHEN $2 ? 'name' THEN b.name ELSE c.name END,
		description = CASE WHEN $2 ? 'description' THEN b.description ELSE c.description END
	FROM jsonb_to_record($2) AS b (name text, description text),
		(SELECT x.id, app.check_version(x.version, $3) AS current FROM app.collections AS x
			WHERE x.org_id = app.org() AND x.id = $1 FOR UPDATE) AS t
	WHERE c.org_id = app.org() AND c.id = t.id AND t.current
	RETURNING c.id;

-- name: collection_delete :one
-- params: uuid, int[]
DELETE FROM app.collections AS c
	USING (SELECT x.id, app.check_version(x.version, $2) AS current FROM app.collections AS x
		WHERE x.org_id = app.org() AND x.id = $1 FOR UPDATE) AS t
	WHERE c.org_id = app.org() AND c.id = t.id AND t.current
	RETURNING c.id;

-- name: collection_models_keep :many
-- params: uuid, uuid[]
DELETE FROM app.collection_models
	WHERE org_id = app.org() AND collection_id = $1 AND model_id <> ALL ($2) RETURNING model_id;

-- name: collection_models_remove :many
-- params: uuid, uuid[]
DELETE FROM app.collection_models
	WHERE org_id = app.org() AND collection_id = $1 AND model_id = ANY ($2) RETURNING model_id;

-- name: collection_models_add :many
-- params: uuid, uuid[]
INSERT INTO app.collection_models (org_id, collection_id, model_id)
	SELECT app.org(), $1, x FROM unnest($2) AS x
	WHERE EXISTS (SELECT FROM app.collections AS c WHERE c.org_id = app.org() AND c.id = $1)
	ON CONFLICT DO NOTHING RETURNING model_id;
