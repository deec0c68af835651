-- Deploy soloprint:queue_rows to pg
-- requires: queue_moves
-- Queue items, their eligibility and their history as the API shows them, and what is likely to happen next. Columns that
-- start with an underscore are for the server.

BEGIN;
SET LOCAL ROLE soloprint_owner;

CREATE OR REPLACE VIEW app.printer_rows WITH (security_invoker = true) AS
	SELECT p.org_id AS _org_id, p.id, p.name, p.protocol, p.model, p.host, p.port, p.serial, p.has_secret, p.bed_volume,
		p.nozzles, p.enclosure, p.max_temperatures, p.location, p.notes, to_jsonb(p.tags) AS tags, p.tags AS _tags,
		p.groups, p.enabled, p.drain, p.maintenance, p.features AS capabilities, s.material_context,
		s.state AS "status.state", s.connection ->> 'state' AS "status.connection_state",
		s.job -> 'progress' AS "status.progress", s.job -> 'remaining_s' AS "status.remaining_s",
		s.job ->> 'file' AS "status.file", s.last_seen_at AS "status.last_seen_at",
		app.status_stale(s.connection, s.last_seen_at) AS "status.stale",
		s.state AS _state, p.version, p.created_at, p.updated_at,
		'"c' || p.version || '.s' || s.version || '"' AS _etag, to_jsonb(p.gcode_allowlist) AS gcode_allowlist,
		p.auto_dispatch, q.plate_cleared AS "plate.cleared", q.plate_since AS "plate.since"
	FROM app.printers AS p JOIN app.printer_status AS s ON s.org_id = p.org_id AND s.printer_id = p.id
		JOIN app.queue_printers AS q ON q.org_id = p.org_id AND q.printer_id = p.id
	WHERE p.deleted_at IS NULL;

-- What a waiting item's eligibility is, in one word and in numbers.
CREATE FUNCTION app.queue_eligibility(i app.queue_items) RETURNS jsonb
	LANGUAGE sql STABLE
	BEGIN ATOMIC
		SELECT CASE WHEN app.queue_waits(i.state) THEN jsonb_build_object('state',
				CASE WHEN c.eligible > 0 THEN 'eligible' WHEN c.unknown > 0 THEN 'unknown' ELSE 'blocked' END,
				'eligible_count', c.eligible, 'unknown_count', c.unknown, 'blocked_count', c.blocked, 'ready_count', d.told -> 'ready',
				'reasons', app.queue_item_reasons(i, (app.queue_policy()).timezone),
				'top_reasons', CASE WHEN c.eligible = 0 THEN (SELECT coalesce(jsonb_agg(jsonb_build_object('code', t.code, 'severity', t.severity,
							'printers', t.n) ORDER BY t.n DESC, t.code), '[]')
						FROM (SELECT r ->> 'code' AS code, r ->> 'severity' AS severity, count(*) AS n
							FROM app.queue_matches AS m, jsonb_array_elements(m.reasons) AS r
							WHERE m.org_id = i.org_id AND m.need_id = i.need_id GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT 5) AS t)
					ELSE coalesce(jsonb_path_query_array(d.told, '$.reasons[*] ? (@.severity == "transient")'), '[]') END,
				'computed_at', app.rfc3339(c.computed_at)) END
			FROM (SELECT count(*) FILTER (WHERE m.state = 'eligible') AS eligible, count(*) FILTER (WHERE m.state = 'unknown') AS unknown,
					count(*) FILTER (WHERE m.state = 'blocked') AS blocked, coalesce(max(m.computed_at), i.created_at) AS computed_at
				FROM app.queue_matches AS m WHERE m.org_id = i.org_id AND m.need_id = i.need_id) AS c
			LEFT JOIN app.queue_needs AS d ON d.org_id = i.org_id AND d.id = i.need_id;
	END;

