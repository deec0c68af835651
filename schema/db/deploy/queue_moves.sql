-- Deploy soloprint:queue_moves to pg
-- requires: queue_match
-- How items come, change, move and go. Locks are always taken in this order: printer, task, job, item. An assignment is a
-- compare-and-swap under the printer's lock; a send is one row of app.queue_dispatches per generation, made in the
-- transaction that asks the gateway for it.

BEGIN;
SET LOCAL ROLE soloprint_owner;

-- --- what a body says wrongly -------------------------------------------------------------------

CREATE FUNCTION app.queue_file_faults(file uuid, plate int, place text) RETURNS TABLE (pointer text, code text, message text)
	LANGUAGE plpgsql STABLE
	AS $$
#variable_conflict use_column
DECLARE
	f record;
BEGIN
	SELECT x.kind, x.status, x.metadata INTO f FROM app.files AS x
		WHERE x.org_id = app.org() AND x.id = file AND x.deleted_at IS NULL;
	IF NOT FOUND THEN
		RETURN QUERY VALUES (place || '/file_id', 'unknown_reference', 'there is no such file');
	ELSIF f.kind NOT IN ('gcode', 'bgcode', 'gcode_3mf') THEN
		RETURN QUERY VALUES (place || '/file_id', 'file_kind_not_supported', 'printers print sliced files: gcode, bgcode, gcode_3mf');
	ELSIF f.status IN ('failed', 'expired') THEN
		RETURN QUERY VALUES (place || '/file_id', 'file_status_conflict', 'the file has no content');
	ELSIF plate IS NOT NULL AND f.status = 'ready' AND NOT (CASE jsonb_typeof(f.metadata -> 'plates') WHEN 'array' THEN f.metadata -> 'plates'
			ELSE '[{"index": 1}]' END) @> jsonb_build_array(jsonb_build_object('index', plate)) THEN
		RETURN QUERY VALUES (place || '/plate', 'unknown_plate', 'the file has no such plate');
	END IF;
END
$$;

-- References of a body, or of a patch of `item`, that lead nowhere.
CREATE FUNCTION app.queue_faults(body jsonb, item uuid) RETURNS TABLE (pointer text, code text, message text)
	LANGUAGE plpgsql STABLE
	AS $$
#variable_conflict use_column
DECLARE
	now_file uuid := (SELECT q.file_id FROM app.queue_item_files AS q WHERE q.org_id = app.org() AND q.item_id = item AND q.n = 0);
	file uuid := CASE WHEN body ? 'file_id' THEN (body ->> 'file_id')::uuid ELSE now_file END;
	a record;
BEGIN
	IF file IS NOT NULL AND (body ? 'file_id' OR body ? 'plate') THEN
		RETURN QUERY SELECT * FROM app.queue_file_faults(file, (body ->> 'plate')::int, '');
	ELSIF coalesce(body -> 'plate', 'null') <> 'null' THEN
		RETURN QUERY VALUES ('/plate', 'unknown_plate', 'there is no file that has plates');
	END IF;
	FOR a IN SELECT x.v, x.n - 1 AS n FROM jsonb_array_elements(CASE jsonb_typeof(body -> 'alternatives') WHEN 'array' THEN body -> 'alternatives'
			ELSE '[]' END) WITH ORDINALITY AS x (v, n) LOOP
		RETURN QUERY SELECT * FROM app.queue_file_faults((a.v ->> 'file_id')::uuid, (a.v ->> 'plate')::int, '/alternatives/' || a.n);
	END LOOP;
	RETURN QUERY SELECT '/requirements/printer_ids/' || (x.n - 1), 'unknown_reference', 'there is no such printer'
		FROM jsonb_array_elements_text(coalesce(body -> 'requirements' -> 'printer_ids', '[]')) WITH ORDINALITY AS x (id, n)
		WHERE NOT EXISTS (SELECT FROM app.printers AS p WHERE p.org_id = app.org() AND p.id = x.id::uuid AND p.deleted_at IS NULL);
	RETURN QUERY SELECT '/requirements/group_ids/' || (x.n - 1), 'unknown_reference', 'there is no such printer group'
		FROM jsonb_array_elements_text(coalesce(body -> 'requirements' -> 'group_ids', '[]')) WITH ORDINALITY AS x (id, n)
		WHERE NOT EXISTS (SELECT FROM app.printer_groups AS g WHERE g.org_id = app.org() AND g.id = x.id::uuid);
END
$$;

CREATE FUNCTION app.queue_settings_faults(body jsonb) RETURNS TABLE (pointer text, code text, message text)
	LANGUAGE plpgsql STABLE
	AS $$
#variable_conflict use_column
BEGIN
	IF body ? 'timezone' THEN
		PERFORM app.now() AT TIME ZONE (body ->> 'timezone');
	END IF;
EXCEPTION WHEN invalid_parameter_value THEN
	RETURN QUERY VALUES ('/timezone', 'unknown_timezone', 'it is not a name of the IANA time zone database');
END
$$;

-- --- creating, changing, deleting ---------------------------------------------------------------

-- The files of an item, as its body names them; a patch that names none leaves them.
CREATE FUNCTION sec.queue_set_files(item uuid, body jsonb) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF body ? 'file_id' THEN
		DELETE FROM app.queue_item_files AS q WHERE q.org_id = app.org() AND q.item_id = item AND q.n = 0;
		IF body ->> 'file_id' IS NOT NULL THEN
			INSERT INTO app.queue_item_files (item_id, n, file_id, plate) VALUES (item, 0, (body ->> 'file_id')::uuid, (body ->> 'plate')::int);
		END IF;
	ELSIF body ? 'plate' THEN
		UPDATE app.queue_item_files AS q SET plate = (body ->> 'plate')::int WHERE q.org_id = app.org() AND q.item_id = item AND q.n = 0;
	END IF;
	IF body ? 'alternatives' THEN
		DELETE FROM app.queue_item_files AS q WHERE q.org_id = app.org() AND q.item_id = item AND q.n > 0;
		INSERT INTO app.queue_item_files (item_id, n, file_id, plate, models)
			SELECT item, x.n, (x.v ->> 'file_id')::uuid, (x.v ->> 'plate')::int, ARRAY(SELECT jsonb_array_elements_text(x.v -> 'models'))
				FROM jsonb_array_elements(CASE jsonb_typeof(body -> 'alternatives') WHEN 'array' THEN body -> 'alternatives' ELSE '[]' END)
					WITH ORDINALITY AS x (v, n);
	END IF;
	UPDATE app.queue_items AS i SET refused_by = '{}', has_file = EXISTS (SELECT FROM app.queue_item_files AS q WHERE q.org_id = i.org_id AND q.item_id = i.id)
		WHERE i.org_id = app.org() AND i.id = item;
END
$$;

-- Raises SLP64 when the organisation cannot have so many more items that have not ended.
CREATE FUNCTION sec.queue_need_room(n int) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF (SELECT count(*) FROM (SELECT FROM app.queue_items AS i WHERE i.org_id = app.org() AND i.need_id IS NOT NULL LIMIT 100000) AS x) + n > 100000 THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP64', MESSAGE = 'the queue is full';
	END IF;
END
$$;

-- One item per copy. Raises SLP64.
CREATE FUNCTION sec.queue_create(id uuid, body jsonb) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	n CONSTANT int := coalesce((body ->> 'copies')::int, 1);
	at CONSTANT bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
	one uuid;
	first app.queue_items;
	first_state CONSTANT text := CASE WHEN (body ->> 'draft')::boolean THEN 'draft' ELSE 'queued' END;
	called text := coalesce(body ->> 'name', (SELECT left(f.filename, 200) FROM app.files AS f WHERE f.org_id = app.org()
		AND f.id = (body ->> 'file_id')::uuid), 'Item');
BEGIN
	PERFORM sec.queue_need_room(n);
	INSERT INTO sec.queue_orgs (org_id) SELECT app.org() WHERE NOT EXISTS (SELECT FROM sec.queue_orgs AS o WHERE o.org_id = app.org())
		ON CONFLICT DO NOTHING;
	FOR k IN 1 .. n LOOP
		one := CASE k WHEN 1 THEN queue_create.id ELSE app.uuid7() END;
		INSERT INTO app.queue_items (id, name, state, held, priority, position, batch_id, copy_index, copies, requirements, start_after, due_at,
				windows, require_previous_success, slot_mapping, options, notes, metadata, need_id, has_file, estimated_time_s,
				filament_weight_mg, allowed_printers, queued_at)
			SELECT one, called, first_state, coalesce(b.held, false), coalesce(b.priority, 0), at + k,
				CASE WHEN n > 1 THEN queue_create.id END, k, n, coalesce(nullif(b.requirements, 'null'), '{}'), b.start_after, b.due_at,
				coalesce(nullif(b.windows, 'null'), '[]'), coalesce(b.require_previous_success, false), nullif(b.slot_mapping, 'null'),
				nullif(b.options, 'null'), b.notes, coalesce(nullif(b.metadata, 'null'), '{}'),
				first.need_id, coalesce(first.has_file, false), first.estimated_time_s, first.filament_weight_mg,
				nullif(current_setting('app.printer_ids', true), '')::uuid[], CASE first_state WHEN 'queued' THEN app.now() END
			FROM jsonb_to_record(body) AS b (held boolean, priority int, requirements jsonb, start_after timestamptz, due_at timestamptz,
				windows jsonb, require_previous_success boolean, slot_mapping jsonb, options jsonb, notes text, metadata jsonb);
		IF k = 1 THEN
			PERFORM sec.queue_set_files(one, body);
			PERFORM sec.queue_refresh_item(one);
			SELECT * INTO first FROM app.queue_items AS i WHERE i.org_id = app.org() AND i.id = one;
		ELSE
			INSERT INTO app.queue_item_files (item_id, n, file_id, plate, models) SELECT one, q.n, q.file_id, q.plate, q.models
				FROM app.queue_item_files AS q WHERE q.org_id = app.org() AND q.item_id = queue_create.id;
		END IF;
	END LOOP;
	RETURN queue_create.id;
