-- Slicer presets: one table, two resources.

-- fragment: profiles_filtered
		AND ($1 IS NULL OR p.name ILIKE $1 OR p.vendor ILIKE $1)
		AND ($2 IS NULL OR p.vendor = $2)
-- end

-- fragment: filament_profile_columns
	p.id, p.name, p.vendor, p.notes, p.attributes -> 'material' AS material, p.attributes -> 'color' AS color,
		p.attributes -> 'density_g_cm3' AS density_g_cm3, p.attributes -> 'diameter_mm' AS diameter_mm,
		p.attributes -> 'cost_per_kg' AS cost_per_kg, p.attributes -> 'currency' AS currency,
		p.attributes -> 'nozzle_temperature_c' AS nozzle_temperature_c,
		p.attributes -> 'first_layer_nozzle_temperature_c' AS first_layer_nozzle_temperature_c,
		p.attributes -> 'bed_temperature_c' AS bed_temperature_c,
		p.attributes -> 'first_layer_bed_temperature_c' AS first_layer_bed_temperature_c,
		p.attributes -> 'max_volumetric_speed_mm3_s' AS max_volumetric_speed_mm3_s,
		p.settings, p.source - 'attributes' AS source, p.version, p.created_at, p.updated_at, '"' || p.version || '"' AS _etag
	FROM app.profiles AS p WHERE p.org_id = app.org() AND p.kind = 'filament'
-- end

-- fragment: printer_profile_columns
	p.id, p.name, p.vendor, p.notes, p.attributes -> 'model' AS model, p.attributes -> 'bed_volume' AS bed_volume,
		coalesce(p.attributes -> 'nozzles', '[]') AS nozzles, p.attributes -> 'gcode_flavor' AS gcode_flavor,
		p.settings, p.source - 'attributes' AS source, p.version, p.created_at, p.updated_at, '"' || p.version || '"' AS _etag
	FROM app.profiles AS p WHERE p.org_id = app.org() AND p.kind = 'printer'
-- end

-- name: filament_profiles :page
-- params: text, text, text
-- orders: name p.name, created_at p.created_at timestamptz, updated_at p.updated_at timestamptz
SELECT {key} AS _key,
-- include: filament_profile_columns
-- include: profiles_filtered
		AND ($3 IS NULL OR p.attributes ->> 'material' = $3)
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: printer_profiles :page
-- params: text, text, text
-- orders: name p.name, created_at p.created_at timestamptz, updated_at p.updated_at timestamptz
SELECT {key} AS _key,
-- include: printer_profile_columns
-- include: profiles_filtered
		AND ($3 IS NULL OR p.attributes ->> 'model' = $3)
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: filament_profiles_total :one
-- params: text, text, text
SELECT count(*) AS total FROM app.profiles AS p WHERE p.org_id = app.org() AND p.kind = 'filament'
-- include: profiles_filtered
		AND ($3 IS NULL OR p.attributes ->> 'material' = $3);

-- name: printer_profiles_total :one
-- params: text, text, text
SELECT count(*) AS total FROM app.profiles AS p WHERE p.org_id = app.org() AND p.kind = 'printer'
-- include: profiles_filtered
		AND ($3 IS NULL OR p.attributes ->> 'model' = $3);

-- name: filament_profile_get :one
-- params: uuid
SELECT
-- include: filament_profile_columns
		AND p.id = $1;

-- name: printer_profile_get :one
-- params: uuid
SELECT
-- include: printer_profile_columns
		AND p.id = $1;

-- name: profile_raw :one
-- params: uuid, text
SELECT p.name, p.vendor, p.attributes, p.settings, p.source ->> 'format' AS format, p.source -> 'attributes' AS imported
	FROM app.profiles AS p WHERE p.org_id = app.org() AND p.id = $1 AND p.kind = $2;

-- name: profile_insert :one
-- params: uuid, text, jsonb
INSERT INTO app.profiles (id, kind, name, vendor, notes, settings, attributes)
	SELECT $1, $2, b.name, b.vendor, b.notes, coalesce(b.settings, '{}'), $3 - '{name,vendor,notes,settings}'::text[]
	FROM jsonb_to_record($3) AS b (name text, vendor text, notes text, settings jsonb) RETURNING id;

-- name: profile_update :one
-- params: uuid, text, jsonb, int[]
UPDATE app.profiles AS p SET
		name = CASE WHEN $3 ? 'name' THEN b.name ELSE p.name END,
		vendor = CASE WHEN $3 ? 'vendor' THEN b.vendor ELSE p.vendor END,
		notes = CASE WHEN $3 ? 'notes' THEN b.notes ELSE p.notes END,
		settings = CASE WHEN $3 ? 'settings' THEN b.settings ELSE p.settings END,
		attributes = jsonb_strip_nulls(p.attributes || ($3 - '{name,vendor,notes,settings}'::text[]))
	FROM jsonb_to_record($3) AS b (name text, vendor text, notes text, settings jsonb),
		(SELECT x.id, app.check_version(x.version, $4) AS current FROM app.profiles AS x
			WHERE x.org_id = app.org() AND x.id = $1 AND x.kind = $2 FOR UPDATE) AS t
	WHERE p.org_id = app.org() AND p.id = t.id AND t.current
	RETURNING p.id;

-- name: profile_delete :one
-- params: uuid, text, int[]
DELETE FROM app.profiles AS p
	USING (SELECT x.id, app.check_version(x.version, $3) AS current FROM app.profiles AS x
		WHERE x.org_id = app.org() AND x.id = $1 AND x.kind = $2 FOR UPDATE) AS t
	WHERE p.org_id = app.org() AND p.id = t.id AND t.current
	RETURNING p.id;

-- Of two presets with the same name in one file the last counts.
-- name: profiles_import :many
-- params: text, jsonb, bool
WITH b AS MATERIALIZED (SELECT DISTINCT ON (lower(r.x ->> 'name')) r.n, r.x ->> 'name' AS name, r.x ->> 'vendor' AS vendor,
			r.x -> 'attributes' AS attributes, r.x -> 'settings' AS settings, r.x -> 'source' AS source
		FROM jsonb_array_elements($2) WITH ORDINALITY AS r (x, n) ORDER BY lower(r.x ->> 'name'), r.n DESC),
	done AS (INSERT INTO app.profiles AS p (kind, name, vendor, attributes, settings, source)
		SELECT $1, b.name, b.vendor, b.attributes, b.settings, b.source FROM b ORDER BY lower(b.name)
		ON CONFLICT (org_id, kind, lower(name)) DO UPDATE SET name = EXCLUDED.name, vendor = EXCLUDED.vendor,
			attributes = EXCLUDED.attributes, settings = EXCLUDED.settings, source = EXCLUDED.source WHERE $3
		RETURNING p.id, lower(p.name) AS key, p.xmax = 0 AS fresh)
SELECT b.name, CASE WHEN d.fresh THEN 'created' WHEN d.id IS NOT NULL THEN 'updated' ELSE 'existing' END AS status,
		coalesce(d.id, x.id) AS id
	FROM b LEFT JOIN done AS d ON d.key = lower(b.name)
		LEFT JOIN app.profiles AS x ON x.org_id = app.org() AND x.kind = $1 AND lower(x.name) = lower(b.name) AND d.id IS NULL
	ORDER BY b.n;