CREATE VIEW app.queue_rows WITH (security_invoker = true) AS
	SELECT i.org_id AS _org_id, i.id, i.name, i.state, i.held, i.priority, i.position, i.rank AS _rank,
		(SELECT jsonb_build_object('id', f.id, 'filename', f.filename, 'kind', f.kind, 'status', f.status)
			FROM app.queue_item_files AS q JOIN app.files AS f ON f.org_id = q.org_id AND f.id = q.file_id
			WHERE q.org_id = i.org_id AND q.item_id = i.id AND q.n = 0) AS file,
		(SELECT q.plate FROM app.queue_item_files AS q WHERE q.org_id = i.org_id AND q.item_id = i.id AND q.n = 0) AS plate,
		coalesce((SELECT jsonb_agg(jsonb_build_object('file_id', q.file_id, 'filename', f.filename, 'plate', q.plate, 'models', to_jsonb(q.models))
				ORDER BY q.n) FROM app.queue_item_files AS q JOIN app.files AS f ON f.org_id = q.org_id AND f.id = q.file_id
			WHERE q.org_id = i.org_id AND q.item_id = i.id AND q.n > 0), '[]') AS alternatives,
		i.batch_id, i.copy_index, i.copies, i.requirements, i.start_after, i.due_at, i.windows, i.require_previous_success, i.slot_mapping,
		i.options, i.notes, i.metadata, app.queue_eligibility(i) AS eligibility,
		CASE WHEN i.assigned_printer IS NOT NULL THEN jsonb_build_object('printer_id', i.assigned_printer,
			'printer_name', (SELECT p.name FROM app.printers AS p WHERE p.org_id = i.org_id AND p.id = i.assigned_printer),
			'generation', i.generation, 'assigned_at', app.rfc3339(i.assigned_at), 'override', i.override, 'auto_start', i.auto_start,
			'operation_id', i.operation_id, 'print_id', i.print_id,
			'progress', s.job -> 'progress', 'remaining_s', s.job -> 'remaining_s') END AS assignment,
		i.requested_by, i.estimated_time_s, i.filament_weight_mg, i.attempts, i.last_error, i.cancel_requested_at, i.queued_at, i.started_at, i.ended_at,
		i.version, i.created_at, i.updated_at, i.assigned_printer AS _printer_id, i.need_id AS _need_id, '"' || i.version || '"' AS _etag
	FROM app.queue_items AS i LEFT JOIN app.printer_status AS s ON s.org_id = i.org_id AND s.printer_id = i.assigned_printer
		AND i.state IN ('printing', 'paused');
GRANT SELECT ON app.queue_rows TO soloprint_api;

-- Each waiting item with each printer: may it, could it now, and why not.
CREATE VIEW app.queue_eligible_rows WITH (security_invoker = true) AS
	SELECT m.org_id AS _org_id, i.id AS _item_id, p.id AS _printer_id, i.rank AS _rank, i.id AS queue_item_id, i.name AS item_name,
		p.id AS printer_id, p.name AS printer_name,
		CASE WHEN a.may AND NOT a.refused THEN m.state ELSE 'blocked' END AS state,
		a.may AND NOT a.refused AND m.state <> 'blocked' AND x.passing = '[]' AND x.own = '[]' AND x.previous = '[]' AS ready,
		m.reasons || CASE WHEN a.may THEN '[]' ELSE jsonb_build_array(app.queue_reason('requester_not_allowed', 'hard', NULL, NULL, NULL)) END
			|| CASE WHEN a.refused THEN jsonb_build_array(app.queue_reason('printer_refused', 'hard', NULL, NULL, NULL)) ELSE '[]' END
			|| x.own || x.passing || x.previous AS reasons, m.computed_at, m.input_version
	FROM app.queue_items AS i JOIN app.queue_matches AS m ON m.org_id = i.org_id AND m.need_id = i.need_id
		JOIN app.printers AS p ON p.org_id = m.org_id AND p.id = m.printer_id
		JOIN app.printer_status AS s ON s.org_id = m.org_id AND s.printer_id = m.printer_id
		JOIN app.queue_printers AS q ON q.org_id = m.org_id AND q.printer_id = m.printer_id
		CROSS JOIN LATERAL (SELECT app.queue_policy() AS policy OFFSET 0) AS y
		CROSS JOIN LATERAL (SELECT app.may_use_printer(i.requested_by, i.allowed_printers, p.id) AS may,
			p.id = ANY (i.refused_by) AS refused) AS a
		CROSS JOIN LATERAL (SELECT app.printer_readiness(p.id, p.enabled, p.maintenance, p.drain, s.connection, s.state, q.plate_cleared,
				q.plate_since, y.policy) AS passing, app.queue_item_reasons(i, (y.policy).timezone) AS own,
			CASE WHEN i.require_previous_success AND q.last_outcome <> 'completed'
				THEN jsonb_build_array(app.queue_reason('previous_failed', 'transient', NULL, '"completed"', to_jsonb(q.last_outcome)))
				ELSE '[]' END AS previous OFFSET 0) AS x
	WHERE app.queue_waits(i.state) AND p.deleted_at IS NULL;
GRANT SELECT ON app.queue_eligible_rows TO soloprint_api;