END
$$;

-- An object after a merge patch (RFC 7396), one level deep.
CREATE FUNCTION app.queue_merged(was jsonb, patch jsonb) RETURNS jsonb
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE WHEN coalesce(patch, 'null') = 'null' THEN '{}'::jsonb ELSE (SELECT coalesce(jsonb_object_agg(k.key, k.value), '{}')
		FROM jsonb_each(was || patch) AS k WHERE k.value <> 'null') END;

-- NULL: no such item. Raises SLP11, and SLP61 for members that the item's state does not allow any more.
CREATE FUNCTION sec.queue_update(item uuid, patch jsonb, versions int[]) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	i app.queue_items;
	always CONSTANT text[] := '{name,notes,metadata}';
	open CONSTANT text[] := always || '{priority,due_at}'::text[];
BEGIN
	SELECT * INTO i FROM app.queue_items AS x WHERE x.org_id = app.org() AND x.id = item FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	PERFORM app.check_version(i.version, versions);
	IF NOT app.queue_waits(i.state) AND EXISTS (SELECT FROM jsonb_object_keys(patch) AS k
			WHERE k <> ALL (CASE WHEN app.queue_ended(i.state) THEN always ELSE open END)) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP61', MESSAGE = format('not while the item is %s', i.state);
	END IF;
	UPDATE app.queue_items AS x SET
			name = CASE WHEN patch ? 'name' THEN coalesce(b.name, x.name) ELSE x.name END,
			held = CASE WHEN patch ? 'held' THEN coalesce(b.held, x.held) ELSE x.held END,
			priority = CASE WHEN patch ? 'priority' THEN coalesce(b.priority, 0) ELSE x.priority END,
			requirements = CASE WHEN patch ? 'requirements' THEN app.queue_merged(x.requirements, b.requirements) ELSE x.requirements END,
			start_after = CASE WHEN patch ? 'start_after' THEN b.start_after ELSE x.start_after END,
			due_at = CASE WHEN patch ? 'due_at' THEN b.due_at ELSE x.due_at END,
			windows = CASE WHEN patch ? 'windows' THEN coalesce(nullif(b.windows, 'null'), '[]') ELSE x.windows END,
			require_previous_success = CASE WHEN patch ? 'require_previous_success' THEN coalesce(b.require_previous_success, false)
				ELSE x.require_previous_success END,
			slot_mapping = CASE WHEN patch ? 'slot_mapping' THEN nullif(b.slot_mapping, 'null') ELSE x.slot_mapping END,
			options = CASE WHEN patch ? 'options' THEN nullif(app.queue_merged(coalesce(x.options, '{}'), b.options), '{}') ELSE x.options END,
			notes = CASE WHEN patch ? 'notes' THEN b.notes ELSE x.notes END,
			metadata = CASE WHEN patch ? 'metadata' THEN app.queue_merged(x.metadata, b.metadata) ELSE x.metadata END
		FROM jsonb_to_record(patch) AS b (name text, held boolean, priority int, requirements jsonb, start_after timestamptz,
			due_at timestamptz, windows jsonb, require_previous_success boolean, slot_mapping jsonb, options jsonb, notes text, metadata jsonb)
		WHERE x.org_id = i.org_id AND x.id = i.id;
	IF patch ?| '{file_id,plate,alternatives}'::text[] THEN
		PERFORM sec.queue_set_files(item, patch);
	END IF;
	IF patch ?| '{file_id,plate,alternatives,requirements}'::text[] THEN
		PERFORM sec.queue_refresh_item(item);
	END IF;
	RETURN item;
END
$$;

CREATE FUNCTION sec.queue_delete(item uuid, versions int[]) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	i app.queue_items;
BEGIN
	SELECT * INTO i FROM app.queue_items AS x WHERE x.org_id = app.org() AND x.id = item FOR UPDATE;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	PERFORM app.check_version(i.version, versions);
	IF app.queue_holds(i.state) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP61', MESSAGE = 'the item holds a printer: cancel it first';
	END IF;
	DELETE FROM app.queue_items AS x WHERE x.org_id = i.org_id AND x.id = i.id;
	RETURN item;
END
$$;

-- What last_error holds.
CREATE FUNCTION app.queue_error(code text, message text) RETURNS jsonb
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN jsonb_build_object('code', code, 'message', message, 'at', app.rfc3339(app.now()));

-- --- moving -------------------------------------------------------------------------------------

-- The match of a need with a printer as both are now, whatever is stored.
CREATE FUNCTION sec.queue_match_now(need uuid, printer uuid, OUT state text, OUT reasons jsonb, OUT variant int, OUT mapping jsonb, OUT facts jsonb)
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT r.state, r.reasons, r.variant, r.mapping, f.facts
			FROM (SELECT app.queue_facts(p, s) AS facts FROM app.printers AS p
				JOIN app.printer_status AS s ON s.org_id = p.org_id AND s.printer_id = p.id
				WHERE p.org_id = app.org() AND p.id = printer) AS f,
				app.queue_needs AS d, app.queue_match(d.need, f.facts) AS r
			WHERE d.org_id = app.org() AND d.id = queue_match_now.need;
	END;

-- Sends an assigned item's file to its printer and returns the operation. NULL: the printer cannot take it just now, the
-- item stays assigned; or it can take it no more (another filament was loaded), and nobody insisted: back into the queue.
-- The caller holds the locks of the printer and of the item.
CREATE FUNCTION sec.queue_send(i app.queue_items) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	m record;
	q record;
	operation uuid;
BEGIN
	SELECT * INTO m FROM sec.queue_match_now(i.need_id, i.assigned_printer);
	IF m.state = 'blocked' AND NOT i.override THEN
		UPDATE app.queue_items AS x SET last_error = app.queue_error('no_longer_eligible',
				'The printer cannot take the item any more.') WHERE x.org_id = i.org_id AND x.id = i.id;
		PERFORM sec.queue_requeue(i, NULL);
		RETURN NULL;
	END IF;
	SELECT x.file_id, coalesce(x.plate, app.first_plate(x.file_id)) AS plate, f.kind INTO q
		FROM app.queue_item_files AS x JOIN app.files AS f ON f.org_id = x.org_id AND f.id = x.file_id
		WHERE x.org_id = i.org_id AND x.item_id = i.id AND x.n = m.variant AND f.status = 'ready' AND f.deleted_at IS NULL;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	BEGIN
		operation := sec.task_create(i.assigned_printer, 'printer.send', jsonb_strip_nulls(jsonb_build_object('file_id', q.file_id, 'plate', q.plate,
				'start', true, 'queue_item_id', i.id, 'generation', i.generation))
			|| CASE WHEN coalesce(i.slot_mapping, m.mapping) IS NOT NULL AND (m.facts -> 'ams' = 'true') IS TRUE AND q.kind = 'gcode_3mf'
				THEN jsonb_build_object('slot_mapping', coalesce(i.slot_mapping, m.mapping)) ELSE '{}' END
			|| CASE WHEN i.options IS NOT NULL THEN jsonb_build_object('options', i.options) ELSE '{}' END,
			'10 minutes', false);
	EXCEPTION WHEN SQLSTATE 'SLP20' OR SQLSTATE 'SLP50' OR SQLSTATE 'SLP51' OR SQLSTATE 'SLP52' THEN
		RETURN NULL;
	END;
	INSERT INTO app.queue_dispatches (item_id, generation, printer_id, file_id, operation_id)
		VALUES (i.id, i.generation, i.assigned_printer, q.file_id, operation);
	UPDATE app.queue_items AS x SET state = 'dispatching', operation_id = operation, print_id = NULL, cancel_requested_at = NULL
		WHERE x.org_id = i.org_id AND x.id = i.id;
	UPDATE app.queue_printers AS x SET last_sent_at = app.now() WHERE x.org_id = i.org_id AND x.printer_id = i.assigned_printer;
	RETURN operation;
END
$$;

-- The compare-and-swap: a queued item gets the printer. NULL: it was not queued any more. The caller holds both locks.
CREATE FUNCTION sec.queue_claim(item uuid, printer uuid, override boolean, auto_start boolean) RETURNS app.queue_items
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	i app.queue_items;
BEGIN
	UPDATE app.queue_items AS x SET state = 'assigned', generation = x.generation + 1, assigned_printer = printer, assigned_at = app.now(),
			override = queue_claim.override, auto_start = queue_claim.auto_start, operation_id = NULL, print_id = NULL, started_at = NULL
		WHERE x.org_id = app.org() AND x.id = item AND x.state = 'queued' RETURNING x.* INTO i;
	RETURN i;
END
$$;

-- A printer as the queue looks at it; the lock keeps its configuration, and everybody else's assignments, away until the
-- commit. NULL: no such printer for this key.
CREATE FUNCTION sec.queue_lock_printer(printer uuid) RETURNS uuid
	LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT p.id FROM app.printers AS p WHERE p.org_id = app.org() AND p.id = printer AND p.deleted_at IS NULL FOR NO KEY UPDATE;
	END;

