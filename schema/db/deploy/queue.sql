-- Deploy soloprint:queue to pg
-- requires: printer_control
-- What an organisation wants printed, and what became of it. An item holds at most one printer at a time, under a generation
-- that counts up with each assignment; each generation is sent at most once. Which printers may take which item is in
-- queue_match, how items move is in queue_moves.

BEGIN;
SET LOCAL ROLE soloprint_owner;

-- One row per organisation that has changed something; app.queue_policy() gives the defaults to the others.
CREATE TABLE app.queue_settings (
	org_id uuid NOT NULL DEFAULT app.org(),
	auto_dispatch boolean NOT NULL DEFAULT false,
	item_order text NOT NULL DEFAULT 'priority' CHECK (item_order IN ('priority', 'first_in', 'shortest_first', 'due_date')),
	printer_choice text NOT NULL DEFAULT 'least_busy'
		CHECK (printer_choice IN ('least_busy', 'least_worn', 'fewest_changes')),
	stagger_seconds int NOT NULL DEFAULT 0 CHECK (stagger_seconds BETWEEN 0 AND 3600),
	plate_clear_required boolean NOT NULL DEFAULT true,
	dispatch_unknown boolean NOT NULL DEFAULT true,
	timezone text NOT NULL DEFAULT 'UTC' CHECK (char_length(timezone) <= 64),
	max_attempts int NOT NULL DEFAULT 3 CHECK (max_attempts BETWEEN 1 AND 20),
	starvation_after_seconds int NOT NULL DEFAULT 14400 CHECK (starvation_after_seconds BETWEEN 60 AND 2592000),
	updated_at timestamptz NOT NULL DEFAULT app.now(),
	version int NOT NULL DEFAULT 1,
	CONSTRAINT queue_settings_pkey PRIMARY KEY (org_id),
	CONSTRAINT queue_settings_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id)
);
ALTER TABLE app.queue_settings ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.queue_settings
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT ON app.queue_settings TO soloprint_api;
CREATE TRIGGER bump_version BEFORE UPDATE ON app.queue_settings
	FOR EACH ROW EXECUTE FUNCTION app.bump_version();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON app.queue_settings
	FOR EACH ROW EXECUTE FUNCTION sec.audit('queue_settings', '');

CREATE FUNCTION app.queue_policy() RETURNS app.queue_settings
	LANGUAGE plpgsql STABLE
	AS $$
DECLARE
	s app.queue_settings;
BEGIN
	SELECT * INTO s FROM app.queue_settings AS x WHERE x.org_id = app.org();
	IF NOT FOUND THEN
		s := ROW(app.org(), false, 'priority', 'least_busy', 0, true, true, 'UTC', 3, 14400, app.now(), 1);
	END IF;
	RETURN s;
END
$$;

-- Counts the changes of the order: who reorders says which order that is a change of.
CREATE TABLE app.queue_orders (
	org_id uuid NOT NULL DEFAULT app.org(),
	order_version bigint NOT NULL DEFAULT 1,
	CONSTRAINT queue_orders_pkey PRIMARY KEY (org_id),
	CONSTRAINT queue_orders_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id)
);
ALTER TABLE app.queue_orders ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.queue_orders
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT ON app.queue_orders TO soloprint_api;

-- What items ask of printers, each distinct set of wishes once: {req, variants}, made by sec.queue_need_of. materials: those
-- that its filaments name, in lower case; `*` when one of them only names a colour.
CREATE TABLE app.queue_needs (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	signature bytea NOT NULL CHECK (octet_length(signature) = 32),
	need jsonb NOT NULL,
	told jsonb,
	told_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT app.now(),
	CONSTRAINT queue_needs_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT queue_needs_signature_key UNIQUE (org_id, signature),
	CONSTRAINT queue_needs_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id)
);
ALTER TABLE app.queue_needs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.queue_needs
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT ON app.queue_needs TO soloprint_api;