-- What happened to an item, and how it stood with the printers while it waited.
CREATE FUNCTION app.queue_item_history(item uuid)
	RETURNS TABLE (id uuid, at timestamptz, event text, from_state text, to_state text, generation int, printer_id uuid, detail jsonb,
		principal_id uuid)
	LANGUAGE sql STABLE
	BEGIN ATOMIC
		SELECT h.id, h.at, h.event, h.from_state, h.to_state, h.generation, h.target_printer, h.detail, h.principal_id
			FROM app.queue_history AS h WHERE h.org_id = app.org() AND h.item_id = item
		UNION ALL SELECT h.id, greatest(h.at, i.created_at), h.event, NULL, NULL, NULL, NULL, h.detail, NULL
			FROM app.queue_items AS i JOIN app.queue_history AS h ON h.org_id = i.org_id AND h.need_id = coalesce(i.need_id, i.waited_need)
			WHERE i.org_id = app.org() AND i.id = item AND (h.at <= i.ended_at) IS NOT FALSE AND h.at >= coalesce((SELECT max(x.at) FROM app.queue_history AS x
				WHERE x.org_id = h.org_id AND x.need_id = h.need_id AND x.at <= i.created_at), i.created_at);
	END;

CREATE FUNCTION app.queue_settings_row()
	RETURNS TABLE (auto_dispatch boolean, item_order text, printer_choice text, stagger_seconds int, plate_clear_required boolean,
		dispatch_unknown boolean, timezone text, max_attempts int, starvation_after_seconds int, order_version bigint, version int,
		updated_at timestamptz, _etag text)
	LANGUAGE sql STABLE
	BEGIN ATOMIC
		SELECT p.auto_dispatch, p.item_order, p.printer_choice, p.stagger_seconds, p.plate_clear_required, p.dispatch_unknown, p.timezone,
				p.max_attempts, p.starvation_after_seconds,
				coalesce((SELECT o.order_version FROM app.queue_orders AS o WHERE o.org_id = app.org()), 1), p.version, p.updated_at,
				'"' || p.version || '"'
			FROM app.queue_policy() AS p;
	END;

-- When a printer is likely to be free: now, after what it prints, or NULL when nobody can tell (offline, switched off,
-- draining, in maintenance, in error).
CREATE FUNCTION app.queue_free_at(enabled boolean, maintenance boolean, drain boolean, connection jsonb, state text, remaining_s int,
		estimated_s int) RETURNS timestamptz
	LANGUAGE sql STABLE
	RETURN CASE WHEN NOT enabled OR maintenance OR drain OR connection ->> 'state' <> 'connected' OR state IN ('offline', 'error') THEN NULL
		WHEN state IN ('preparing', 'printing', 'paused') OR estimated_s IS NOT NULL
			THEN app.now() + make_interval(secs => coalesce(remaining_s, estimated_s, 3600)) ELSE app.now() END;

-- Plays the queue forward: each item, in the order of the policy's priority, on the printer of those it may use that is
-- free first. What has no estimate is planned with an hour and has no end. blockers: what would let most items start, were
-- it put right: hard reasons that alone stand between an item and a printer, and what keeps whole printers away.
CREATE FUNCTION app.queue_forecast(most int, OUT items jsonb, OUT printers jsonb, OUT blockers jsonb, OUT computed_at timestamptz)
	LANGUAGE plpgsql STABLE
	AS $$
DECLARE
	policy CONSTANT app.queue_settings := app.queue_policy();
	ids uuid[];
	free timestamptz[];
	i app.queue_items;
	best int; -- which of ids
	starts timestamptz;
	own jsonb;