-- Why it cannot be given anything now, files that somebody sends to it past the queue included.
CREATE FUNCTION sec.queue_readiness(printer uuid) RETURNS jsonb
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT app.printer_readiness(p.id, p.enabled, p.maintenance, p.drain, s.connection, s.state, q.plate_cleared, q.plate_since,
				app.queue_policy()) || CASE WHEN EXISTS (SELECT FROM sec.printer_tasks AS t WHERE t.printer_id = p.id AND t.kind = 'printer.send')
					AND NOT EXISTS (SELECT FROM app.queue_items AS i WHERE i.org_id = p.org_id AND i.assigned_printer = p.id AND i.state = 'dispatching')
				THEN jsonb_build_array(app.queue_reason('printer_busy', 'transient', NULL, NULL, '"sending"')) ELSE '[]' END
			FROM app.printers AS p JOIN app.printer_status AS s ON s.org_id = p.org_id AND s.printer_id = p.id
			JOIN app.queue_printers AS q ON q.org_id = p.org_id AND q.printer_id = p.id
			WHERE p.org_id = app.org() AND p.id = printer;
	END;

-- Reasons without those of these codes.
CREATE FUNCTION app.queue_without(reasons jsonb, codes text[]) RETURNS jsonb
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN (SELECT coalesce(jsonb_agg(r ORDER BY n), '[]') FROM jsonb_array_elements(reasons) WITH ORDINALITY AS x (r, n)
		WHERE r ->> 'code' <> ALL (codes));

-- Starts of an organisation one after the other, when they shall be apart.
CREATE FUNCTION sec.queue_take_turn() RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF (app.queue_policy()).stagger_seconds > 0 THEN
		PERFORM pg_advisory_xact_lock(hashtextextended('queue/' || app.org(), 0));
	END IF;
END
$$;

-- No row: there is no such item, or no such printer for this key. refused: why it was not assigned.
CREATE FUNCTION sec.queue_assign(item uuid, printer uuid, override boolean, start boolean)
	RETURNS TABLE (queue_item_id uuid, operation_id uuid, refused jsonb)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	never CONSTANT text[] := '{file_format_mismatch,protocol_unsupported,requester_not_allowed,file_missing,approval_pending,item_draft,item_held}';
	i app.queue_items;
	hard jsonb;
	holder uuid;
BEGIN
	PERFORM sec.queue_take_turn();
	IF sec.queue_lock_printer(printer) IS NULL THEN
		RETURN;
	END IF;
	SELECT * INTO i FROM app.queue_items AS x WHERE x.org_id = app.org() AND x.id = item FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	queue_item_id := item;
	refused := app.queue_without(app.queue_item_reasons(i, (app.queue_policy()).timezone),
		'{no_file,file_not_ready,scheduled_later,outside_window}');
	IF i.state <> 'queued' AND NOT app.queue_waits(i.state) THEN
		refused := jsonb_build_array(app.queue_reason('item_not_queued', 'hard', NULL, '"queued"', to_jsonb(i.state)));
	ELSIF i.state = 'queued' THEN
		hard := (SELECT m.reasons FROM sec.queue_match_now(i.need_id, printer) AS m);
		refused := refused || coalesce((SELECT jsonb_agg(r) FROM jsonb_array_elements(hard) AS r WHERE r ->> 'severity' = 'hard'), '[]');
		IF NOT app.may_use_printer(i.requested_by, i.allowed_printers, printer) THEN
			refused := refused || app.queue_reason('requester_not_allowed', 'hard', NULL, NULL, NULL);
		END IF;
	END IF;
	SELECT x.id INTO holder FROM app.queue_items AS x WHERE x.org_id = app.org() AND x.assigned_printer = printer AND app.queue_holds(x.state);
	IF holder IS NOT NULL AND holder <> item THEN
		refused := refused || app.queue_reason('printer_reserved', 'transient', NULL, NULL, NULL);
	END IF;
	IF EXISTS (SELECT FROM jsonb_array_elements(refused) AS r WHERE NOT override OR r ->> 'code' = ANY (never)
			OR r ->> 'code' IN ('item_not_queued', 'printer_reserved')) THEN
		RETURN NEXT;
		RETURN;
	END IF;
	override := refused <> '[]';
	refused := NULL;
	i := sec.queue_claim(item, printer, override, start AND i.has_file);
	IF i.auto_start AND app.queue_without(sec.queue_readiness(printer), '{printer_reserved}') = '[]' THEN
		operation_id := sec.queue_send(i);
	END IF;
	RETURN NEXT;
END
$$;

-- May an item that is ready start on this printer, whose last print ended so?
CREATE FUNCTION app.queue_may_start(i app.queue_items, printer uuid, last_outcome text) RETURNS boolean
	LANGUAGE sql STABLE
	RETURN app.may_use_printer(i.requested_by, i.allowed_printers, printer) AND printer <> ALL (i.refused_by)
		AND (NOT i.require_previous_success OR coalesce(last_outcome, 'completed') = 'completed');

-- The queued items whose needs are among these, in the order of the policy. Shortest first lets nobody starve: who has
-- waited long enough is served in the order of coming.
CREATE FUNCTION sec.queue_in_order(needs uuid[], policy app.queue_settings) RETURNS refcursor
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	c refcursor;
	now CONSTANT timestamptz := app.now();
	starved CONSTANT timestamptz := app.now() - make_interval(secs => policy.starvation_after_seconds);
BEGIN
	IF policy.item_order = 'priority' THEN
		OPEN c FOR SELECT x.* FROM app.queue_items AS x WHERE x.org_id = app.org() AND x.state = 'queued' AND NOT x.held AND x.has_file
			AND x.need_id = ANY (needs) AND (greatest(x.start_after, x.not_before) <= now) IS NOT FALSE ORDER BY x.rank, x.id;
	ELSIF policy.item_order = 'first_in' THEN
		OPEN c FOR SELECT x.* FROM app.queue_items AS x WHERE x.org_id = app.org() AND x.state = 'queued' AND NOT x.held AND x.has_file
			AND x.need_id = ANY (needs) AND (greatest(x.start_after, x.not_before) <= now) IS NOT FALSE ORDER BY x.position, x.id;
	ELSIF policy.item_order = 'due_date' THEN
		OPEN c FOR SELECT x.* FROM app.queue_items AS x WHERE x.org_id = app.org() AND x.state = 'queued' AND NOT x.held AND x.has_file
			AND x.need_id = ANY (needs) AND (greatest(x.start_after, x.not_before) <= now) IS NOT FALSE ORDER BY x.due_at, x.rank, x.id;
	ELSE
		OPEN c FOR SELECT x.* FROM app.queue_items AS x WHERE x.org_id = app.org() AND x.state = 'queued' AND NOT x.held AND x.has_file
			AND x.need_id = ANY (needs) AND (greatest(x.start_after, x.not_before) <= now) IS NOT FALSE
			ORDER BY CASE WHEN x.queued_at < starved THEN x.position END, x.estimated_time_s, x.id;
	END IF;
	RETURN c;
END
$$;

-- Which states of a match are good enough to start by.
CREATE FUNCTION app.queue_good(policy app.queue_settings) RETURNS text[]
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE WHEN policy.dispatch_unknown THEN '{eligible,unknown}'::text[] ELSE '{eligible}'::text[] END;

-- Whether the printer is, just now, what its match says it is; when not, the match is made anew.
CREATE FUNCTION sec.queue_still(need uuid, printer uuid, good text[]) RETURNS boolean
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF (SELECT m.state FROM sec.queue_match_now(need, printer) AS m) = ANY (good) THEN
		RETURN true;
	END IF;
	PERFORM sec.queue_rematch(ARRAY[need], ARRAY[printer]);
	RETURN false;
END
$$;

-- An item that was locked for a printer may still start there: others may have changed it until then.
CREATE FUNCTION app.queue_still_may(got app.queue_items, needs uuid[], printer uuid, last_outcome text, zone text) RETURNS boolean
	LANGUAGE sql STABLE
	RETURN got.need_id = ANY (needs) AND app.queue_may_start(got, printer, last_outcome) AND app.queue_item_reasons(got, zone) = '[]';

-- The first item that may start on the printer, locked; others' items under way are passed over, unless nothing else is left.
CREATE FUNCTION sec.queue_pick(printer uuid, policy app.queue_settings) RETURNS app.queue_items
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	needs uuid[] := ARRAY(SELECT m.need_id FROM app.queue_matches AS m
		WHERE m.org_id = app.org() AND m.printer_id = printer AND m.state = ANY (app.queue_good(policy)));
	last text := (SELECT q.last_outcome FROM app.queue_printers AS q WHERE q.org_id = app.org() AND q.printer_id = printer);
	c refcursor;
	i app.queue_items;
	got app.queue_items;
	passed uuid[] := '{}';