CREATE TABLE app.queue_need_materials (
	org_id uuid NOT NULL DEFAULT app.org(),
	material text NOT NULL,
	need_id uuid NOT NULL,
	CONSTRAINT queue_need_materials_pkey PRIMARY KEY (org_id, material, need_id),
	CONSTRAINT queue_need_materials_need_fkey FOREIGN KEY (org_id, need_id)
		REFERENCES app.queue_needs (org_id, id) ON DELETE CASCADE
);
CREATE INDEX queue_need_materials_need ON app.queue_need_materials (org_id, need_id);
ALTER TABLE app.queue_need_materials ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.queue_need_materials
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);

-- May a printer take what is asked for: eligible, blocked or unknown, and why (hard and soft reasons; what passes is told
-- by app.printer_readiness). mapping: from which slot each filament would come. misses: preferred colours it lacks.
-- input_version: of which printer's configuration and slots it is the answer. Derived, and many: there are no foreign keys,
-- which would lock every printer for each new need; rows go with their printer or need by trigger and by sec.queue_repair.
CREATE TABLE app.queue_matches (
	org_id uuid NOT NULL DEFAULT app.org(),
	need_id uuid NOT NULL,
	printer_id uuid NOT NULL,
	state text NOT NULL CHECK (state IN ('eligible', 'blocked', 'unknown')),
	reasons jsonb NOT NULL CHECK (jsonb_typeof(reasons) = 'array'),
	variant int,
	mapping jsonb,
	misses int NOT NULL DEFAULT 0,
	computed_at timestamptz NOT NULL DEFAULT app.now(),
	input_version text NOT NULL,
	CONSTRAINT queue_matches_pkey PRIMARY KEY (org_id, need_id, printer_id)
);
CREATE INDEX queue_matches_printer ON app.queue_matches (org_id, printer_id, state, need_id);
ALTER TABLE app.queue_matches ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.queue_matches
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])))
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])));
GRANT SELECT ON app.queue_matches TO soloprint_api;

-- generation: of the assignment, counted over the item's life. assigned_printer: the printer that it holds, or that it held
-- when it ended. need_id: while it has not ended, then waited_need. allowed_printers: those of the key that made it, when that is limited to some. refused_by: printers that did not take its file: they are passed over. not_before: after a send
-- that failed. rank: the order of the queue, by priority and position (which is a time in microseconds, until reordered).
CREATE TABLE app.queue_items (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
	state text NOT NULL DEFAULT 'queued' CHECK (state IN ('draft', 'pending_approval', 'queued', 'assigned', 'dispatching',
		'printing', 'paused', 'completed', 'failed', 'cancelled', 'rejected', 'start_unknown')),
	held boolean NOT NULL DEFAULT false,
	priority int NOT NULL DEFAULT 0 CHECK (priority BETWEEN -100 AND 100),
	position bigint NOT NULL CHECK (position BETWEEN 0 AND 2251799813685247),
	rank bigint NOT NULL GENERATED ALWAYS AS ((100 - priority)::bigint * 2251799813685248 + position) STORED,
	batch_id uuid,
	copy_index int NOT NULL DEFAULT 1 CHECK (copy_index >= 1),
	copies int NOT NULL DEFAULT 1 CHECK (copies >= copy_index),
	requirements jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(requirements) = 'object'),
	start_after timestamptz,
	due_at timestamptz,
	windows jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(windows) = 'array'),
	require_previous_success boolean NOT NULL DEFAULT false,
	slot_mapping jsonb,
	options jsonb,
	notes text CHECK (char_length(notes) <= 20000),
	metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
	need_id uuid,
	waited_need uuid,
	has_file boolean NOT NULL DEFAULT false,
	estimated_time_s int,
	filament_weight_mg bigint,
	requested_by uuid DEFAULT app.principal(),
	allowed_printers uuid[],
	refused_by uuid[] NOT NULL DEFAULT '{}',
	generation int NOT NULL DEFAULT 0,
	assigned_printer uuid,
	assigned_at timestamptz,
	override boolean NOT NULL DEFAULT false,
	auto_start boolean NOT NULL DEFAULT false,
	operation_id uuid,
	print_id uuid,
	attempts int NOT NULL DEFAULT 0,
	not_before timestamptz,
	last_error jsonb CHECK (jsonb_typeof(last_error) = 'object'),
	cancel_requested_at timestamptz,
	queued_at timestamptz,
	started_at timestamptz,
	ended_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT app.now(),
	updated_at timestamptz NOT NULL DEFAULT app.now(),
	version int NOT NULL DEFAULT 1,
	CONSTRAINT queue_items_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT queue_items_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id),
	CONSTRAINT queue_items_need_fkey FOREIGN KEY (org_id, need_id) REFERENCES app.queue_needs (org_id, id),
	CONSTRAINT queue_items_printer_fkey FOREIGN KEY (org_id, assigned_printer) REFERENCES app.printers (org_id, id),
	CONSTRAINT queue_items_requester_fkey FOREIGN KEY (org_id, requested_by) REFERENCES app.principals (org_id, id),
	CONSTRAINT queue_items_holds_check CHECK (CASE WHEN state IN ('draft', 'pending_approval', 'queued') THEN assigned_printer IS NULL
		WHEN state IN ('assigned', 'dispatching', 'printing', 'paused', 'start_unknown') THEN assigned_printer IS NOT NULL ELSE true END),
	CONSTRAINT queue_items_ended_check CHECK ((state IN ('completed', 'failed', 'cancelled', 'rejected')) = (ended_at IS NOT NULL))
) WITH (fillfactor = 80);
-- Whatever else goes wrong: no printer is held twice.
CREATE UNIQUE INDEX queue_items_one_per_printer ON app.queue_items (org_id, assigned_printer)
	WHERE state IN ('assigned', 'dispatching', 'printing', 'paused', 'start_unknown');
