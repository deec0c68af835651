-- Deploy soloprint:queue_match to pg
-- requires: queue
-- Which printer may take which item, and why. What lasts (a printer's configuration and its slots against an item's
-- wishes) is stored, one row per distinct set of wishes and printer, and follows every change at once. What passes (offline,
-- busy, plate not cleared) is the printer's alone and is asked for when needed. The reasons' codes are the contract's.

BEGIN;
SET LOCAL ROLE soloprint_owner;

CREATE FUNCTION app.queue_reason(code text, severity text, slot int, expected jsonb, actual jsonb) RETURNS jsonb
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN jsonb_build_object('code', code, 'severity', severity, 'slot', slot, 'expected', expected, 'actual', actual);

-- "PLA Basic", "pla+" and "PLA" are one material to a printer.
CREATE FUNCTION app.queue_material(name text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN nullif(rtrim(split_part(lower(btrim(name)), ' ', 1), '+'), '');

-- How a slicer and how we call a model: without the maker's name, signs and letter case.
CREATE FUNCTION app.queue_model(name text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN nullif(CASE regexp_replace(regexp_replace(lower(name), '^(bambu lab|bambulab|original prusa|prusa)\s+', ''), '[^a-z0-9]', '', 'g')
		WHEN 'x1carbon' THEN 'x1c' ELSE regexp_replace(regexp_replace(lower(name), '^(bambu lab|bambulab|original prusa|prusa)\s+', ''),
			'[^a-z0-9]', '', 'g') END, '');

-- How far two colours ("#RRGGBB", "#RRGGBBAA") are apart in the channel in which they differ most, 0 to 255.
CREATE FUNCTION app.queue_color_distance(a text, b text) RETURNS int
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	AS $$
DECLARE
	x bytea;
	y bytea;
BEGIN
	IF a !~ '^#[0-9A-Fa-f]{6}' OR b !~ '^#[0-9A-Fa-f]{6}' THEN
		RETURN NULL;
	END IF;
	x := decode(substr(a, 2, 6), 'hex');
	y := decode(substr(b, 2, 6), 'hex');
	RETURN greatest(abs(get_byte(x, 0) - get_byte(y, 0)), abs(get_byte(x, 1) - get_byte(y, 1)), abs(get_byte(x, 2) - get_byte(y, 2)));
END
$$;

-- What matching needs to know of a printer.
CREATE FUNCTION app.queue_facts(p app.printers, s app.printer_status) RETURNS jsonb
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN jsonb_build_object('id', p.id, 'protocol', p.protocol, 'model', p.model, 'model_key', app.queue_model(p.model), 'upload', p.features -> 'upload', 'ams', p.features -> 'ams',
		'bed', p.bed_volume, 'nozzles', p.nozzles, 'enclosure', p.enclosure, 'max', p.max_temperatures, 'tags', to_jsonb(p.tags),
		'groups', jsonb_path_query_array(p.groups, '$[*].id'), 'slots', s.material_context -> 'slots', 'ams_seen', s.ams IS NOT NULL);

-- Told apart by: what a match of these facts was made of.
CREATE FUNCTION app.queue_input_version(p app.printers, s app.printer_status) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN 'c' || p.version || '.' || left(md5(coalesce(jsonb_path_query_array(s.material_context,
		'$.slots[*] ? (@.material != null || @.color != null)')::text, '')), 8);

-- The file that this printer would print: that of the first variant made for its model, else the one for all. NULL: none.
CREATE FUNCTION app.queue_variant(need jsonb, model_key text) RETURNS jsonb
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	AS $$
DECLARE
	variants CONSTANT jsonb := need -> 'variants';
	v jsonb;
	for_all jsonb;
BEGIN
	FOR n IN 0 .. jsonb_array_length(variants) - 1 LOOP
		v := variants -> n;
		IF v -> 'models' = 'null' THEN
			for_all := coalesce(for_all, v);
		ELSIF (v -> 'models') ? model_key THEN
			RETURN v;
		END IF;
	END LOOP;
	RETURN for_all;
END
$$;

-- Is the printer one of those that are meant?
CREATE FUNCTION app.queue_match_target(req jsonb, f jsonb) RETURNS jsonb
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	AS $$
DECLARE
	ids jsonb := coalesce(req -> 'printer_ids', '[]');
	models jsonb := coalesce(req -> 'models', '[]');
	groups jsonb := coalesce(req -> 'group_ids', '[]');
	out jsonb := '[]';
BEGIN
	IF ids = '[]' AND models = '[]' AND groups = '[]' OR ids ? (f ->> 'id')
			OR EXISTS (SELECT FROM jsonb_array_elements_text(models) AS m WHERE app.queue_model(m) = f ->> 'model_key')
			OR EXISTS (SELECT FROM jsonb_array_elements_text(groups) AS g WHERE (f -> 'groups') ? g) THEN
		NULL;
	ELSIF models <> '[]' THEN
		out := out || app.queue_reason('model_mismatch', 'hard', NULL, models, f -> 'model');
	ELSIF groups <> '[]' THEN
		out := out || app.queue_reason('group_mismatch', 'hard', NULL, groups, f -> 'groups');
	ELSE
		out := out || app.queue_reason('printer_not_targeted', 'hard', NULL, ids, f -> 'id');
	END IF;
	IF NOT coalesce(f -> 'tags', '[]') @> coalesce(req -> 'tags', '[]') THEN
		out := out || app.queue_reason('missing_tags', 'hard', NULL, req -> 'tags', f -> 'tags');
	END IF;
	RETURN out;
END
$$;

-- Bambu's models that print 3MF alone, and no .gcode, by the keys of their names and of the maker's codes: gateway/bambu_model.c.
CREATE FUNCTION app.prints_3mf_alone(protocol text, model_key text) RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN protocol = 'bambu' AND model_key IN ('a1', 'a1mini', 'a1m', 'a2l', 'p2s', 'x2d', 'h2d', 'h2dpro', 'h2s', 'h2c', 'n1', 'n2s', 'n6', 'n7', 'n9',
		'o1c', 'o1c2', 'o1d', 'o1s');

-- Can it print the file at all, and was the file made for it?
CREATE FUNCTION app.queue_match_file(need jsonb, v jsonb, f jsonb) RETURNS jsonb
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	AS $$
DECLARE
	known CONSTANT jsonb := '["x1c", "x1", "x1e", "p1p", "p1s", "p2s", "a1", "a1mini", "a2l", "h2d", "h2c", "h2s", "x2d", "mk3", "mk3s", "mk35", "mk39",
		"mk4", "mk4s", "mini", "xl", "coreone", "coreonel"]';
	made_for CONSTANT text := v ->> 'model_key';
	model CONSTANT text := f ->> 'model_key';
	sure boolean; -- that they are not the same
BEGIN
	IF need -> 'variants' = '[]' THEN
		RETURN '[]';
	ELSIF (f -> 'upload' = 'true') IS NOT TRUE THEN
		RETURN jsonb_build_array(app.queue_reason('protocol_unsupported', 'hard', NULL, '"upload"', f -> 'protocol'));
	ELSIF v IS NULL THEN
		RETURN jsonb_build_array(app.queue_reason('model_mismatch', 'hard', NULL,
			jsonb_path_query_array(need, '$.variants[*].models[*]'), f -> 'model'));
	ELSIF NOT app.prints_kind(f ->> 'protocol', v ->> 'kind') THEN
		RETURN jsonb_build_array(app.queue_reason('file_format_mismatch', 'hard', NULL, v -> 'kind', f -> 'protocol'));
	ELSIF v ->> 'kind' = 'gcode' AND app.prints_3mf_alone(f ->> 'protocol', model) THEN
		RETURN jsonb_build_array(app.queue_reason('file_format_mismatch', 'hard', NULL, v -> 'kind', f -> 'model'));
	ELSIF v -> 'models' <> 'null' OR made_for IS NULL OR made_for = model THEN
		RETURN '[]';
	END IF;
	sure := coalesce(known ? made_for AND known ? model, false);
	RETURN jsonb_build_array(app.queue_reason(CASE WHEN sure THEN 'model_mismatch' ELSE 'model_unverified' END,
		CASE WHEN sure THEN 'hard' ELSE 'soft' END, NULL, v -> 'model', f -> 'model'));
END
$$;

-- One of the printer's numbers against the least it must be: nothing is known of it: soft, when it was asked for by name.
CREATE FUNCTION app.queue_match_least(code text, unknown text, wanted jsonb, has jsonb, explicit boolean) RETURNS jsonb
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE WHEN coalesce(wanted, 'null') = 'null' THEN '[]'::jsonb
		WHEN coalesce(has, 'null') = 'null' THEN CASE WHEN explicit THEN jsonb_build_array(app.queue_reason(unknown, 'soft', NULL, wanted, NULL))
			ELSE '[]'::jsonb END
		WHEN wanted::numeric > has::numeric THEN jsonb_build_array(app.queue_reason(code, 'hard', NULL, wanted, has))
		ELSE '[]'::jsonb END;

-- Nozzle, space, temperatures, enclosure, bed. What the client asks for wins over what the file says.
CREATE FUNCTION app.queue_match_machine(req jsonb, v jsonb, f jsonb) RETURNS jsonb
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	AS $$
DECLARE
	out jsonb := '[]';
	nozzle jsonb := coalesce(req -> 'nozzle_diameter_mm', v -> 'nozzle', 'null');
	bed_type text := coalesce(req ->> 'bed_type', '');
	axis text;
	part text;
BEGIN
	IF nozzle <> 'null' AND coalesce(f -> 'nozzles', '[]') = '[]' THEN
		out := out || app.queue_reason('nozzle_unknown', 'soft', NULL, nozzle, NULL);
	ELSIF nozzle <> 'null' AND NOT EXISTS (SELECT FROM jsonb_array_elements(f -> 'nozzles') AS n
			WHERE abs((n ->> 'diameter_mm')::numeric - nozzle::numeric) <= 0.01
			AND (req ->> 'nozzle_material' IS NULL OR lower(n ->> 'material') = lower(req ->> 'nozzle_material'))) THEN
		out := out || app.queue_reason('nozzle_mismatch', 'hard', NULL, CASE WHEN req ? 'nozzle_material'
			THEN jsonb_build_object('diameter_mm', nozzle, 'material', req -> 'nozzle_material') ELSE nozzle END,
			CASE WHEN req ? 'nozzle_material' THEN f -> 'nozzles' ELSE jsonb_path_query_array(f, '$.nozzles[*].diameter_mm') END);
	END IF;
	FOREACH axis IN ARRAY '{x_mm,y_mm,z_mm}'::text[] LOOP
		out := out || app.queue_match_least('volume_exceeded', 'volume_unknown',
			coalesce(req -> 'bed_size' -> axis, v -> 'size' -> axis), f -> 'bed' -> axis, (req -> 'bed_size') ? axis);
	END LOOP;
	FOREACH part IN ARRAY '{nozzle_c,bed_c,chamber_c}'::text[] LOOP
		out := out || app.queue_match_least('temp_exceeded', 'temp_unknown',
			coalesce(req -> 'temperatures' -> part, v -> 'temperatures' -> part), f -> 'max' -> part, (req -> 'temperatures') ? part);
	END LOOP;
	IF req -> 'enclosure' = 'true' AND coalesce(f -> 'enclosure', 'null') <> 'true' THEN
		out := out || app.queue_reason(CASE f -> 'enclosure' WHEN 'false' THEN 'enclosure_missing' ELSE 'enclosure_unknown' END,
			CASE f -> 'enclosure' WHEN 'false' THEN 'hard' ELSE 'soft' END, NULL, 'true', f -> 'enclosure');
	END IF;
	IF bed_type <> '' THEN -- no printer tells which plate lies in it
		out := out || app.queue_reason('bed_plate_unknown', 'soft', NULL, to_jsonb(bed_type), NULL);
	END IF;
	RETURN out;
END
$$;

-- Filaments against slots, one after the other: each takes the free slot of its material whose colour is nearest, else one
-- that is taken already. mapping: [{unit, slot} or null]; misses: preferred colours that no slot has.
CREATE FUNCTION app.queue_match_slots(wanted jsonb, f jsonb, OUT reasons jsonb, OUT mapping jsonb, OUT misses int)
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	AS $$
DECLARE
	slots jsonb := coalesce(f -> 'slots', '[]');
	n_wanted int := (SELECT count(*) FROM jsonb_array_elements(wanted) AS w WHERE w <> 'null');
	used int[] := '{}';
	w record;
	best record;
	how text;
BEGIN
	reasons := '[]';
	misses := 0;
	IF n_wanted = 0 THEN
		RETURN;
	ELSIF slots = '[]' THEN
		reasons := jsonb_build_array(CASE WHEN (f -> 'ams' = 'true') IS TRUE AND (f -> 'ams_seen')::boolean
			THEN app.queue_reason('slot_missing', 'hard', NULL, to_jsonb(n_wanted), '0')
			ELSE app.queue_reason('material_unknown', 'soft', NULL, jsonb_path_query_array(wanted, '$[*].material'), NULL) END);
		RETURN;
	END IF;
	mapping := '[]';
	FOR w IN SELECT x.v, x.n - 1 AS n FROM jsonb_array_elements(wanted) WITH ORDINALITY AS x (v, n) ORDER BY x.n LOOP
		IF w.v = 'null' THEN
			mapping := mapping || '[null]'::jsonb;
			CONTINUE;
		END IF;
		how := coalesce(w.v ->> 'color_match', 'preferred');
		SELECT s.n, s.v, app.queue_color_distance(w.v ->> 'color', s.v ->> 'color') AS far,
				s.v ->> 'material' IS NULL AND w.v ->> 'material' IS NOT NULL AS unsure INTO best
			FROM jsonb_array_elements(slots) WITH ORDINALITY AS s (v, n)
			WHERE w.v ->> 'material' IS NULL OR s.v ->> 'material' IS NULL
				OR app.queue_material(s.v ->> 'material') = app.queue_material(w.v ->> 'material')
			ORDER BY unsure, s.n = ANY (used), far NULLS LAST, s.n LIMIT 1;
		IF NOT FOUND THEN
			reasons := reasons || app.queue_reason('material_mismatch', 'hard', w.n::int, w.v -> 'material',
				jsonb_path_query_array(slots, '$[*].material'));
			mapping := mapping || '[null]'::jsonb;
			CONTINUE;
		END IF;
		used := used || best.n::int;
		mapping := mapping || jsonb_build_array(jsonb_build_object('unit', best.v -> 'unit', 'slot', best.v -> 'slot'));
		IF best.unsure THEN
			reasons := reasons || app.queue_reason('material_unknown', 'soft', w.n::int, w.v -> 'material', NULL);
		ELSIF w.v ->> 'color' IS NOT NULL AND best.far IS NULL AND how <> 'preferred' THEN
			reasons := reasons || app.queue_reason('color_unknown', 'soft', w.n::int, w.v -> 'color', best.v -> 'color');
		ELSIF how = 'exact' AND best.far > 0 OR how = 'similar' AND best.far > 40 THEN
			reasons := reasons || app.queue_reason('color_mismatch', 'hard', w.n::int, w.v -> 'color',
				(SELECT jsonb_agg(s -> 'color') FROM jsonb_array_elements(slots) AS s
					WHERE w.v ->> 'material' IS NULL OR app.queue_material(s ->> 'material') = app.queue_material(w.v ->> 'material')));
		ELSIF best.far > 40 THEN
			misses := misses + 1;
		END IF;
		IF coalesce(w.v -> 'minimum_mg', 'null') <> 'null' THEN -- slots tell a share of a spool, not how much it holds
			reasons := reasons || app.queue_reason('filament_unknown', 'soft', w.n::int, w.v -> 'minimum_mg', NULL);
		END IF;
	END LOOP;
END
$$;

-- All of it. state: blocked by a hard reason, unknown by a soft one, else eligible. variant: n of the file for it.
CREATE FUNCTION app.queue_match(need jsonb, f jsonb, OUT state text, OUT reasons jsonb, OUT variant int, OUT mapping jsonb, OUT misses int)
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	AS $$
DECLARE
	req jsonb := need -> 'req';
	v jsonb := app.queue_variant(need, f ->> 'model_key');
	s record;
BEGIN
	variant := (v ->> 'n')::int;
	reasons := app.queue_match_target(req, f) || app.queue_match_file(need, v, f) || app.queue_match_machine(req, v, f);
	SELECT * INTO s FROM app.queue_match_slots(coalesce(req -> 'slots', v -> 'slots', '[]'), f);
	reasons := reasons || s.reasons;
	mapping := s.mapping;
	misses := s.misses;
	state := CASE WHEN reasons @> '[{"severity": "hard"}]' THEN 'blocked' WHEN reasons = '[]' THEN 'eligible' ELSE 'unknown' END;
END
$$;

-- The one place that says whether who asked for an item may use a printer: a key that is limited to some printers asks for
-- these only.
CREATE FUNCTION app.may_use_printer(requester uuid, allowed uuid[], printer uuid) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN allowed IS NULL OR printer = ANY (allowed);

-- Inside one of the windows [{days, from, to}] at this time; always when there are none. A window whose end is not behind
-- its beginning goes over midnight and belongs to the day on which it begins.
CREATE FUNCTION app.queue_in_window(windows jsonb, at timestamptz, zone text) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN windows = '[]' OR EXISTS (SELECT FROM jsonb_array_elements(windows) AS w,
		LATERAL (SELECT (w ->> 'from')::time AS f, (w ->> 'to')::time AS t, (at AT TIME ZONE zone)::time AS now,
			lower(to_char(at AT TIME ZONE zone, 'Dy')) AS today, lower(to_char(at AT TIME ZONE zone - '1 day'::interval, 'Dy')) AS before) AS x
		WHERE CASE WHEN x.f < x.t THEN (w -> 'days') ? x.today AND x.now >= x.f AND x.now < x.t
			ELSE (w -> 'days') ? x.today AND x.now >= x.f OR (w -> 'days') ? x.before AND x.now < x.t END);

-- Why an item cannot be started whatever the printer.
CREATE FUNCTION app.queue_item_reasons(i app.queue_items, zone text) RETURNS jsonb
	LANGUAGE plpgsql STABLE
	AS $$
DECLARE
	out jsonb := '[]';
	f record;
BEGIN
	IF i.state = 'draft' THEN
		out := out || app.queue_reason('item_draft', 'hard', NULL, NULL, NULL);
	ELSIF i.state = 'pending_approval' THEN
		out := out || app.queue_reason('approval_pending', 'hard', NULL, NULL, NULL);
	END IF;
	IF i.held THEN
		out := out || app.queue_reason('item_held', 'hard', NULL, NULL, NULL);
	END IF;
	IF NOT i.has_file THEN
		out := out || app.queue_reason('no_file', 'hard', NULL, NULL, NULL);
	ELSE
		SELECT count(*) AS n, coalesce(bool_and(x.status = 'ready'), false) AS ready, bool_or(x.deleted_at IS NOT NULL) AS gone,
				min(x.status) FILTER (WHERE x.status <> 'ready') AS status INTO f
			FROM app.queue_item_files AS q JOIN app.files AS x ON x.org_id = q.org_id AND x.id = q.file_id
			WHERE q.org_id = i.org_id AND q.item_id = i.id;
		IF f.n = 0 OR f.gone THEN
			out := out || app.queue_reason('file_missing', 'hard', NULL, NULL, NULL);
		ELSIF NOT f.ready THEN
			out := out || app.queue_reason('file_not_ready', 'transient', NULL, '"ready"', to_jsonb(f.status));
		END IF;
	END IF;
	IF greatest(i.start_after, i.not_before) > app.now() THEN
		out := out || app.queue_reason('scheduled_later', 'transient', NULL, to_jsonb(app.rfc3339(greatest(i.start_after, i.not_before))), NULL);
	END IF;
	IF NOT app.queue_in_window(i.windows, app.now(), zone) THEN
		out := out || app.queue_reason('outside_window', 'transient', NULL, i.windows, NULL);
	END IF;
	RETURN out;
END
$$;

-- Why a printer cannot be given anything now.
CREATE FUNCTION app.printer_readiness(printer uuid, enabled boolean, maintenance boolean, drain boolean, connection jsonb, state text,
		plate_cleared boolean, plate_since timestamptz, policy app.queue_settings) RETURNS jsonb
	LANGUAGE plpgsql STABLE
	AS $$
DECLARE
	out jsonb := '[]';
	last timestamptz;
BEGIN
	IF NOT enabled THEN
		out := out || app.queue_reason('printer_disabled', 'transient', NULL, NULL, NULL);
	ELSIF connection ->> 'state' <> 'connected' OR state = 'offline' THEN
		out := out || app.queue_reason('printer_offline', 'transient', NULL, NULL, connection -> 'reason');
	END IF;
	IF maintenance THEN
		out := out || app.queue_reason('printer_in_maintenance', 'transient', NULL, NULL, NULL);
	END IF;
	IF drain THEN
		out := out || app.queue_reason('printer_draining', 'transient', NULL, NULL, NULL);
	END IF;
	IF state IN ('preparing', 'printing', 'paused') THEN
		out := out || app.queue_reason('printer_busy', 'transient', NULL, NULL, to_jsonb(state));
	ELSIF state = 'error' THEN
		out := out || app.queue_reason('printer_error', 'transient', NULL, NULL, to_jsonb(state));
	END IF;
	IF policy.plate_clear_required AND NOT coalesce(plate_cleared, true) THEN
		out := out || app.queue_reason('plate_not_cleared', 'transient', NULL, NULL, to_jsonb(app.rfc3339(plate_since)));
	END IF;
	IF EXISTS (SELECT FROM app.queue_items AS i WHERE i.org_id = app.org() AND i.assigned_printer = printer AND app.queue_holds(i.state)) THEN
		out := out || app.queue_reason('printer_reserved', 'transient', NULL, NULL, NULL);
	END IF;
	IF policy.stagger_seconds > 0 THEN
		last := (SELECT max(x.last_sent_at) FROM app.queue_printers AS x WHERE x.org_id = app.org());
		IF last > app.now() - make_interval(secs => policy.stagger_seconds) THEN
			out := out || app.queue_reason('staggered_start', 'transient', NULL,
				to_jsonb(app.rfc3339(last + make_interval(secs => policy.stagger_seconds))), NULL);
		END IF;
	END IF;
	RETURN out;
END
$$;

-- --- what an item asks for --------------------------------------------------------------------

-- What a file asks for: of its plate, else of all of it.
CREATE FUNCTION app.queue_wants(f app.files, plate int) RETURNS jsonb
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN (SELECT jsonb_strip_nulls(jsonb_build_object('kind', f.kind, 'model', f.metadata -> 'printer_model', 'model_key', app.queue_model(f.metadata ->> 'printer_model'),
			'nozzle', f.metadata -> 'nozzle_diameters_mm' -> 0,
			'size', CASE WHEN f.kind IN ('gcode', 'bgcode', 'gcode_3mf') THEN jsonb_build_object('z_mm', f.metadata -> 'max_z_mm') END,
			'temperatures', jsonb_build_object('nozzle_c', (SELECT to_jsonb(max(t::text::numeric)) FROM jsonb_array_elements(
				CASE jsonb_typeof(f.metadata -> 'temperatures' -> 'nozzle_c') WHEN 'array' THEN f.metadata -> 'temperatures' -> 'nozzle_c' ELSE '[]' END)
					AS t WHERE jsonb_typeof(t) = 'number'),
				'bed_c', f.metadata -> 'temperatures' -> 'bed_c', 'chamber_c', f.metadata -> 'temperatures' -> 'chamber_c')))
		|| jsonb_build_object('slots', coalesce((SELECT jsonb_agg(m.v ORDER BY g.n) FROM generate_series(0, (SELECT max((x ->> 'slot')::int)
				FROM jsonb_array_elements(l.list) AS x)) AS g (n)
			LEFT JOIN LATERAL (SELECT jsonb_build_object('material', x -> 'material', 'color', x -> 'color') AS v
				FROM jsonb_array_elements(l.list) AS x WHERE (x ->> 'slot')::int = g.n AND coalesce(x ->> 'material', x ->> 'color') IS NOT NULL
				LIMIT 1) AS m ON true), '[]'))
		FROM (SELECT CASE WHEN jsonb_typeof(p.v -> 'filaments') = 'array' THEN p.v -> 'filaments'
				WHEN jsonb_typeof(f.metadata -> 'filaments') = 'array' THEN f.metadata -> 'filaments' ELSE '[]' END AS list
			FROM (SELECT (SELECT x FROM jsonb_array_elements(CASE jsonb_typeof(f.metadata -> 'plates') WHEN 'array' THEN f.metadata -> 'plates'
				ELSE '[]' END) AS x WHERE (x ->> 'index')::int = plate LIMIT 1) AS v) AS p) AS l);

-- How long it takes and how much it needs, {estimated_time_s, filament_weight_mg}; members that are not told are null.
CREATE FUNCTION app.queue_costs(f app.files, plate int) RETURNS jsonb
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN (SELECT jsonb_build_object('estimated_time_s', coalesce(p.v -> 'estimated_time_s', f.metadata -> 'estimated_time_s'),
			'filament_weight_mg', coalesce(p.v -> 'filament_weight_mg', f.metadata -> 'filament_weight_mg'))
		FROM (SELECT (SELECT x FROM jsonb_array_elements(CASE jsonb_typeof(f.metadata -> 'plates') WHEN 'array' THEN f.metadata -> 'plates'
			ELSE '[]' END) AS x WHERE (x ->> 'index')::int = plate LIMIT 1) AS v) AS p);

-- Everything a printer's match depends on. The same for items that want the same.
CREATE FUNCTION app.queue_need_of(i app.queue_items) RETURNS jsonb
	LANGUAGE sql STABLE
	RETURN jsonb_build_object('req', jsonb_strip_nulls(i.requirements), 'variants', coalesce((
		SELECT jsonb_agg(app.queue_wants(f, q.plate) || jsonb_build_object('n', q.n, 'models',
				(SELECT jsonb_agg(app.queue_model(m) ORDER BY m) FROM unnest(q.models) AS m)) ORDER BY q.n)
			FROM app.queue_item_files AS q JOIN app.files AS f ON f.org_id = q.org_id AND f.id = q.file_id
			WHERE q.org_id = i.org_id AND q.item_id = i.id), '[]'));

-- --- keeping it fresh --------------------------------------------------------------------------

-- The matches of these needs with these printers, NULL: with all; written where they differ. Returns how many rows changed.
-- The caller speaks for the organisation; keys that are limited to some printers are no reason to match fewer.
CREATE FUNCTION sec.queue_rematch(needs uuid[], printers uuid[]) RETURNS int
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	org uuid := app.org();
	seen text := coalesce(current_setting('app.printer_ids', true), '');
	n int;
BEGIN
	PERFORM set_config('app.printer_ids', '', true);
	INSERT INTO app.queue_matches AS m (org_id, need_id, printer_id, state, reasons, variant, mapping, misses, input_version)
		SELECT org, d.id, x.id, r.state, r.reasons, r.variant, r.mapping, r.misses, x.input_version
			FROM (SELECT p.id, app.queue_facts(p, s) AS facts, app.queue_input_version(p, s) AS input_version
				FROM app.printers AS p JOIN app.printer_status AS s ON s.org_id = p.org_id AND s.printer_id = p.id
				WHERE p.org_id = org AND p.deleted_at IS NULL AND (printers IS NULL OR p.id = ANY (printers)) OFFSET 0) AS x
			CROSS JOIN app.queue_needs AS d CROSS JOIN LATERAL app.queue_match(d.need, x.facts) AS r
			WHERE d.org_id = org AND (needs IS NULL OR d.id = ANY (needs))
			ORDER BY x.id, d.id
		ON CONFLICT (org_id, need_id, printer_id) DO UPDATE SET state = excluded.state, reasons = excluded.reasons,
				variant = excluded.variant, mapping = excluded.mapping, misses = excluded.misses, computed_at = app.now(),
				input_version = excluded.input_version
			WHERE (m.state, m.reasons, m.variant, m.mapping, m.misses, m.input_version)
				IS DISTINCT FROM (excluded.state, excluded.reasons, excluded.variant, excluded.mapping, excluded.misses, excluded.input_version);
	GET DIAGNOSTICS n = ROW_COUNT;
	PERFORM set_config('app.printer_ids', seen, true);
	RETURN n;
END
$$;

-- The need that this is, made and matched when it is new.
CREATE FUNCTION sec.queue_need(need jsonb) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	hash CONSTANT bytea := sha256(convert_to(need::text, 'UTF8'));
	found uuid;
BEGIN
	SELECT d.id INTO found FROM app.queue_needs AS d WHERE d.org_id = app.org() AND d.signature = hash FOR KEY SHARE;
	IF found IS NOT NULL THEN
		RETURN found;
	END IF;
	INSERT INTO app.queue_needs AS d (signature, need) VALUES (hash, queue_need.need)
		ON CONFLICT ON CONSTRAINT queue_needs_signature_key DO NOTHING RETURNING d.id INTO found;
	IF found IS NULL THEN
		SELECT d.id INTO found FROM app.queue_needs AS d WHERE d.org_id = app.org() AND d.signature = hash FOR KEY SHARE;
		RETURN found;
	END IF;
	INSERT INTO app.queue_need_materials (material, need_id)
		SELECT DISTINCT coalesce(app.queue_material(s ->> 'material'), '*'), found
			FROM (SELECT need -> 'req' -> 'slots' AS list UNION ALL SELECT v -> 'slots' FROM jsonb_array_elements(need -> 'variants') AS v
				WHERE NOT (need -> 'req') ? 'slots') AS l, jsonb_array_elements(CASE jsonb_typeof(l.list) WHEN 'array' THEN l.list ELSE '[]' END) AS s
			WHERE s <> 'null';
	PERFORM sec.queue_rematch(ARRAY[found], NULL);
	RETURN found;
END
$$;

-- Brings an item's need and its figures up to date with its wishes and its files. Items that have ended need nothing.
CREATE FUNCTION sec.queue_refresh_item(item uuid) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	i app.queue_items;
	costs jsonb;
	need uuid;
BEGIN
	SELECT * INTO i FROM app.queue_items AS x WHERE x.org_id = app.org() AND x.id = item FOR NO KEY UPDATE;
	IF NOT FOUND OR app.queue_ended(i.state) THEN
		RETURN;
	END IF;
	need := sec.queue_need(app.queue_need_of(i));
	SELECT app.queue_costs(f, q.plate) INTO costs
		FROM app.queue_item_files AS q JOIN app.files AS f ON f.org_id = q.org_id AND f.id = q.file_id
		WHERE q.org_id = i.org_id AND q.item_id = i.id ORDER BY q.n LIMIT 1;
	UPDATE app.queue_items AS x SET need_id = need, estimated_time_s = (costs ->> 'estimated_time_s')::numeric::int,
			filament_weight_mg = (costs ->> 'filament_weight_mg')::numeric::bigint
		WHERE x.org_id = i.org_id AND x.id = i.id AND (x.need_id, x.estimated_time_s, x.filament_weight_mg) IS DISTINCT FROM
			(need, (costs ->> 'estimated_time_s')::numeric::int, (costs ->> 'filament_weight_mg')::numeric::bigint);
END
$$;

-- A printer is matched anew with these needs, NULL: with all; when that would take long, by couriers in steps (and until
-- then whoever dispatches looks at the printer itself).
CREATE FUNCTION sec.queue_rematch_printer(printer uuid, needs uuid[]) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF coalesce(cardinality(needs), (SELECT count(*) FROM (SELECT FROM app.queue_needs AS d WHERE d.org_id = app.org() LIMIT 2001) AS x)) > 2000 THEN
		UPDATE app.queue_printers AS q SET rematch_after = '00000000-0000-0000-0000-000000000000'
			WHERE q.org_id = app.org() AND q.printer_id = printer;
	ELSE
		PERFORM sec.queue_rematch(needs, ARRAY[printer]);
	END IF;
END
$$;

-- A printer's configuration changed: everything is matched with it anew. A deleted one is matched with nothing.
CREATE FUNCTION sec.queue_follow_printer() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO app.queue_printers (org_id, printer_id) VALUES (NEW.org_id, NEW.id);
	END IF;
	IF NEW.deleted_at IS NOT NULL THEN
		DELETE FROM app.queue_matches AS m WHERE m.org_id = NEW.org_id AND m.printer_id = NEW.id;
	ELSE
		PERFORM sec.queue_rematch_printer(NEW.id, NULL);
	END IF;
	RETURN NULL;
END
$$;
-- Behind the one that makes the status row: triggers run in the order of their names.
CREATE TRIGGER z_queue_new AFTER INSERT ON app.printers
	FOR EACH ROW EXECUTE FUNCTION sec.queue_follow_printer();
CREATE TRIGGER z_queue AFTER UPDATE ON app.printers
	FOR EACH ROW WHEN ((OLD.protocol, OLD.model, OLD.features, OLD.bed_volume, OLD.nozzles, OLD.enclosure, OLD.max_temperatures, OLD.tags,
			jsonb_path_query_array(OLD.groups, '$[*].id'), OLD.deleted_at)
		IS DISTINCT FROM (NEW.protocol, NEW.model, NEW.features, NEW.bed_volume, NEW.nozzles, NEW.enclosure, NEW.max_temperatures, NEW.tags,
			jsonb_path_query_array(NEW.groups, '$[*].id'), NEW.deleted_at)) EXECUTE FUNCTION sec.queue_follow_printer();

-- What is loaded changed: only those are matched anew that want something of what there was or is.
CREATE FUNCTION sec.queue_follow_slots() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	was CONSTANT jsonb := jsonb_path_query_array(OLD.material_context, '$.slots[*].keyvalue() ? (@.key != "remaining_pct")');
	is_now CONSTANT jsonb := jsonb_path_query_array(NEW.material_context, '$.slots[*].keyvalue() ? (@.key != "remaining_pct")');
	moved text[];
	needs uuid[];
BEGIN
	IF jsonb_path_query_array(was, '$[*].value') = jsonb_path_query_array(is_now, '$[*].value') AND (OLD.ams IS NULL) = (NEW.ams IS NULL) THEN
		RETURN NULL;
	END IF;
	moved := ARRAY(SELECT DISTINCT coalesce(app.queue_material(s ->> 'material'), '')
		FROM (SELECT OLD.material_context AS c UNION ALL SELECT NEW.material_context) AS x, jsonb_array_elements(x.c -> 'slots') AS s);
	IF '' = ANY (moved) OR (OLD.ams IS NULL) <> (NEW.ams IS NULL) OR OLD.material_context -> 'slots' = '[]' OR NEW.material_context -> 'slots' = '[]' THEN
		needs := ARRAY(SELECT DISTINCT m.need_id FROM app.queue_need_materials AS m WHERE m.org_id = NEW.org_id);
	ELSE
		needs := ARRAY(SELECT DISTINCT m.need_id FROM app.queue_need_materials AS m
			WHERE m.org_id = NEW.org_id AND m.material = ANY (moved || '*'::text));
	END IF;
	IF cardinality(needs) > 0 THEN
		PERFORM sec.queue_rematch_printer(NEW.printer_id, needs);
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER queue_slots AFTER UPDATE OF ams ON app.printer_status
	FOR EACH ROW WHEN (OLD.ams IS DISTINCT FROM NEW.ams) EXECUTE FUNCTION sec.queue_follow_slots();

-- A file was analysed, or changed what it says.
CREATE FUNCTION sec.queue_follow_file() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	item uuid;
BEGIN
	FOR item IN SELECT DISTINCT q.item_id FROM app.queue_item_files AS q WHERE q.org_id = NEW.org_id AND q.file_id = NEW.id ORDER BY q.item_id LOOP
		PERFORM sec.queue_refresh_item(item);
	END LOOP;
	RETURN NULL;
END
$$;
CREATE TRIGGER queue AFTER UPDATE OF kind, metadata ON app.files
	FOR EACH ROW WHEN ((OLD.kind, OLD.metadata) IS DISTINCT FROM (NEW.kind, NEW.metadata)) EXECUTE FUNCTION sec.queue_follow_file();

-- A file was purged: what printers would print of the item is another one now, or nothing.
CREATE FUNCTION sec.queue_file_purged() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM sec.queue_refresh_item(OLD.item_id);
	RETURN NULL;
END
$$;
-- Not when an item is given other files, which refreshes it itself.
CREATE TRIGGER queue_purged AFTER DELETE ON app.queue_item_files
	FOR EACH ROW WHEN (pg_trigger_depth() > 0) EXECUTE FUNCTION sec.queue_file_purged();

GRANT EXECUTE ON FUNCTION app.queue_reason(text, text, int, jsonb, jsonb), app.queue_material(text), app.queue_model(text),
	app.printer_readiness(uuid, boolean, boolean, boolean, jsonb, text, boolean, timestamptz, app.queue_settings),
	app.may_use_printer(uuid, uuid[], uuid), app.queue_in_window(jsonb, timestamptz, text), app.queue_item_reasons(app.queue_items, text)
	TO soloprint_api;

-- Printers that are there already.
DO $$
DECLARE
	org uuid;
BEGIN
	FOR org IN SELECT i.org_id FROM sec.org_index AS i LOOP
		PERFORM pg_catalog.set_config('app.org_id', org::text, true);
		INSERT INTO app.queue_printers (org_id, printer_id) SELECT p.org_id, p.id FROM app.printers AS p WHERE p.org_id = org;
	END LOOP;
	PERFORM pg_catalog.set_config('app.org_id', '', true);
END
$$;

COMMIT;