BEGIN
	IF needs = '{}' THEN
		RETURN NULL;
	END IF;
	c := sec.queue_in_order(needs, policy);
	LOOP
		FETCH c INTO i;
		EXIT WHEN NOT FOUND;
		CONTINUE WHEN NOT app.queue_may_start(i, printer, last) OR app.queue_item_reasons(i, policy.timezone) <> '[]'
			OR NOT sec.queue_still(i.need_id, printer, app.queue_good(policy));
		SELECT * INTO got FROM app.queue_items AS x WHERE x.org_id = i.org_id AND x.id = i.id AND x.state = 'queued' AND NOT x.held
			FOR NO KEY UPDATE SKIP LOCKED;
		IF FOUND AND app.queue_still_may(got, needs, printer, last, policy.timezone) THEN
			CLOSE c;
			RETURN got;
		END IF;
		passed := passed || i.id;
	END LOOP;
	CLOSE c;
	FOR i IN SELECT x.* FROM app.queue_items AS x WHERE x.org_id = app.org() AND x.id = ANY (passed) ORDER BY x.rank, x.id LOOP
		SELECT * INTO got FROM app.queue_items AS x WHERE x.org_id = i.org_id AND x.id = i.id AND x.state = 'queued' AND NOT x.held
			FOR NO KEY UPDATE;
		IF FOUND AND app.queue_still_may(got, needs, printer, last, policy.timezone) THEN
			RETURN got;
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;

-- Why nothing can start on a printer: {waiting, reasons: [{code, severity, items}]}.
CREATE FUNCTION sec.queue_counts(printer uuid, readiness jsonb) RETURNS jsonb
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		WITH w AS MATERIALIZED (
			SELECT i.*, (app.queue_policy()).timezone AS zone FROM app.queue_items AS i
				WHERE i.org_id = app.org() AND app.queue_waits(i.state) AND i.need_id IS NOT NULL
		), r (code, severity, items) AS (
			SELECT x.r ->> 'code', x.r ->> 'severity', (SELECT count(*) FROM w) FROM jsonb_array_elements(readiness) AS x (r)
			UNION ALL SELECT x.r ->> 'code', x.r ->> 'severity', sum(g.n) FROM (SELECT w.need_id, count(*) AS n FROM w GROUP BY w.need_id) AS g
				JOIN app.queue_matches AS m ON m.org_id = app.org() AND m.need_id = g.need_id AND m.printer_id = printer
				CROSS JOIN LATERAL (SELECT DISTINCT ON (y ->> 'code') y AS r FROM jsonb_array_elements(m.reasons) AS y) AS x
				GROUP BY 1, 2
			UNION ALL SELECT c.code, c.severity, count(*) FROM w CROSS JOIN LATERAL (VALUES
					('item_held', 'hard', w.held), ('item_draft', 'hard', w.state = 'draft'), ('approval_pending', 'hard', w.state = 'pending_approval'),
					('no_file', 'hard', NOT w.has_file), ('scheduled_later', 'transient', greatest(w.start_after, w.not_before) > app.now()),
					('outside_window', 'transient', w.windows <> '[]' AND NOT app.queue_in_window(w.windows, app.now(), w.zone)),
					('printer_refused', 'hard', printer = ANY (w.refused_by)),
					('requester_not_allowed', 'hard', NOT app.may_use_printer(w.requested_by, w.allowed_printers, printer)),
					('previous_failed', 'transient', w.require_previous_success AND (SELECT q.last_outcome FROM app.queue_printers AS q
						WHERE q.org_id = app.org() AND q.printer_id = printer) <> 'completed')) AS c (code, severity, holds)
				WHERE c.holds GROUP BY c.code, c.severity
			UNION ALL SELECT 'file_not_ready', 'transient', count(*) FROM w WHERE EXISTS (SELECT FROM app.queue_item_files AS q
				JOIN app.files AS f ON f.org_id = q.org_id AND f.id = q.file_id
				WHERE q.org_id = w.org_id AND q.item_id = w.id AND f.status <> 'ready') HAVING count(*) > 0
			UNION ALL SELECT 'file_missing', 'hard', count(*) FROM w WHERE w.has_file AND (SELECT bool_or(f.deleted_at IS NOT NULL)
				FROM app.queue_item_files AS q JOIN app.files AS f ON f.org_id = q.org_id AND f.id = q.file_id
				WHERE q.org_id = w.org_id AND q.item_id = w.id) IS NOT FALSE HAVING count(*) > 0
		)
		SELECT jsonb_build_object('waiting', (SELECT count(*) FROM w), 'reasons', coalesce((SELECT jsonb_agg(
			jsonb_build_object('code', r.code, 'severity', r.severity, 'items', r.items) ORDER BY r.items DESC, r.code) FROM r WHERE r.items > 0), '[]'));
	END;

-- The printer's next item: the one that is assigned to it, else the first that may start there. No row: no such printer for
-- this key; queue_item_id NULL: nothing, and counts say why.
CREATE FUNCTION sec.dispatch_next(printer uuid) RETURNS TABLE (queue_item_id uuid, operation_id uuid, generation int, counts jsonb)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	policy CONSTANT app.queue_settings := app.queue_policy();
	ready jsonb;
	i app.queue_items;
BEGIN
	PERFORM sec.queue_take_turn();
	IF sec.queue_lock_printer(printer) IS NULL THEN
		RETURN;
	END IF;
	SELECT * INTO i FROM app.queue_items AS x WHERE x.org_id = app.org() AND x.assigned_printer = printer AND x.state = 'assigned'
		FOR NO KEY UPDATE;
	ready := sec.queue_readiness(printer);
	IF i.id IS NOT NULL THEN
		ready := app.queue_without(ready, '{printer_reserved}');
		IF NOT i.has_file THEN
			ready := ready || app.queue_reason('printer_reserved', 'transient', NULL, NULL, NULL);
		END IF;
	ELSIF ready = '[]' THEN
		i := sec.queue_pick(printer, policy);
		IF i.id IS NOT NULL THEN
			i := sec.queue_claim(i.id, printer, false, true);
		END IF;
	END IF;
	IF i.id IS NOT NULL AND ready = '[]' THEN
		operation_id := sec.queue_send(i);
		IF operation_id IS NULL THEN -- the printer changed under our eyes; the item keeps it
			ready := jsonb_build_array(app.queue_reason('printer_busy', 'transient', NULL, NULL, NULL));
		ELSE
			queue_item_id := i.id;
			generation := i.generation;
			RETURN NEXT;
			RETURN;
		END IF;
	END IF;
	counts := sec.queue_counts(printer, ready);
	RETURN NEXT;
END
$$;

-- Matches the whole fleet, as far as this key sees it: items that are assigned already, then queued ones in the order of the
-- policy, each on the best printer that is free. auto: only what may happen without being asked. Others' printers and items
-- under way are passed over.
CREATE FUNCTION sec.queue_match_fleet(most int, auto boolean)
	RETURNS TABLE (queue_item_id uuid, printer_id uuid, operation_id uuid, generation int)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	policy CONSTANT app.queue_settings := app.queue_policy();
	good CONSTANT text[] := app.queue_good(policy);
	room int := CASE WHEN policy.stagger_seconds > 0 THEN 1 ELSE most END;
	free uuid[] := '{}';
	needs uuid[];
	c refcursor;
	i app.queue_items;
	p uuid;
BEGIN
	PERFORM pg_advisory_xact_lock(hashtextextended('queue/' || app.org(), 0));
	FOR i IN SELECT x.* FROM app.queue_items AS x JOIN app.printers AS y ON y.org_id = x.org_id AND y.id = x.assigned_printer
			WHERE x.org_id = app.org() AND x.state = 'assigned' AND x.auto_start ORDER BY x.rank, x.id LOOP
		EXIT WHEN room = 0;
		PERFORM FROM app.printers AS y WHERE y.org_id = i.org_id AND y.id = i.assigned_printer FOR NO KEY UPDATE SKIP LOCKED;
		CONTINUE WHEN NOT FOUND;
		SELECT * INTO i FROM app.queue_items AS x WHERE x.org_id = i.org_id AND x.id = i.id AND x.state = 'assigned'
			AND x.assigned_printer = i.assigned_printer FOR NO KEY UPDATE SKIP LOCKED;
		CONTINUE WHEN NOT FOUND OR app.queue_without(sec.queue_readiness(i.assigned_printer), '{printer_reserved}') <> '[]';
		operation_id := sec.queue_send(i);
		CONTINUE WHEN operation_id IS NULL;
		queue_item_id := i.id;
		printer_id := i.assigned_printer;
		generation := i.generation;
		room := room - 1;
		RETURN NEXT;
	END LOOP;
	IF room = 0 OR auto AND NOT policy.auto_dispatch THEN
		RETURN;
	END IF;
	FOR p IN SELECT x.id FROM app.printers AS x JOIN app.printer_status AS s ON s.org_id = x.org_id AND s.printer_id = x.id
			JOIN app.queue_printers AS q ON q.org_id = x.org_id AND q.printer_id = x.id
			WHERE x.org_id = app.org() AND x.deleted_at IS NULL AND x.enabled AND (x.auto_dispatch OR NOT auto)
				AND s.state IN ('idle', 'finished', 'failed')
				AND app.printer_readiness(x.id, x.enabled, x.maintenance, x.drain, s.connection, s.state, q.plate_cleared, q.plate_since, policy) = '[]'
			ORDER BY CASE policy.printer_choice WHEN 'least_worn' THEN q.printed_s ELSE 0 END, q.last_sent_at NULLS FIRST, x.id LOOP
		PERFORM FROM app.printers AS x WHERE x.org_id = app.org() AND x.id = p AND x.deleted_at IS NULL FOR NO KEY UPDATE SKIP LOCKED;
		IF FOUND AND sec.queue_readiness(p) = '[]' THEN
			free := free || p;
		END IF;
	END LOOP;
	needs := ARRAY(SELECT DISTINCT m.need_id FROM app.queue_matches AS m
		WHERE m.org_id = app.org() AND m.printer_id = ANY (free) AND m.state = ANY (app.queue_good(policy)));
	IF needs = '{}' THEN
		RETURN;
	END IF;
	c := sec.queue_in_order(needs, policy);
	LOOP
		EXIT WHEN room = 0 OR free = '{}';
		FETCH c INTO i;
		EXIT WHEN NOT FOUND;
		SELECT m.printer_id INTO p FROM app.queue_matches AS m
			JOIN app.queue_printers AS q ON q.org_id = m.org_id AND q.printer_id = m.printer_id
			WHERE m.org_id = i.org_id AND m.need_id = i.need_id AND m.printer_id = ANY (free) AND m.state = ANY (good)
				AND app.queue_may_start(i, m.printer_id, q.last_outcome)
			ORDER BY m.state = 'unknown', CASE policy.printer_choice WHEN 'fewest_changes' THEN m.misses ELSE 0 END,
				array_position(free, m.printer_id) LIMIT 1;
		CONTINUE WHEN NOT FOUND OR app.queue_item_reasons(i, policy.timezone) <> '[]' OR NOT sec.queue_still(i.need_id, p, good);
		PERFORM FROM app.queue_items AS x WHERE x.org_id = i.org_id AND x.id = i.id AND x.state = 'queued' AND x.version = i.version
			AND x.need_id = i.need_id FOR NO KEY UPDATE SKIP LOCKED;
		CONTINUE WHEN NOT FOUND;
		i := sec.queue_claim(i.id, p, false, true);
		CONTINUE WHEN i.id IS NULL;
		free := array_remove(free, p);
		operation_id := sec.queue_send(i);
		queue_item_id := i.id;
		printer_id := p;
		generation := i.generation;
		room := room - 1;
		RETURN NEXT;
	END LOOP;
	CLOSE c;