BEGIN
	computed_at := app.now();
	items := '[]';
	SELECT array_agg(x.id ORDER BY x.id), array_agg(x.at ORDER BY x.id),
			coalesce(jsonb_agg(jsonb_build_object('printer_id', x.id, 'free_at', app.rfc3339(x.at)) ORDER BY x.at NULLS LAST, x.id), '[]')
		INTO ids, free, printers
		FROM (SELECT p.id, app.queue_free_at(p.enabled, p.maintenance, p.drain, s.connection, s.state, (s.job ->> 'remaining_s')::numeric::int,
					(SELECT coalesce(h.estimated_time_s, 3600) FROM app.queue_items AS h WHERE h.org_id = p.org_id AND h.assigned_printer = p.id
						AND app.queue_holds(h.state))) AS at
				FROM app.printers AS p JOIN app.printer_status AS s ON s.org_id = p.org_id AND s.printer_id = p.id
				WHERE p.org_id = app.org() AND p.deleted_at IS NULL) AS x;
	FOR i IN SELECT x.* FROM app.queue_items AS x WHERE x.org_id = app.org() AND app.queue_waits(x.state) ORDER BY x.rank, x.id LIMIT most LOOP
		own := (SELECT coalesce(jsonb_agg(r), '[]') FROM jsonb_array_elements(app.queue_item_reasons(i, policy.timezone)) AS r
			WHERE r ->> 'severity' = 'hard');
		best := NULL;
		starts := NULL;
		IF own = '[]' THEN
			SELECT f.n, greatest(free[f.n], i.start_after, i.not_before, app.now()) INTO best, starts
				FROM unnest(ids) WITH ORDINALITY AS f (id, n)
				JOIN app.queue_matches AS m ON m.org_id = i.org_id AND m.need_id = i.need_id AND m.printer_id = f.id
				WHERE free[f.n] IS NOT NULL AND m.state = ANY (app.queue_good(policy))
					AND app.queue_may_start(i, f.id, NULL)
				ORDER BY greatest(free[f.n], i.start_after, i.not_before, app.now()), m.state = 'unknown', f.n LIMIT 1;
		END IF;
		IF best IS NOT NULL THEN
			free[best] := starts + make_interval(secs => coalesce(i.estimated_time_s, 3600));
		ELSIF own = '[]' THEN
			own := (SELECT coalesce(jsonb_agg(DISTINCT r), '[]') FROM (SELECT r FROM app.queue_matches AS m, jsonb_array_elements(m.reasons) AS r
				WHERE m.org_id = i.org_id AND m.need_id = i.need_id AND r ->> 'severity' = 'hard' LIMIT 20) AS x);
		END IF;
		items := items || jsonb_build_object('queue_item_id', i.id, 'printer_id', ids[best], 'starts_at', app.rfc3339(starts),
			'ends_at', app.rfc3339(starts + make_interval(secs => i.estimated_time_s)), 'reasons', own);
	END LOOP;
	WITH w AS MATERIALIZED (
		SELECT x.need_id, count(*) AS n, sum(coalesce(x.estimated_time_s, 3600)) AS s FROM app.queue_items AS x
			WHERE x.org_id = app.org() AND x.state = 'queued' AND NOT x.held AND x.has_file GROUP BY x.need_id
	), stuck AS MATERIALIZED (
		SELECT w.* FROM w WHERE NOT EXISTS (SELECT FROM app.queue_matches AS m WHERE m.org_id = app.org() AND m.need_id = w.need_id
			AND m.state = ANY (app.queue_good(policy)))
	), r AS (
		SELECT m.reasons -> 0 ->> 'code' AS code, m.reasons -> 0 -> 'expected' AS expected, stuck.need_id, m.printer_id, stuck.n, stuck.s
			FROM stuck JOIN app.queue_matches AS m ON m.org_id = app.org() AND m.need_id = stuck.need_id AND jsonb_array_length(m.reasons) = 1
		UNION ALL SELECT p.passing -> 0 ->> 'code', 'null', w.need_id, p.id, w.n, w.s
			FROM (SELECT x.id, app.printer_readiness(x.id, x.enabled, x.maintenance, x.drain, s.connection, s.state, q.plate_cleared, q.plate_since,
					policy) AS passing
				FROM app.printers AS x JOIN app.printer_status AS s ON s.org_id = x.org_id AND s.printer_id = x.id
				JOIN app.queue_printers AS q ON q.org_id = x.org_id AND q.printer_id = x.id
				WHERE x.org_id = app.org() AND x.deleted_at IS NULL) AS p
			JOIN app.queue_matches AS m ON m.org_id = app.org() AND m.printer_id = p.id AND m.state = ANY (app.queue_good(policy))
			JOIN w ON w.need_id = m.need_id
			WHERE jsonb_array_length(p.passing) = 1 AND p.passing -> 0 ->> 'code' IN ('printer_disabled', 'printer_offline', 'printer_in_maintenance',
				'printer_draining', 'printer_error', 'plate_not_cleared')
	)
	SELECT coalesce(jsonb_agg(jsonb_build_object('code', b.code, 'expected', b.expected, 'items', b.items, 'printers', b.printers,
			'estimated_time_s', b.s) ORDER BY b.items DESC, b.s DESC, b.code), '[]') INTO blockers
		FROM (SELECT x.code, x.expected, sum(x.n) AS items, sum(x.s) AS s, max(x.p) AS printers
			FROM (SELECT r.code, r.expected, r.need_id, max(r.n) AS n, max(r.s) AS s, count(DISTINCT r.printer_id) AS p FROM r
				GROUP BY r.code, r.expected, r.need_id) AS x GROUP BY x.code, x.expected ORDER BY 3 DESC LIMIT 20) AS b;
END
$$;

GRANT EXECUTE ON FUNCTION app.queue_eligibility(app.queue_items), app.queue_item_history(uuid), app.queue_settings_row(),
	app.queue_free_at(boolean, boolean, boolean, jsonb, text, int, int), app.queue_forecast(int), app.queue_good(app.queue_settings)
	TO soloprint_api;

COMMIT;