CREATE INDEX queue_items_next ON app.queue_items (org_id, rank, id) WHERE state = 'queued' AND NOT held;
CREATE INDEX queue_items_next_in ON app.queue_items (org_id, position, id) WHERE state = 'queued' AND NOT held;
CREATE INDEX queue_items_next_short ON app.queue_items (org_id, estimated_time_s, id) WHERE state = 'queued' AND NOT held;
CREATE INDEX queue_items_next_due ON app.queue_items (org_id, due_at, rank, id) WHERE state = 'queued' AND NOT held;
CREATE INDEX queue_items_rank ON app.queue_items (org_id, rank, id);
CREATE INDEX queue_items_created ON app.queue_items (org_id, created_at, id);
CREATE INDEX queue_items_updated ON app.queue_items (org_id, updated_at, id);
CREATE INDEX queue_items_due ON app.queue_items (org_id, coalesce(due_at, 'infinity'), id);
CREATE INDEX queue_items_name ON app.queue_items (org_id, name, id);
CREATE INDEX queue_items_state ON app.queue_items (org_id, state, rank, id);
CREATE INDEX queue_items_need ON app.queue_items (org_id, need_id) WHERE need_id IS NOT NULL;
CREATE INDEX queue_items_operation ON app.queue_items (org_id, operation_id) WHERE operation_id IS NOT NULL;
CREATE INDEX queue_items_print ON app.queue_items (org_id, print_id) WHERE print_id IS NOT NULL;
CREATE INDEX queue_items_batch ON app.queue_items (org_id, batch_id) WHERE batch_id IS NOT NULL;
ALTER TABLE app.queue_items ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.queue_items
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT ON app.queue_items TO soloprint_api;