END
$$;

CREATE FUNCTION sec.queue_dispatch(most int) RETURNS TABLE (queue_item_id uuid, printer_id uuid, operation_id uuid, generation int)
	LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT * FROM sec.queue_match_fleet(queue_dispatch.most, false);
	END;

-- --- what clients do to items -------------------------------------------------------------------

-- One step of an item: NULL: no such item. Raises SLP61 when its state does not allow it, SLP20 when the printer that is to
-- stop is not connected. A cancelled item that prints, prints until its printer has stopped.
CREATE FUNCTION sec.queue_act(item uuid, action text, args jsonb) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	i app.queue_items;
	was app.queue_items;
	outcome text := args ->> 'outcome';
	running uuid;
BEGIN
	SELECT * INTO was FROM app.queue_items AS x WHERE x.org_id = app.org() AND x.id = item;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	IF action = 'cancel' AND was.state IN ('dispatching', 'printing', 'paused') THEN
		PERFORM FROM app.printers AS p WHERE p.org_id = was.org_id AND p.id = was.assigned_printer FOR NO KEY UPDATE;
	END IF;
	IF action = 'cancel' AND was.state = 'dispatching' THEN
		BEGIN
			PERFORM sec.job_cancel(was.operation_id);
		EXCEPTION WHEN SQLSTATE 'SLP43' OR SQLSTATE 'SLP10' THEN
			NULL; -- it ended a moment ago: what it became is looked at below
		END;
	END IF;
	SELECT * INTO i FROM app.queue_items AS x WHERE x.org_id = app.org() AND x.id = item FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	IF action = 'cancel' AND i.state IN ('dispatching', 'printing', 'paused')
			AND (i.generation <> was.generation OR was.state NOT IN ('dispatching', 'printing', 'paused')) THEN
		RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'it was sent at this moment'; -- the caller asks once more
	ELSIF action = 'cancel' AND i.state IN ('printing', 'paused')
			AND (i.cancel_requested_at >= greatest(i.started_at, app.now() - '15 s'::interval)) IS NOT TRUE THEN
		PERFORM sec.task_create(i.assigned_printer, 'printer.command', '{"command": "stop"}', '2 minutes', false);
	END IF;
	IF action = 'cancel' AND (app.queue_waits(i.state) OR i.state = 'assigned') THEN
		UPDATE app.queue_items AS x SET state = 'cancelled', ended_at = app.now() WHERE x.org_id = i.org_id AND x.id = i.id;
	ELSIF action = 'cancel' AND i.state IN ('dispatching', 'printing', 'paused') THEN
		UPDATE app.queue_items AS x SET cancel_requested_at = greatest(app.now(), x.started_at) WHERE x.org_id = i.org_id AND x.id = i.id;
	ELSIF action = 'cancel' AND i.state = 'cancelled' THEN
		NULL;
	ELSIF action = 'hold' AND app.queue_waits(i.state) THEN
		UPDATE app.queue_items AS x SET held = true WHERE x.org_id = i.org_id AND x.id = i.id;
	ELSIF action = 'release' AND app.queue_waits(i.state) THEN
		UPDATE app.queue_items AS x SET held = false, state = CASE x.state WHEN 'draft' THEN 'queued' ELSE x.state END,
				queued_at = coalesce(x.queued_at, CASE WHEN x.state = 'draft' THEN app.now() END) WHERE x.org_id = i.org_id AND x.id = i.id;
	ELSIF action = 'unassign' AND i.state = 'assigned' THEN
		UPDATE app.queue_items AS x SET state = 'queued', assigned_printer = NULL, assigned_at = NULL, override = false, auto_start = false
			WHERE x.org_id = i.org_id AND x.id = i.id;
	ELSIF action = 'retry' AND i.state IN ('failed', 'cancelled') THEN
		PERFORM sec.queue_need_room(1);
		UPDATE app.queue_items AS x SET state = 'queued', ended_at = NULL, started_at = NULL, assigned_printer = NULL, assigned_at = NULL,
				override = false, auto_start = false, operation_id = NULL, print_id = NULL, attempts = 0, not_before = NULL, last_error = NULL,
				refused_by = '{}', cancel_requested_at = NULL, queued_at = app.now() WHERE x.org_id = i.org_id AND x.id = i.id;
		PERFORM sec.queue_refresh_item(i.id);
	ELSIF action = 'complete' AND i.state = 'assigned' THEN
		UPDATE app.queue_items AS x SET state = outcome, ended_at = app.now(), started_at = coalesce(x.started_at, x.assigned_at)
			WHERE x.org_id = i.org_id AND x.id = i.id;
	ELSIF action = 'resolve' AND i.state = 'start_unknown' AND outcome = 'printing' THEN
		SELECT p.id INTO running FROM app.printer_status AS s JOIN app.prints AS p ON p.org_id = s.org_id AND p.id = s.print_id AND p.state = 'running'
			WHERE s.org_id = i.org_id AND s.printer_id = i.assigned_printer AND NOT EXISTS (SELECT FROM app.queue_items AS o
				WHERE o.org_id = p.org_id AND o.print_id = p.id AND o.id <> i.id)
				AND EXISTS (SELECT FROM app.printers AS y WHERE y.org_id = s.org_id AND y.id = s.printer_id AND y.deleted_at IS NULL);
		IF running IS NULL THEN
			RAISE EXCEPTION USING ERRCODE = 'SLP61', MESSAGE = 'the printer shows no print';
		END IF;
		UPDATE app.queue_items AS x SET state = 'printing', print_id = running, started_at = coalesce(x.started_at, app.now()), last_error = NULL,
				cancel_requested_at = NULL
			WHERE x.org_id = i.org_id AND x.id = i.id;
	ELSIF action = 'resolve' AND i.state = 'start_unknown' AND outcome = 'not_started' THEN
		PERFORM sec.queue_requeue(i, NULL);
	ELSIF action = 'resolve' AND i.state = 'start_unknown' THEN
		UPDATE app.queue_items AS x SET state = outcome, ended_at = app.now() WHERE x.org_id = i.org_id AND x.id = i.id;
	ELSIF action = 'recompute' THEN
		IF NOT app.queue_ended(i.state) THEN
			UPDATE app.queue_items AS x SET refused_by = '{}' WHERE x.org_id = i.org_id AND x.id = i.id AND x.refused_by <> '{}';
			PERFORM sec.queue_refresh_item(i.id);
			PERFORM sec.queue_rematch(ARRAY(SELECT x.need_id FROM app.queue_items AS x WHERE x.org_id = i.org_id AND x.id = i.id), NULL);
		END IF;
	ELSE
		RAISE EXCEPTION USING ERRCODE = 'SLP61', MESSAGE = format('not while the item is %s', i.state);
	END IF;
	RETURN item;
END
$$;

-- Back into the queue, off its printer. wait: not before so long from now.
CREATE FUNCTION sec.queue_requeue(i app.queue_items, wait interval) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	UPDATE app.queue_items AS x SET state = 'queued', assigned_printer = NULL, assigned_at = NULL, override = false, auto_start = false,
			operation_id = NULL, print_id = NULL, started_at = NULL, cancel_requested_at = NULL,
			not_before = CASE WHEN wait IS NOT NULL THEN app.now() + wait END
		WHERE x.org_id = i.org_id AND x.id = i.id;
END
$$;

