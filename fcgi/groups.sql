-- Printer groups.

-- fragment: group_columns
	g.id, g.name, g.description, coalesce((SELECT jsonb_agg(m.printer_id ORDER BY m.printer_id)
			FROM app.printer_group_members AS m WHERE m.org_id = g.org_id AND m.group_id = g.id), '[]') AS printer_ids,
		g.version, g.created_at, g.updated_at, '"' || g.version || '"' AS _etag
	FROM app.printer_groups AS g WHERE g.org_id = app.org()
-- end

-- name: groups :page
-- params: text
-- orders: name g.name, created_at g.created_at timestamptz
SELECT {key} AS _key,
-- include: group_columns
		AND ($1 IS NULL OR g.name ILIKE $1 OR g.description ILIKE $1)
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: groups_total :one
-- params: text
SELECT count(*) AS total FROM app.printer_groups AS g
	WHERE g.org_id = app.org() AND ($1 IS NULL OR g.name ILIKE $1 OR g.description ILIKE $1);

-- name: group_get :one
-- params: uuid
SELECT
-- include: group_columns
		AND g.id = $1;

-- name: group_insert :one
-- params: uuid, jsonb
INSERT INTO app.printer_groups (id, name, description)
	SELECT $1, b.name, b.description FROM jsonb_to_record($2) AS b (name text, description text) RETURNING id;

-- name: group_update :one
-- params: uuid, jsonb, int[]
UPDATE app.printer_groups AS g SET
		name = CASE WHEN $2 ? 'name' THEN b.name ELSE g.name END,
		description = CASE WHEN $2 ? 'description' THEN b.description ELSE g.description END
	FROM jsonb_to_record($2) AS b (name text, description text),
		(SELECT x.id, app.check_version(x.version, $3) AS current FROM app.printer_groups AS x
			WHERE x.org_id = app.org() AND x.id = $1 FOR UPDATE) AS t
	WHERE g.org_id = app.org() AND g.id = t.id AND t.current
	RETURNING g.id;

-- name: group_delete :one
-- params: uuid, int[]
DELETE FROM app.printer_groups AS g
	USING (SELECT x.id, app.check_version(x.version, $2) AS current FROM app.printer_groups AS x
		WHERE x.org_id = app.org() AND x.id = $1 FOR UPDATE) AS t
	WHERE g.org_id = app.org() AND g.id = t.id AND t.current
	RETURNING g.id;

-- name: group_members_clear :many
-- params: uuid, uuid[]
DELETE FROM app.printer_group_members
	WHERE org_id = app.org() AND group_id = $1 AND printer_id <> ALL ($2) RETURNING printer_id;

-- name: group_members_join :many
-- params: uuid, uuid[]
INSERT INTO app.printer_group_members (org_id, group_id, printer_id)
	SELECT app.org(), $1, x FROM unnest($2) AS x
	WHERE EXISTS (SELECT FROM app.printer_groups AS g WHERE g.org_id = app.org() AND g.id = $1)
	ON CONFLICT DO NOTHING RETURNING printer_id;