-- What is printed: n 0 is the file for every printer, the others are for the models they name.
CREATE TABLE app.queue_item_files (
	org_id uuid NOT NULL DEFAULT app.org(),
	item_id uuid NOT NULL,
	n int NOT NULL CHECK (n >= 0),
	file_id uuid NOT NULL,
	plate int CHECK (plate >= 1),
	models text[],
	CONSTRAINT queue_item_files_pkey PRIMARY KEY (org_id, item_id, n),
	CONSTRAINT queue_item_files_item_fkey FOREIGN KEY (org_id, item_id) REFERENCES app.queue_items (org_id, id) ON DELETE CASCADE,
	CONSTRAINT queue_item_files_file_fkey FOREIGN KEY (org_id, file_id) REFERENCES app.files (org_id, id) ON DELETE CASCADE
);
CREATE INDEX queue_item_files_file ON app.queue_item_files (org_id, file_id, item_id);
ALTER TABLE app.queue_item_files ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.queue_item_files
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT ON app.queue_item_files TO soloprint_api;

-- Every send of a queue item, once per generation, for ever.
CREATE TABLE app.queue_dispatches (
	org_id uuid NOT NULL DEFAULT app.org(),
	item_id uuid NOT NULL,
	generation int NOT NULL,
	printer_id uuid NOT NULL,
	file_id uuid NOT NULL,
	operation_id uuid NOT NULL,
	at timestamptz NOT NULL DEFAULT app.now(),
	principal_id uuid DEFAULT app.principal(),
	CONSTRAINT queue_dispatches_pkey PRIMARY KEY (org_id, item_id, generation),
	CONSTRAINT queue_dispatches_operation_key UNIQUE (org_id, operation_id)
);
CREATE INDEX queue_dispatches_printer ON app.queue_dispatches (org_id, printer_id, at);
ALTER TABLE app.queue_dispatches ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.queue_dispatches
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])))
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])));
GRANT SELECT ON app.queue_dispatches TO soloprint_api;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.queue_dispatches
	FOR EACH ROW EXECUTE FUNCTION app.append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.queue_dispatches
	FOR EACH STATEMENT EXECUTE FUNCTION app.append_only();

-- What happened to items, and, of a need, how it stood with the printers: why items waited. Rows outlive the items.
CREATE TABLE app.queue_history (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	item_id uuid,
	need_id uuid,
	at timestamptz NOT NULL DEFAULT app.now(),
	event text NOT NULL,
	from_state text,
	to_state text,
	generation int,
	target_printer uuid,
	detail jsonb,
	principal_id uuid DEFAULT app.principal(),
	CONSTRAINT queue_history_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT queue_history_of_check CHECK ((item_id IS NULL) <> (need_id IS NULL))
);
CREATE INDEX queue_history_item ON app.queue_history (org_id, item_id, at, id);
CREATE INDEX queue_history_need ON app.queue_history (org_id, need_id, at, id);
ALTER TABLE app.queue_history ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.queue_history
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT ON app.queue_history TO soloprint_api;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.queue_history
	FOR EACH ROW EXECUTE FUNCTION app.append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.queue_history
	FOR EACH STATEMENT EXECUTE FUNCTION app.append_only();

-- What the queue knows of a printer: is its plate free, when was it last given something, how much has it done.
-- rematch_after: its matches are being made anew, and those of needs up to this one have been.
CREATE TABLE app.queue_printers (
	org_id uuid NOT NULL DEFAULT app.org(),
	printer_id uuid NOT NULL,
	plate_cleared boolean NOT NULL DEFAULT true,
	plate_since timestamptz NOT NULL DEFAULT app.now(),
	last_sent_at timestamptz,
	last_outcome text,
	prints int NOT NULL DEFAULT 0,
	printed_s bigint NOT NULL DEFAULT 0,
	rematch_after uuid,
	CONSTRAINT queue_printers_pkey PRIMARY KEY (org_id, printer_id),
	CONSTRAINT queue_printers_printer_fkey FOREIGN KEY (org_id, printer_id) REFERENCES app.printers (org_id, id) ON DELETE CASCADE
) WITH (fillfactor = 80);
CREATE INDEX queue_printers_sent ON app.queue_printers (org_id, last_sent_at);
ALTER TABLE app.queue_printers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.queue_printers
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])))
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])));
GRANT SELECT ON app.queue_printers TO soloprint_api;

-- Organisations that have ever queued something: where couriers look.
CREATE TABLE sec.queue_orgs (org_id uuid PRIMARY KEY);