-- The same wishes once more, at the end of its priority.
CREATE FUNCTION sec.queue_duplicate(item uuid, new_id uuid) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	i app.queue_items;
BEGIN
	SELECT * INTO i FROM app.queue_items AS x WHERE x.org_id = app.org() AND x.id = item;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	PERFORM sec.queue_need_room(1);
	INSERT INTO app.queue_items (id, name, held, priority, position, requirements, start_after, due_at, windows, require_previous_success,
			slot_mapping, options, notes, metadata, has_file, allowed_printers, queued_at)
		VALUES (new_id, i.name, i.held, i.priority, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, i.requirements, i.start_after,
			i.due_at, i.windows, i.require_previous_success, i.slot_mapping, i.options, i.notes, i.metadata, i.has_file,
			nullif(current_setting('app.printer_ids', true), '')::uuid[], app.now());
	INSERT INTO app.queue_item_files (item_id, n, file_id, plate, models)
		SELECT new_id, q.n, q.file_id, q.plate, q.models FROM app.queue_item_files AS q WHERE q.org_id = i.org_id AND q.item_id = i.id;
	PERFORM sec.queue_refresh_item(new_id);
	RETURN new_id;
END
$$;

-- Waiting items into this order: they share out among themselves the positions that they have. SLP63: one of them does not
-- wait any more, or the order is not the one that is being changed.
CREATE FUNCTION sec.queue_reorder(ids uuid[], order_version bigint) RETURNS bigint
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	version bigint;
	n int;
BEGIN
	INSERT INTO app.queue_orders AS o (org_id) VALUES (app.org()) ON CONFLICT ON CONSTRAINT queue_orders_pkey DO NOTHING;
	SELECT o.order_version INTO version FROM app.queue_orders AS o WHERE o.org_id = app.org() FOR UPDATE;
	PERFORM FROM app.queue_items AS i WHERE i.org_id = app.org() AND i.id = ANY (ids) AND app.queue_waits(i.state)
		ORDER BY i.id FOR NO KEY UPDATE;
	SELECT count(*) INTO n FROM app.queue_items AS i WHERE i.org_id = app.org() AND i.id = ANY (ids) AND app.queue_waits(i.state);
	IF n <> cardinality(ids) OR queue_reorder.order_version <> version THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP63', MESSAGE = 'the queue has changed';
	END IF;
	UPDATE app.queue_items AS i SET position = f.position, priority = f.priority
		FROM unnest(ids) WITH ORDINALITY AS w (id, n), (SELECT x.position, x.priority, row_number() OVER (ORDER BY x.rank, x.id) AS n
			FROM app.queue_items AS x WHERE x.org_id = app.org() AND x.id = ANY (ids)) AS f
		WHERE i.org_id = app.org() AND i.id = w.id AND f.n = w.n AND (i.position, i.priority) <> (f.position, f.priority);
	UPDATE app.queue_orders AS o SET order_version = version + 1 WHERE o.org_id = app.org();
	RETURN version + 1;
END
$$;

-- The same for many items; what is wrong with one does not hold up the others. failure: an SQLSTATE.
CREATE FUNCTION sec.queue_bulk(ids uuid[], action text, patch jsonb) RETURNS TABLE (n bigint, queue_item_id uuid, failure text)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	done uuid;
BEGIN
	IF action = 'cancel' THEN -- in everybody's order, not in that of the items
		PERFORM FROM app.printers AS p WHERE p.org_id = app.org() AND p.id IN (SELECT i.assigned_printer FROM app.queue_items AS i
			WHERE i.org_id = app.org() AND i.id = ANY (ids) AND i.state IN ('dispatching', 'printing', 'paused')) ORDER BY p.id FOR NO KEY UPDATE;
		PERFORM FROM sec.printer_tasks AS t WHERE t.job_id IN (SELECT i.operation_id FROM app.queue_items AS i
			WHERE i.org_id = app.org() AND i.id = ANY (ids) AND i.state = 'dispatching') ORDER BY t.printer_id, t.job_id FOR UPDATE;
	END IF;
	FOR n, queue_item_id IN SELECT u.n, u.id FROM unnest(ids) WITH ORDINALITY AS u (id, n) ORDER BY u.id LOOP
		failure := NULL;
		BEGIN
			IF patch IS NOT NULL THEN
				done := sec.queue_update(queue_item_id, patch, NULL);
			ELSIF action = 'delete' THEN
				done := sec.queue_delete(queue_item_id, NULL);
			ELSE
				done := sec.queue_act(queue_item_id, action, '{}');
			END IF;
			IF done IS NULL THEN
				failure := 'SLP10';
			END IF;
		EXCEPTION WHEN SQLSTATE 'SLP61' OR SQLSTATE 'SLP64' OR SQLSTATE 'SLP20' OR SQLSTATE 'SLP50' OR SQLSTATE 'SLP51' THEN
			failure := SQLSTATE;
		END;
		RETURN NEXT;
	END LOOP;
END
$$;

-- No row: no such printer for this key.
CREATE FUNCTION sec.clear_plate(printer uuid) RETURNS TABLE (printer_id uuid, plate_cleared boolean, cleared_at timestamptz)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	was boolean;
BEGIN
	SELECT q.plate_cleared INTO was FROM app.queue_printers AS q JOIN app.printers AS p ON p.org_id = q.org_id AND p.id = q.printer_id
		WHERE q.org_id = app.org() AND q.printer_id = printer AND p.deleted_at IS NULL FOR NO KEY UPDATE OF q;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	IF NOT was THEN
		UPDATE app.queue_printers AS q SET plate_cleared = true, plate_since = app.now()
			WHERE q.org_id = app.org() AND q.printer_id = printer;
		PERFORM sec.record(app.org(), 'plate_cleared', 'printer', printer, '{}', 'operations.read',
			(SELECT p.name FROM app.printers AS p WHERE p.org_id = app.org() AND p.id = printer));
	END IF;
	RETURN QUERY SELECT q.printer_id, q.plate_cleared, q.plate_since FROM app.queue_printers AS q
		WHERE q.org_id = app.org() AND q.printer_id = printer;
END
$$;

CREATE FUNCTION sec.queue_settings_update(patch jsonb, versions int[]) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	now int;
BEGIN
	INSERT INTO app.queue_settings (org_id) VALUES (app.org()) ON CONFLICT ON CONSTRAINT queue_settings_pkey DO NOTHING;
	INSERT INTO sec.queue_orgs (org_id) VALUES (app.org()) ON CONFLICT DO NOTHING;
	SELECT s.version INTO now FROM app.queue_settings AS s WHERE s.org_id = app.org() FOR NO KEY UPDATE;
	PERFORM app.check_version(now, versions);
	UPDATE app.queue_settings AS s SET auto_dispatch = coalesce(b.auto_dispatch, s.auto_dispatch), item_order = coalesce(b.item_order, s.item_order),
			printer_choice = coalesce(b.printer_choice, s.printer_choice), stagger_seconds = coalesce(b.stagger_seconds, s.stagger_seconds),
			plate_clear_required = coalesce(b.plate_clear_required, s.plate_clear_required),
			dispatch_unknown = coalesce(b.dispatch_unknown, s.dispatch_unknown), timezone = coalesce(b.timezone, s.timezone),
			max_attempts = coalesce(b.max_attempts, s.max_attempts),
			starvation_after_seconds = coalesce(b.starvation_after_seconds, s.starvation_after_seconds)
		FROM jsonb_to_record(patch) AS b (auto_dispatch boolean, item_order text, printer_choice text, stagger_seconds int,
			plate_clear_required boolean, dispatch_unknown boolean, timezone text, max_attempts int, starvation_after_seconds int)
		WHERE s.org_id = app.org();
END
$$;

-- --- what printers do to items ------------------------------------------------------------------

-- A print that a gateway saw which did not know yet whose it is, as one that took over from another.
CREATE FUNCTION sec.queue_own_print(i app.queue_items, print uuid) RETURNS void
	LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		UPDATE app.prints AS p SET source = 'queue', operation_id = d.operation_id, file_id = d.file_id FROM app.queue_dispatches AS d
			WHERE p.org_id = i.org_id AND p.id = print AND p.operation_id IS NULL
				AND d.org_id = i.org_id AND d.item_id = i.id AND d.generation = i.generation;
	END;

-- Another printer than the one it has may take the item.
CREATE FUNCTION sec.queue_has_other(i app.queue_items) RETURNS boolean
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT EXISTS (SELECT FROM app.queue_matches AS m WHERE m.org_id = i.org_id AND m.need_id = i.need_id AND m.printer_id <> i.assigned_printer
			AND m.state = ANY (app.queue_good(app.queue_policy())) AND app.queue_may_start(i, m.printer_id, NULL));
	END;

-- A send has ended. When nobody knows whether the printer started, nothing is sent again: somebody has to look.
CREATE FUNCTION sec.queue_follow_send() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	i app.queue_items;
	code CONSTANT text := coalesce(NEW.error ->> 'code', '');
	told CONSTANT jsonb := NEW.error || jsonb_build_object('at', app.rfc3339(app.now()));
	counts CONSTANT boolean := code NOT IN ('printer_busy', 'expired'); -- as an attempt
	refusal CONSTANT boolean := code IN ('upload_refused', 'unsupported_by_printer');
	running uuid;
