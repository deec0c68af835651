-- Tags, counted where they are used. What is not a row has no id: _id is made of the name.

-- fragment: tags_counted
	FROM (SELECT u.name, count(*) AS count, count(*) FILTER (WHERE u.kind = 'm') AS model_count,
			count(*) FILTER (WHERE u.kind = 'f') AS file_count, count(*) FILTER (WHERE u.kind = 'p') AS printer_count,
			md5(u.name)::uuid AS _id
		FROM (SELECT unnest(m.tags) AS name, 'm' AS kind FROM app.models AS m WHERE m.org_id = app.org()
			UNION ALL SELECT unnest(f.tags), 'f' FROM app.files AS f WHERE f.org_id = app.org() AND f.deleted_at IS NULL
			UNION ALL SELECT unnest(p.tags), 'p' FROM app.printers AS p WHERE p.org_id = app.org() AND p.deleted_at IS NULL
			) AS u
		WHERE $1 IS NULL OR u.name ILIKE $1 GROUP BY u.name) AS t
-- end

-- name: tags_by_name :many
-- params: text, text, uuid, int8, int8
SELECT t.name AS _key, t.*
-- include: tags_counted
	WHERE (t.name, t._id) > (coalesce($2, ''), coalesce($3, '00000000-0000-0000-0000-000000000000'))
	ORDER BY t.name, t._id LIMIT $4 OFFSET $5;

-- name: tags_by_name_desc :many
-- params: text, text, uuid, int8, int8
SELECT t.name AS _key, t.*
-- include: tags_counted
	WHERE $3 IS NULL OR (t.name, t._id) < ($2, $3)
	ORDER BY t.name DESC, t._id DESC LIMIT $4 OFFSET $5;

-- name: tags_by_count :many
-- params: text, text, uuid, int8, int8
SELECT t.count::text AS _key, t.*
-- include: tags_counted
	WHERE (t.count, t._id) > (coalesce($2::bigint, 0), coalesce($3, '00000000-0000-0000-0000-000000000000'))
	ORDER BY t.count, t._id LIMIT $4 OFFSET $5;

-- name: tags_by_count_desc :many
-- params: text, text, uuid, int8, int8
SELECT t.count::text AS _key, t.*
-- include: tags_counted
	WHERE $3 IS NULL OR (t.count, t._id) < ($2::bigint, $3)
	ORDER BY t.count DESC, t._id DESC LIMIT $4 OFFSET $5;

-- name: tags_total :one
-- params: text
SELECT count(*) AS total
-- include: tags_counted
;

-- name: tag_rename :one
-- params: text, text
WITH m AS (UPDATE app.models AS x SET tags = app.replace_tag(x.tags, $1, $2)
		WHERE x.org_id = app.org() AND x.tags @> ARRAY[$1] RETURNING x.id),
	f AS (UPDATE app.files AS x SET tags = app.replace_tag(x.tags, $1, $2)
		WHERE x.org_id = app.org() AND x.tags @> ARRAY[$1] RETURNING x.id)
SELECT (SELECT count(*) FROM m) AS models, (SELECT count(*) FROM f) AS files;

-- name: tag_delete :one
-- params: text
WITH m AS (UPDATE app.models AS x SET tags = array_remove(x.tags, $1)
		WHERE x.org_id = app.org() AND x.tags @> ARRAY[$1] RETURNING x.id),
	f AS (UPDATE app.files AS x SET tags = array_remove(x.tags, $1)
		WHERE x.org_id = app.org() AND x.tags @> ARRAY[$1] RETURNING x.id)
SELECT (SELECT count(*) FROM m) AS models, (SELECT count(*) FROM f) AS files;