-- Which printers the queue may use by itself.
ALTER TABLE app.printers ADD COLUMN auto_dispatch boolean NOT NULL DEFAULT true;
GRANT SELECT (auto_dispatch), INSERT (auto_dispatch), UPDATE (auto_dispatch) ON app.printers TO soloprint_api;

CREATE FUNCTION app.queue_waits(state text) RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN state IN ('draft', 'pending_approval', 'queued');
CREATE FUNCTION app.queue_ended(state text) RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN state IN ('completed', 'failed', 'cancelled', 'rejected');
CREATE FUNCTION app.queue_holds(state text) RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN state IN ('assigned', 'dispatching', 'printing', 'paused', 'start_unknown');

-- The legal ways from one state to another, and what else may never change otherwise: generations count up by one, with
-- each assignment and at no other time.
CREATE FUNCTION app.guard_queue_item() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
BEGIN
	IF OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (('draft', 'queued'), ('draft', 'pending_approval'), ('draft', 'cancelled'),
			('pending_approval', 'queued'), ('pending_approval', 'rejected'), ('pending_approval', 'cancelled'), ('pending_approval', 'draft'),
			('queued', 'assigned'), ('queued', 'cancelled'), ('queued', 'pending_approval'), ('queued', 'failed'),
			('assigned', 'queued'), ('assigned', 'dispatching'), ('assigned', 'completed'), ('assigned', 'failed'), ('assigned', 'cancelled'),
			('dispatching', 'printing'), ('dispatching', 'paused'), ('dispatching', 'queued'), ('dispatching', 'failed'),
			('dispatching', 'cancelled'), ('dispatching', 'completed'), ('dispatching', 'start_unknown'),
			('printing', 'paused'), ('printing', 'completed'), ('printing', 'failed'), ('printing', 'cancelled'), ('printing', 'start_unknown'),
			('paused', 'printing'), ('paused', 'completed'), ('paused', 'failed'), ('paused', 'cancelled'), ('paused', 'start_unknown'),
			('start_unknown', 'printing'), ('start_unknown', 'paused'), ('start_unknown', 'queued'), ('start_unknown', 'completed'),
			('start_unknown', 'failed'), ('start_unknown', 'cancelled'),
			('failed', 'queued'), ('cancelled', 'queued'), ('rejected', 'draft')) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP61', MESSAGE = format('a queue item cannot go from %s to %s', OLD.state, NEW.state);
	ELSIF NEW.generation <> OLD.generation + (OLD.state = 'queued' AND NEW.state = 'assigned')::int THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP61', MESSAGE = 'a generation is one assignment';
	ELSIF app.queue_holds(OLD.state) AND app.queue_holds(NEW.state) AND OLD.assigned_printer <> NEW.assigned_printer THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP61', MESSAGE = 'an assignment is for one printer';
	END IF;
	IF app.queue_ended(NEW.state) THEN
		NEW.waited_need := coalesce(OLD.need_id, OLD.waited_need);
		NEW.need_id := NULL;
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER a_guard BEFORE UPDATE ON app.queue_items
	FOR EACH ROW EXECUTE FUNCTION app.guard_queue_item();

-- What follows from an item's files makes no new version.
CREATE FUNCTION app.bump_queue_item() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
DECLARE
	derived CONSTANT text[] := '{rank,need_id,waited_need,has_file,estimated_time_s,filament_weight_mg}';
BEGIN
	IF to_jsonb(NEW) - derived <> to_jsonb(OLD) - derived THEN
		NEW.version := OLD.version + 1;
		NEW.updated_at := app.now();
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER bump_version BEFORE UPDATE ON app.queue_items
	FOR EACH ROW EXECUTE FUNCTION app.bump_queue_item();