BEGIN
	SELECT * INTO i FROM app.queue_items AS x WHERE x.org_id = NEW.org_id AND x.operation_id = NEW.id FOR NO KEY UPDATE;
	IF NOT FOUND OR i.state <> 'dispatching' THEN
		RETURN NULL;
	END IF;
	IF NEW.state = 'succeeded' THEN
		SELECT p.id INTO running FROM app.prints AS p WHERE p.org_id = i.org_id AND p.printer_id = i.assigned_printer AND p.operation_id = NEW.id;
		IF running IS NULL THEN -- seen by a gateway that did not know yet whose it was
			SELECT p.id INTO running FROM app.printer_status AS s JOIN app.prints AS p ON p.org_id = s.org_id AND p.id = s.print_id
					AND p.state = 'running' AND p.operation_id IS NULL
				WHERE s.org_id = i.org_id AND s.printer_id = i.assigned_printer AND p.started_at >= i.assigned_at - '1 min'::interval;
			PERFORM sec.queue_own_print(i, running);
		END IF;
		UPDATE app.queue_items AS x SET state = 'printing', started_at = greatest(app.now(), x.cancel_requested_at + '1 us'::interval),
				print_id = running, last_error = NULL
			WHERE x.org_id = i.org_id AND x.id = i.id;
	ELSIF NEW.state = 'cancelled' THEN
		UPDATE app.queue_items AS x SET state = 'cancelled', ended_at = app.now() WHERE x.org_id = i.org_id AND x.id = i.id;
	ELSIF code IN ('start_unknown', 'not_confirmed', 'outcome_unknown', 'printer_gone', 'gateway_lost') THEN
		UPDATE app.queue_items AS x SET state = 'start_unknown', last_error = told WHERE x.org_id = i.org_id AND x.id = i.id;
	ELSIF code = 'file_gone' OR refusal AND NOT sec.queue_has_other(i)
			OR counts AND i.attempts + 1 >= (app.queue_policy()).max_attempts THEN
		UPDATE app.queue_items AS x SET state = 'failed', ended_at = app.now(), attempts = x.attempts + 1, last_error = told
			WHERE x.org_id = i.org_id AND x.id = i.id;
	ELSE
		UPDATE app.queue_items AS x SET attempts = x.attempts + counts::int, last_error = told,
				refused_by = CASE WHEN refusal THEN x.refused_by || x.assigned_printer ELSE x.refused_by END
			WHERE x.org_id = i.org_id AND x.id = i.id RETURNING x.* INTO i;
		IF i.cancel_requested_at IS NOT NULL THEN
			UPDATE app.queue_items AS x SET state = 'cancelled', ended_at = app.now() WHERE x.org_id = i.org_id AND x.id = i.id;
		ELSE
			PERFORM sec.queue_requeue(i, make_interval(secs => 15 * 2 ^ least(i.attempts, 6)));
		END IF;
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER queue AFTER UPDATE OF state ON app.jobs
	FOR EACH ROW WHEN (NEW.kind = 'printer.send' AND NEW.finished_at IS NOT NULL AND OLD.finished_at IS NULL)
	EXECUTE FUNCTION sec.queue_follow_send();

-- Printers have files under names of their own: signs are lost, letters that are not of the alphabet too, ends are cut off.
CREATE FUNCTION app.queue_same_name(stem text, told text) RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN coalesce(strpos(regexp_replace(lower(told), '[^a-z0-9]', '', 'g'),
		nullif(left(regexp_replace(lower(stem), '[^a-z0-9]', '', 'g'), 40), '')) > 0, false);

-- Whose print this is: by its operation, by what was told before, or, when a gateway did not know, because the printer was
-- held for a file of this name.
CREATE FUNCTION sec.queue_item_of_print(p app.prints) RETURNS app.queue_items
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	i app.queue_items;
BEGIN
	SELECT * INTO i FROM app.queue_items AS x WHERE x.org_id = p.org_id AND x.assigned_printer = p.printer_id AND app.queue_holds(x.state)
		FOR NO KEY UPDATE;
	IF NOT FOUND OR i.state = 'assigned' OR (i.print_id <> p.id) IS TRUE THEN
		RETURN NULL;
	ELSIF i.print_id = p.id OR i.operation_id = p.operation_id THEN
		RETURN i;
	ELSIF p.operation_id IS NULL AND i.state IN ('printing', 'start_unknown') AND p.started_at >= i.assigned_at - '1 min'::interval
			AND (i.state = 'printing' OR EXISTS (SELECT FROM app.queue_dispatches AS d JOIN app.files AS f ON f.org_id = d.org_id AND f.id = d.file_id
				WHERE d.org_id = i.org_id AND d.item_id = i.id AND d.generation = i.generation
				AND (app.queue_same_name(f.stem, p.name) OR app.queue_same_name(f.stem, p.filename)))) THEN
		RETURN i;
	END IF;
	RETURN NULL;
END
$$;

-- A print begins, or has ended: it is its item's.
CREATE FUNCTION sec.queue_follow_print() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	i app.queue_items := sec.queue_item_of_print(NEW);
	ended CONSTANT boolean := NEW.state <> 'running' AND (TG_OP = 'INSERT' OR OLD.state = 'running');
BEGIN
	IF ended THEN
		UPDATE app.queue_printers AS q SET plate_cleared = false, plate_since = app.now(), prints = q.prints + 1, last_outcome = NEW.state,
				printed_s = q.printed_s + greatest(extract(epoch FROM NEW.ended_at - NEW.started_at), 0)::bigint
			WHERE q.org_id = NEW.org_id AND q.printer_id = NEW.printer_id;
	END IF;
	IF i.id IS NULL THEN
		RETURN NULL;
	ELSIF i.print_id IS NULL AND NEW.operation_id IS NULL THEN
		PERFORM sec.queue_own_print(i, NEW.id);
	END IF;
	IF NEW.state = 'running' AND (i.print_id IS NULL OR i.state IN ('dispatching', 'start_unknown')) THEN
		UPDATE app.queue_items AS x SET print_id = NEW.id, state = CASE WHEN x.state IN ('dispatching', 'start_unknown') THEN 'printing' ELSE x.state END,
				started_at = coalesce(x.started_at, greatest(app.now(), x.cancel_requested_at + '1 us'::interval)), last_error = NULL
			WHERE x.org_id = i.org_id AND x.id = i.id;
	ELSIF ended AND NEW.state = 'unknown' AND i.state <> 'start_unknown' THEN
		UPDATE app.queue_items AS x SET state = 'start_unknown', print_id = NEW.id, last_error = app.queue_error('outcome_unknown',
				'The printer was away when the print ended; look at it and resolve the item.')
			WHERE x.org_id = i.org_id AND x.id = i.id;
	ELSIF ended AND NEW.state <> 'unknown' THEN
		UPDATE app.queue_items AS x SET state = NEW.state, print_id = NEW.id, ended_at = app.now(), started_at = coalesce(x.started_at, NEW.started_at),
				last_error = CASE NEW.state WHEN 'failed' THEN app.queue_error('print_failed',
				'The printer says that the print failed.') END
			WHERE x.org_id = i.org_id AND x.id = i.id;
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER queue AFTER INSERT OR UPDATE OF state ON app.prints
	FOR EACH ROW EXECUTE FUNCTION sec.queue_follow_print();

-- Prints of queue items say so.
CREATE FUNCTION sec.queue_mark_print() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF EXISTS (SELECT FROM app.queue_dispatches AS d WHERE d.org_id = NEW.org_id AND d.operation_id = NEW.operation_id) THEN
		NEW.source := 'queue';
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER a_queue BEFORE INSERT ON app.prints
	FOR EACH ROW WHEN (NEW.operation_id IS NOT NULL) EXECUTE FUNCTION sec.queue_mark_print();

-- Paused and going on again.
CREATE FUNCTION sec.queue_follow_state() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	UPDATE app.queue_items AS i SET state = NEW.state WHERE i.org_id = NEW.org_id AND i.assigned_printer = NEW.printer_id
		AND i.state = CASE NEW.state WHEN 'paused' THEN 'printing' ELSE 'paused' END;
	RETURN NULL;
END
$$;
CREATE TRIGGER queue_state AFTER UPDATE OF state ON app.printer_status
	FOR EACH ROW WHEN (OLD.state <> NEW.state AND NEW.state IN ('paused', 'printing')) EXECUTE FUNCTION sec.queue_follow_state();

-- A printer is taken out: what was only meant for it goes back, what it may have begun has to be looked at.
CREATE FUNCTION sec.queue_printer_gone() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	i app.queue_items;
BEGIN
	SELECT * INTO i FROM app.queue_items AS x WHERE x.org_id = NEW.org_id AND x.assigned_printer = NEW.id AND app.queue_holds(x.state)
		FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RETURN NULL;
	ELSIF i.state = 'assigned' THEN
		PERFORM sec.queue_requeue(i, NULL);
	ELSIF i.state <> 'start_unknown' THEN
		UPDATE app.queue_items AS x SET state = 'start_unknown', last_error = app.queue_error('printer_deleted',
				'The printer was deleted while it had the item; look at it and resolve the item.')
			WHERE x.org_id = i.org_id AND x.id = i.id;
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER z_queue_gone AFTER UPDATE OF deleted_at ON app.printers
	FOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION sec.queue_printer_gone();

-- --- what couriers do ---------------------------------------------------------------------------

