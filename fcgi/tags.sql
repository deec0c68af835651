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

-- name: tags :page
-- params: text
-- orders: name t.name, count t.count int8
-- id: t._id
SELECT {key} AS _key, t.*
-- include: tags_counted
	WHERE {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

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