-- What events of the outbox call a change.
CREATE FUNCTION sec.queue_verb(was text, is_now text) RETURNS text
	LANGUAGE sql IMMUTABLE
	RETURN CASE is_now WHEN 'dispatching' THEN 'dispatched' WHEN 'printing' THEN CASE was WHEN 'paused' THEN 'resumed' ELSE 'started' END
		WHEN 'queued' THEN CASE was WHEN 'assigned' THEN 'unassigned' WHEN 'draft' THEN 'queued' WHEN 'pending_approval' THEN 'approved'
			ELSE 'requeued' END
		ELSE is_now END;

-- Every change goes into the audit log; every change of state, and every change by somebody, also becomes an event and a
-- line of the item's history.
CREATE FUNCTION sec.record_queue_item() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
	is_now jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
	one jsonb := coalesce(is_now, was);
	derived CONSTANT text[] := '{rank,need_id,waited_need,has_file,estimated_time_s,filament_weight_mg,print_id,not_before,refused_by}';
	changes jsonb := sec.row_changes(was - derived, is_now - derived);
	moved boolean := was ->> 'state' IS DISTINCT FROM is_now ->> 'state';
	verb text := CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'DELETE' THEN 'deleted' ELSE 'updated' END;
BEGIN
	IF TG_OP = 'UPDATE' AND changes = '{}' THEN
		RETURN NULL;
	ELSIF TG_OP = 'UPDATE' AND moved THEN
		verb := sec.queue_verb(was ->> 'state', is_now ->> 'state');
	ELSIF TG_OP = 'UPDATE' AND was -> 'cancel_requested_at' = 'null' AND is_now -> 'cancel_requested_at' <> 'null' THEN
		verb := 'cancel_requested';
	ELSIF TG_OP = 'UPDATE' AND was -> 'held' <> is_now -> 'held' THEN
		verb := CASE WHEN (is_now ->> 'held')::boolean THEN 'held' ELSE 'released' END;
	END IF;
	INSERT INTO app.audit_log (org_id, action, target_type, target_id, changes)
		VALUES ((one ->> 'org_id')::uuid, 'queue_item.' || verb, 'queue_item', (one ->> 'id')::uuid, changes);
	IF verb = 'updated' AND app.principal() IS NULL THEN
		RETURN NULL;
	END IF;
	INSERT INTO app.outbox (org_id, type, capability, resource_type, resource_id, data)
		VALUES ((one ->> 'org_id')::uuid, 'queue_item.' || verb, 'operations.read', 'queue_item', (one ->> 'id')::uuid,
			jsonb_build_object('queue_item_id', one -> 'id', 'name', one -> 'name', 'state', one -> 'state', 'printer_id',
				one -> 'assigned_printer', 'generation', one -> 'generation') || CASE WHEN verb = 'updated' THEN
				jsonb_build_object('changed', (SELECT jsonb_agg(k ORDER BY k) FROM jsonb_object_keys(changes) AS k)) ELSE '{}' END
			|| CASE WHEN verb IN ('failed', 'requeued', 'start_unknown', 'cancelled') THEN jsonb_build_object('error', one -> 'last_error')
				ELSE '{}' END);
	INSERT INTO app.queue_history (org_id, item_id, at, event, from_state, to_state, generation, target_printer, detail)
		VALUES ((one ->> 'org_id')::uuid, (one ->> 'id')::uuid,
			clock_timestamp() + (app.now() - now()), -- not when the transaction began, perhaps before another's that went first
			verb, was ->> 'state', is_now ->> 'state', (one ->> 'generation')::int,
			coalesce(is_now ->> 'assigned_printer', was ->> 'assigned_printer')::uuid,
			CASE WHEN verb IN ('failed', 'requeued', 'start_unknown', 'cancelled') THEN nullif(one -> 'last_error', 'null')
				WHEN verb = 'updated' THEN changes WHEN verb = 'assigned' THEN jsonb_build_object('override', one -> 'override') END);
	RETURN NULL;
END
$$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON app.queue_items
	FOR EACH ROW EXECUTE FUNCTION sec.record_queue_item();

GRANT EXECUTE ON FUNCTION app.queue_policy(), app.queue_waits(text), app.queue_ended(text), app.queue_holds(text) TO soloprint_api;

COMMIT;