-- How a need stands with the printers, and how many of them are ready. passing: of each printer, by its id, sec.queue_readiness.
CREATE FUNCTION sec.queue_standing(need uuid, passing jsonb) RETURNS jsonb
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		WITH m AS MATERIALIZED (
			SELECT x.state, x.reasons, CASE WHEN x.state <> 'blocked' THEN coalesce(queue_standing.passing -> x.printer_id::text, '[]') ELSE '[]' END AS passing
				FROM app.queue_matches AS x WHERE x.org_id = app.org() AND x.need_id = need
		)
		SELECT jsonb_build_object('eligible', count(*) FILTER (WHERE m.state = 'eligible'), 'unknown', count(*) FILTER (WHERE m.state = 'unknown'),
				'blocked', count(*) FILTER (WHERE m.state = 'blocked'), 'ready', count(*) FILTER (WHERE m.state <> 'blocked' AND m.passing = '[]'),
				'reasons', coalesce((SELECT jsonb_agg(jsonb_build_object('code', t.code, 'severity', t.severity, 'printers', t.n) ORDER BY t.n DESC, t.code)
					FROM (SELECT r ->> 'code' AS code, r ->> 'severity' AS severity, count(*) AS n FROM m AS y, jsonb_array_elements(y.reasons || y.passing) AS r
						GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT 8) AS t), '[]'))
			FROM m;
	END;

-- Notes, at most every half minute, how it stands with what waits: that is why it waits.
CREATE FUNCTION sec.queue_tell_standing() RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	d record;
	standing jsonb;
	passing jsonb;
BEGIN
	FOR d IN SELECT x.id, x.told FROM app.queue_needs AS x WHERE x.org_id = app.org() AND (x.told_at > app.now() - '30 s'::interval) IS NOT TRUE
			AND EXISTS (SELECT FROM app.queue_items AS i WHERE i.org_id = x.org_id AND i.need_id = x.id AND i.state = 'queued')
			ORDER BY x.told_at NULLS FIRST LIMIT 50 FOR NO KEY UPDATE SKIP LOCKED LOOP
		passing := coalesce(passing, (SELECT jsonb_object_agg(p.id, sec.queue_readiness(p.id)) FROM app.printers AS p
			WHERE p.org_id = app.org() AND p.deleted_at IS NULL), '{}');
		standing := sec.queue_standing(d.id, passing);
		UPDATE app.queue_needs AS x SET told = standing, told_at = app.now() WHERE x.org_id = app.org() AND x.id = d.id;
		IF d.told IS DISTINCT FROM standing THEN
			INSERT INTO app.queue_history (need_id, event, detail) VALUES (d.id, 'standing', standing);
		END IF;
	END LOOP;
END
$$;

-- What was cancelled too late to be kept from starting is stopped. Not by those who see the start: they may not wait for a
-- printer's lock. started_at is then behind cancel_requested_at, until the printer has been asked.
CREATE FUNCTION sec.queue_stop_late() RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	i app.queue_items;
BEGIN
	FOR i IN SELECT x.* FROM app.queue_items AS x WHERE x.org_id = app.org() AND x.state IN ('printing', 'paused')
			AND x.cancel_requested_at < x.started_at ORDER BY x.assigned_printer LOOP
		BEGIN
			PERFORM FROM app.printers AS p WHERE p.org_id = i.org_id AND p.id = i.assigned_printer FOR NO KEY UPDATE SKIP LOCKED;
			CONTINUE WHEN NOT FOUND;
			UPDATE app.queue_items AS x SET cancel_requested_at = greatest(app.now(), x.started_at)
				WHERE x.org_id = i.org_id AND x.id = i.id AND x.generation = i.generation AND x.state IN ('printing', 'paused')
				AND x.cancel_requested_at < x.started_at;
			IF FOUND THEN
				PERFORM sec.task_create(i.assigned_printer, 'printer.command', '{"command": "stop"}', '2 minutes', false);
			END IF;
		EXCEPTION WHEN SQLSTATE 'SLP10' OR SQLSTATE 'SLP20' OR SQLSTATE 'SLP50' OR SQLSTATE 'SLP51' THEN
			NULL; -- the next time
		END;
	END LOOP;
END
$$;

-- What was missed: printers that came while a need did (neither transaction saw the other, so they are as old), and prints
-- that no gateway has told of.
CREATE FUNCTION sec.queue_repair() RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	d record;
	i app.queue_items;
	chunk uuid[];
	n bigint;
BEGIN
	FOR d IN SELECT x.id, array_agg(p.id) AS printers FROM app.queue_needs AS x CROSS JOIN app.printers AS p
			WHERE x.org_id = app.org() AND p.org_id = x.org_id AND p.deleted_at IS NULL AND p.created_at > app.now() - '1 hour'::interval
				AND x.created_at BETWEEN p.created_at - '1 min'::interval AND p.created_at + '1 min'::interval
				AND NOT EXISTS (SELECT FROM app.queue_matches AS m WHERE m.org_id = x.org_id AND m.need_id = x.id AND m.printer_id = p.id)
			GROUP BY x.id LIMIT 100 LOOP
		PERFORM sec.queue_rematch(ARRAY[d.id], d.printers);
	END LOOP;
	FOR d IN SELECT q.printer_id, q.rematch_after FROM app.queue_printers AS q WHERE q.org_id = app.org() AND q.rematch_after IS NOT NULL
			ORDER BY q.printer_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED LOOP
		SELECT array_agg(x.id ORDER BY x.id), max(x.n) INTO chunk, n FROM (SELECT y.id, row_number() OVER (ORDER BY y.id) AS n FROM app.queue_needs AS y
			WHERE y.org_id = app.org() AND y.id > d.rematch_after ORDER BY y.id LIMIT 2000) AS x;
		PERFORM sec.queue_rematch(coalesce(chunk, '{}'), ARRAY[d.printer_id]);
		UPDATE app.queue_printers AS q SET rematch_after = CASE WHEN n = 2000 THEN chunk[2000] END
			WHERE q.org_id = app.org() AND q.printer_id = d.printer_id;
	END LOOP;
	FOR d IN DELETE FROM app.queue_needs AS x WHERE x.org_id = app.org() AND x.id IN (SELECT y.id FROM app.queue_needs AS y
			WHERE y.org_id = app.org() AND y.created_at < app.now() - '1 hour'::interval
			AND NOT EXISTS (SELECT FROM app.queue_items AS q WHERE q.org_id = y.org_id AND q.need_id = y.id)
			LIMIT 100 FOR UPDATE SKIP LOCKED) RETURNING x.id LOOP
		DELETE FROM app.queue_matches AS m WHERE m.org_id = app.org() AND m.need_id = d.id;
	END LOOP;
	FOR i IN SELECT x.* FROM app.queue_items AS x JOIN app.printer_status AS s ON s.org_id = x.org_id AND s.printer_id = x.assigned_printer
			WHERE x.org_id = app.org() AND x.state IN ('printing', 'paused') AND x.print_id IS NULL
			AND x.started_at < app.now() - '3 minutes'::interval AND s.state IN ('idle', 'finished', 'failed', 'error')
			FOR NO KEY UPDATE OF x SKIP LOCKED LOOP
		UPDATE app.queue_items AS x SET state = 'start_unknown', last_error = app.queue_error('outcome_unknown',
				'Nobody saw how the print ended; look at the printer and resolve the item.')
			WHERE x.org_id = i.org_id AND x.id = i.id;
	END LOOP;
END
$$;

-- One organisation's queue: the next one after `after`. next: what to give as `after` the next time, NULL when all have
-- been seen. sent: how many items were; none of a suspended organisation. failure: an SQLSTATE, when nothing could be done;
-- it holds up no other organisation.
CREATE FUNCTION sec.queue_tick(after uuid, OUT next uuid, OUT sent int, OUT failure text)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	sent := 0;
	SELECT o.org_id INTO next FROM sec.queue_orgs AS o
		WHERE o.org_id > coalesce(after, '00000000-0000-0000-0000-000000000000') ORDER BY o.org_id LIMIT 1;
	IF next IS NULL THEN
		RETURN;
	END IF;
	PERFORM set_config('app.org_id', next::text, true);
	IF EXISTS (SELECT FROM app.queue_items AS i WHERE i.org_id = next AND i.need_id IS NOT NULL) THEN
		BEGIN
			PERFORM sec.queue_stop_late();
			IF EXISTS (SELECT FROM app.organizations AS o WHERE o.org_id = next AND o.state = 'active') THEN
				sent := (SELECT count(*) FROM sec.queue_match_fleet(25, true));
			END IF;
			PERFORM sec.queue_tell_standing();
			PERFORM sec.queue_repair();
		EXCEPTION WHEN OTHERS THEN
			sent := 0;
			failure := SQLSTATE;
		END;
	END IF;
	PERFORM set_config('app.org_id', '', true);
END
$$;
INSERT INTO sec.timers (name, every) VALUES ('queue', '1 second');

GRANT EXECUTE ON FUNCTION app.queue_may_start(app.queue_items, uuid, text), app.queue_faults(jsonb, uuid),
	app.queue_file_faults(uuid, int, text), app.queue_settings_faults(jsonb), app.queue_without(jsonb, text[]), sec.queue_create(uuid, jsonb), sec.queue_update(uuid, jsonb, int[]), sec.queue_delete(uuid, int[]),
	sec.queue_act(uuid, text, jsonb), sec.queue_duplicate(uuid, uuid), sec.queue_reorder(uuid[], bigint), sec.queue_bulk(uuid[], text, jsonb),
	sec.queue_assign(uuid, uuid, boolean, boolean), sec.dispatch_next(uuid), sec.queue_dispatch(int), sec.clear_plate(uuid),
	sec.queue_settings_update(jsonb, int[]) TO soloprint_api;
GRANT EXECUTE ON FUNCTION sec.queue_tick(uuid) TO soloprint_courier;

COMMIT;
