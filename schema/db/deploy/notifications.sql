-- Deploy soloprint:notifications to pg
-- requires: webhooks
-- Rules that tell people what happened, by mail, in a chat, in their inbox; with quiet hours, digests and a brake. What a rule
-- sends is a message: one event, or several that were gathered until it was due.

BEGIN;
SET LOCAL ROLE soloprint_owner;

CREATE TABLE app.notification_rules (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
	enabled boolean NOT NULL DEFAULT true,
	events text[] NOT NULL CHECK (cardinality(events) BETWEEN 1 AND 100),
	filters jsonb NOT NULL DEFAULT '{}' CHECK (app.are_filters(filters)),
	min_severity text NOT NULL DEFAULT 'info' CHECK (min_severity IN ('info', 'warning', 'critical')),
	channel text NOT NULL CHECK (channel IN ('email', 'webhook', 'slack', 'discord', 'teams', 'ntfy', 'in_app')),
	emails text[] CHECK (cardinality(emails) BETWEEN 1 AND 50),
	principal_ids uuid[] CHECK (cardinality(principal_ids) BETWEEN 1 AND 50),
	target_sealed bytea,
	target_host text CHECK (char_length(target_host) <= 255),
	throttle_seconds int NOT NULL DEFAULT 0 CHECK (throttle_seconds BETWEEN 0 AND 86400),
	quiet_hours jsonb CHECK (jsonb_typeof(quiet_hours) = 'object'),
	digest jsonb CHECK (jsonb_typeof(digest) = 'object'),
	capabilities text[] NOT NULL DEFAULT '{}',
	printer_ids uuid[],
	created_by uuid DEFAULT app.principal(),
	created_at timestamptz NOT NULL DEFAULT app.now(),
	updated_at timestamptz NOT NULL DEFAULT app.now(),
	version int NOT NULL DEFAULT 1,
	CONSTRAINT notification_rules_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT notification_rules_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id),
	CONSTRAINT notification_rules_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES app.principals (org_id, id),
	CONSTRAINT notification_rules_recipient_check CHECK (CASE channel WHEN 'email' THEN emails IS NOT NULL WHEN 'in_app' THEN principal_ids IS NOT NULL
		ELSE target_sealed IS NOT NULL AND target_host IS NOT NULL END)
);
CREATE INDEX notification_rules_created ON app.notification_rules (org_id, created_at, id);
CREATE INDEX notification_rules_name ON app.notification_rules (org_id, name, id);
ALTER TABLE app.notification_rules ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.notification_rules
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT (org_id, id, name, enabled, events, filters, min_severity, channel, emails, principal_ids, target_host, throttle_seconds,
		quiet_hours, digest, capabilities, printer_ids, created_by, created_at, updated_at, version),
	INSERT (org_id, id, name, enabled, events, filters, min_severity, channel, emails, principal_ids, target_sealed, target_host,
		throttle_seconds, quiet_hours, digest),
	UPDATE (name, enabled, events, filters, min_severity, channel, emails, principal_ids, target_sealed, target_host, throttle_seconds,
		quiet_hours, digest),
	DELETE ON app.notification_rules TO soloprint_api;

-- DELETE asks the same of a key as UPDATE.
CREATE FUNCTION sec.guard_rule_delete() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF NOT sec.has_rights(OLD.capabilities, OLD.printer_ids) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP24', MESSAGE = 'a key can only change what has no more rights than itself';
	END IF;
	RETURN OLD;
END
$$;
CREATE FUNCTION sec.limit_rules() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF (SELECT count(*) >= 200 FROM app.notification_rules AS r WHERE r.org_id = NEW.org_id) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP74', MESSAGE = 'there are 200 rules already';
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER a_limit BEFORE INSERT ON app.notification_rules
	FOR EACH ROW EXECUTE FUNCTION sec.limit_rules();
CREATE TRIGGER b_guard BEFORE INSERT OR UPDATE ON app.notification_rules
	FOR EACH ROW EXECUTE FUNCTION sec.guard_rights();
CREATE TRIGGER b_guard_delete BEFORE DELETE ON app.notification_rules
	FOR EACH ROW EXECUTE FUNCTION sec.guard_rule_delete();
CREATE TRIGGER bump_version BEFORE UPDATE ON app.notification_rules
	FOR EACH ROW EXECUTE FUNCTION app.bump_version();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON app.notification_rules
	FOR EACH ROW EXECUTE FUNCTION sec.audit('notification_rule', 'integrations.manage');

-- rule_id, webhook_id: what it comes from; webhook_id: a mail about a webhook that was switched off. sequences: its events, at
-- most 50; more: how many others there were. payload: the content of what has no events of the log. endpoint_id: whose
-- queue it stands in.
CREATE TABLE app.notification_messages (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	rule_id uuid,
	webhook_id uuid,
	endpoint_id uuid NOT NULL,
	emails text[],
	status text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'delivered', 'failed')),
	due_at timestamptz DEFAULT app.now(),
	attempts int NOT NULL DEFAULT 0,
	max_attempts int NOT NULL DEFAULT 5,
	sequences bigint[] NOT NULL DEFAULT '{}',
	more int NOT NULL DEFAULT 0,
	test boolean NOT NULL DEFAULT false,
	payload jsonb,
	last_status int,
	last_error text,
	created_at timestamptz NOT NULL DEFAULT app.now(),
	finished_at timestamptz,
	CONSTRAINT notification_messages_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT notification_messages_rule_fkey FOREIGN KEY (org_id, rule_id) REFERENCES app.notification_rules (org_id, id) ON DELETE CASCADE,
	CONSTRAINT notification_messages_webhook_fkey FOREIGN KEY (org_id, webhook_id) REFERENCES app.webhooks (org_id, id),
	CONSTRAINT notification_messages_source_check CHECK ((rule_id IS NULL) <> (webhook_id IS NULL)),
	CONSTRAINT notification_messages_finished_check CHECK ((status = 'queued') = (finished_at IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX notification_messages_rule ON app.notification_messages (org_id, rule_id, created_at, id);
CREATE INDEX notification_messages_open ON app.notification_messages (org_id, rule_id) WHERE status = 'queued';
CREATE INDEX notification_messages_finished ON app.notification_messages (org_id, finished_at) WHERE finished_at IS NOT NULL;
ALTER TABLE app.notification_messages ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.notification_messages
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT ON app.notification_messages TO soloprint_api;
CREATE TRIGGER a_guard BEFORE UPDATE OF status ON app.notification_messages
	FOR EACH ROW WHEN (OLD.status <> NEW.status AND OLD.status <> 'queued') EXECUTE FUNCTION app.guard_delivery_state();

CREATE FUNCTION sec.index_messages() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	o record;
BEGIN
	INSERT INTO sec.delivery_index (delivery_id, org_id, endpoint_id, kind, due_at)
		SELECT n.id, n.org_id, n.endpoint_id, 'message', n.due_at FROM made AS n;
	FOR o IN SELECT n.org_id, array_agg(n.endpoint_id) AS ids, min(n.due_at) AS at FROM made AS n GROUP BY n.org_id ORDER BY n.org_id LOOP
		PERFORM sec.wake_endpoints(o.org_id, o.ids, o.at);
	END LOOP;
	RETURN NULL;
END
$$;
CREATE TRIGGER index AFTER INSERT ON app.notification_messages REFERENCING NEW TABLE AS made
	FOR EACH STATEMENT EXECUTE FUNCTION sec.index_messages();
-- Messages go with their rule, and so must what the couriers know of them.
CREATE FUNCTION sec.forget_rule() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	DELETE FROM sec.delivery_index AS d WHERE d.endpoint_id = OLD.id;
	DELETE FROM sec.endpoint_queue AS q WHERE q.endpoint_id = OLD.id;
	RETURN NULL;
END
$$;
CREATE TRIGGER forget AFTER DELETE ON app.notification_rules
	FOR EACH ROW EXECUTE FUNCTION sec.forget_rule();

-- The inbox.
CREATE TABLE app.notifications (
	org_id uuid NOT NULL DEFAULT app.org(),
	principal_id uuid NOT NULL,
	id uuid NOT NULL DEFAULT app.uuid7(),
	rule_id uuid,
	event_id uuid NOT NULL,
	sequence bigint,
	type text NOT NULL,
	capability text NOT NULL,
	severity text NOT NULL,
	title text NOT NULL,
	data jsonb NOT NULL,
	printer_id uuid,
	read_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT app.now(),
	CONSTRAINT notifications_pkey PRIMARY KEY (org_id, principal_id, id),
	CONSTRAINT notifications_principal_fkey FOREIGN KEY (org_id, principal_id) REFERENCES app.principals (org_id, id),
	CONSTRAINT notifications_rule_fkey FOREIGN KEY (org_id, rule_id) REFERENCES app.notification_rules (org_id, id)
		ON DELETE SET NULL (rule_id)
) WITH (fillfactor = 90);
CREATE INDEX notifications_created ON app.notifications (org_id, principal_id, created_at, id);
CREATE INDEX notifications_unread ON app.notifications (org_id, principal_id, created_at, id) WHERE read_at IS NULL;
CREATE INDEX notifications_age ON app.notifications (org_id, created_at);
CREATE INDEX notifications_rule ON app.notifications (org_id, rule_id) WHERE rule_id IS NOT NULL;
ALTER TABLE app.notifications ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.notifications
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])))
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])));
GRANT SELECT, UPDATE (read_at) ON app.notifications TO soloprint_api;

-- An object after a merge patch, one level deep, over what it has without being told. NULL: it was taken away.
CREATE FUNCTION app.merged_over(defaults jsonb, was jsonb, patch jsonb) RETURNS jsonb
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE WHEN jsonb_typeof(patch) = 'object' THEN defaults || jsonb_strip_nulls(coalesce(was, '{}') || patch) END;

-- A rule as the body makes it: a new one (rule NULL), or that one after a merge patch; no row when there is none. host: of the
-- body's url. Recipients and host belong to a channel: they do not outlive a change to another one.
CREATE FUNCTION app.notification_rule_next(rule uuid, body jsonb, host text) RETURNS TABLE (name text, enabled boolean, events text[],
		filters jsonb, min_severity text, channel text, emails text[], principal_ids uuid[], target_host text, throttle_seconds int,
		quiet_hours jsonb, digest jsonb)
	LANGUAGE plpgsql STABLE
	AS $$
#variable_conflict use_column
DECLARE
	was record;
	same boolean;
	given jsonb;
BEGIN
	SELECT r.name, r.enabled, r.events, r.filters, r.min_severity, r.channel, r.emails, r.principal_ids, r.target_host, r.throttle_seconds,
			r.quiet_hours, r.digest INTO was
		FROM app.notification_rules AS r WHERE r.org_id = app.org() AND r.id = rule;
	IF NOT FOUND AND rule IS NOT NULL THEN
		RETURN;
	END IF;
	channel := coalesce(body ->> 'channel', was.channel);
	same := channel IS NOT DISTINCT FROM was.channel;
	given := CASE WHEN jsonb_typeof(body -> 'recipients') = 'object' THEN body -> 'recipients' ELSE '{}' END;
	name := coalesce(body ->> 'name', was.name);
	enabled := coalesce((body ->> 'enabled')::boolean, was.enabled, true);
	events := CASE WHEN body ? 'events' THEN ARRAY(SELECT e.v FROM jsonb_array_elements_text(body -> 'events') WITH ORDINALITY AS e (v, n)
		ORDER BY e.n) ELSE was.events END;
	filters := CASE WHEN body ? 'filters' THEN coalesce(app.merged_over('{}', was.filters, body -> 'filters'), '{}')
		ELSE coalesce(was.filters, '{}') END;
	min_severity := coalesce(body ->> 'min_severity', was.min_severity, 'info');
	emails := CASE WHEN given ? 'emails' THEN ARRAY(SELECT jsonb_array_elements_text(nullif(given -> 'emails', 'null')))
		WHEN same THEN was.emails END;
	principal_ids := CASE WHEN coalesce(given -> 'principal_ids', 'null') <> 'null' THEN ARRAY(SELECT jsonb_array_elements_text(given -> 'principal_ids')::uuid)
		WHEN same AND rule IS NOT NULL AND NOT given ? 'principal_ids' THEN was.principal_ids
		WHEN channel = 'in_app' THEN ARRAY[app.principal()] END;
	emails := nullif(emails, '{}');
	principal_ids := nullif(principal_ids, '{}');
	target_host := CASE WHEN host IS NOT NULL THEN host WHEN same THEN was.target_host END;
	throttle_seconds := coalesce((body ->> 'throttle_seconds')::int, was.throttle_seconds, 0);
	quiet_hours := CASE WHEN body ? 'quiet_hours' THEN app.merged_over('{"timezone": "UTC", "except_critical": true}', was.quiet_hours,
		body -> 'quiet_hours') ELSE was.quiet_hours END;
	digest := CASE WHEN body ? 'digest' THEN app.merged_over('{"timezone": "UTC"}', was.digest, body -> 'digest') ELSE was.digest END;
	RETURN NEXT;
END
$$;

CREATE FUNCTION app.is_timezone(name text) RETURNS boolean
	LANGUAGE plpgsql STABLE
	AS $$
BEGIN
	PERFORM app.now() AT TIME ZONE name;
	RETURN true;
EXCEPTION WHEN invalid_parameter_value THEN
	RETURN false;
END
$$;

-- What a rule's channel needs, and what has no meaning with it.
CREATE FUNCTION app.notification_rule_faults(rule uuid, body jsonb, host text) RETURNS TABLE (pointer text, code text, message text)
	LANGUAGE plpgsql STABLE
	AS $$
#variable_conflict use_column
DECLARE
	r record;
	to_url boolean;
BEGIN
	SELECT * INTO r FROM app.notification_rule_next(rule, body, host);
	IF NOT FOUND THEN
		RETURN;
	END IF;
	to_url := r.channel NOT IN ('email', 'in_app');
	RETURN QUERY SELECT * FROM app.subscription_faults('/events', CASE WHEN body ? 'events' THEN r.events END,
		CASE WHEN body ? 'filters' THEN r.filters END);
	RETURN QUERY SELECT v.pointer, v.code, v.message FROM (VALUES
			('/url', 'required', 'this channel needs one', to_url AND r.target_host IS NULL),
			('/url', 'not_of_this_channel', 'this channel has none', NOT to_url AND host IS NOT NULL),
			('/recipients/emails', 'required', 'this channel needs one at least', r.channel = 'email' AND r.emails IS NULL),
			('/recipients/emails', 'not_of_this_channel', 'this channel has none', r.channel <> 'email' AND r.emails IS NOT NULL),
			('/recipients/principal_ids', 'required', 'this channel needs one at least', r.channel = 'in_app' AND r.principal_ids IS NULL),
			('/recipients/principal_ids', 'not_of_this_channel', 'this channel has none', r.channel <> 'in_app' AND r.principal_ids IS NOT NULL),
			('/quiet_hours', 'not_of_this_channel', 'an inbox makes no noise', r.channel = 'in_app' AND r.quiet_hours IS NOT NULL),
			('/quiet_hours/start', 'required', 'is required', NOT r.quiet_hours ? 'start'),
			('/quiet_hours/end', 'required', 'is required', NOT r.quiet_hours ? 'end'),
			('/quiet_hours/end', 'same_as_start', 'must be another time than start', r.quiet_hours -> 'start' = r.quiet_hours -> 'end'),
			('/quiet_hours/timezone', 'unknown_timezone', 'it is not a name of the IANA time zone database', NOT app.is_timezone(r.quiet_hours ->> 'timezone')),
			('/throttle_seconds', 'not_of_this_channel', 'an inbox makes no noise', r.channel = 'in_app' AND r.throttle_seconds > 0),
			('/digest', 'not_of_this_channel', 'an inbox is one', r.channel = 'in_app' AND r.digest IS NOT NULL),
			('/digest/every', 'required', 'is required', NOT r.digest ? 'every'),
			('/digest/at', 'required', 'is required', r.digest ->> 'every' IN ('day', 'week') AND NOT r.digest ? 'at'),
			('/digest/at', 'not_of_this_digest', 'belongs to day and week', r.digest ->> 'every' = 'hour' AND r.digest ? 'at'),
			('/digest/weekday', 'required', 'is required', r.digest ->> 'every' = 'week' AND NOT r.digest ? 'weekday'),
			('/digest/weekday', 'not_of_this_digest', 'belongs to week', r.digest ->> 'every' IN ('hour', 'day') AND r.digest ? 'weekday'),
			('/digest/timezone', 'unknown_timezone', 'it is not a name of the IANA time zone database', NOT app.is_timezone(r.digest ->> 'timezone'))
		) AS v (pointer, code, message, wrong) WHERE v.wrong;
	RETURN QUERY SELECT '/recipients/principal_ids/' || (x.n - 1), 'unknown_reference', 'there is no such principal'
		FROM unnest(r.principal_ids) WITH ORDINALITY AS x (id, n) WHERE body ? 'recipients'
			AND NOT EXISTS (SELECT FROM app.principals AS p WHERE p.org_id = app.org() AND p.id = x.id);
END
$$;

-- --- when ---------------------------------------------------------------------------------------

-- The end of the quiet hours that `at` falls into; NULL when it falls into none. {start, end, timezone}: from one midnight to
-- the next, or over it.
CREATE FUNCTION app.quiet_until(quiet jsonb, at timestamptz) RETURNS timestamptz
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	AS $$
DECLARE
	zone CONSTANT text := coalesce(quiet ->> 'timezone', 'UTC');
	here CONSTANT timestamp := at AT TIME ZONE zone;
	first CONSTANT time := quiet ->> 'start';
	last CONSTANT time := quiet ->> 'end';
	day date := here::date;
BEGIN
	IF quiet IS NULL OR first = last THEN
		RETURN NULL;
	ELSIF first < last AND (here::time < first OR here::time >= last) THEN
		RETURN NULL;
	ELSIF first > last AND here::time < first AND here::time >= last THEN
		RETURN NULL;
	ELSIF first > last AND here::time >= first THEN
		day := day + 1;
	END IF;
	RETURN (day + last) AT TIME ZONE zone;
END
$$;

-- The next time after `at` that a digest goes out: {every hour | day | week, at, weekday (1 Monday … 7 Sunday), timezone}.
CREATE FUNCTION app.digest_due(digest jsonb, at timestamptz) RETURNS timestamptz
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	AS $$
DECLARE
	zone CONSTANT text := coalesce(digest ->> 'timezone', 'UTC');
	here CONSTANT timestamp := at AT TIME ZONE zone;
	clock CONSTANT time := coalesce(digest ->> 'at', '00:00');
	day date := here::date;
BEGIN
	IF digest IS NULL THEN
		RETURN at;
	ELSIF digest ->> 'every' = 'hour' THEN
		RETURN date_trunc('hour', at) + '1 hour'::interval;
	ELSIF digest ->> 'every' = 'week' THEN
		day := day + ((digest ->> 'weekday')::int - extract(isodow FROM day)::int + 7) % 7;
	END IF;
	IF day + clock <= here THEN
		day := day + CASE digest ->> 'every' WHEN 'week' THEN 7 ELSE 1 END;
	END IF;
	RETURN (day + clock) AT TIME ZONE zone;
END
$$;

-- When a rule may send what happened now. last: when its last message was due.
CREATE FUNCTION app.rule_due(r app.notification_rules, last timestamptz, critical boolean) RETURNS timestamptz
	LANGUAGE plpgsql STABLE
	AS $$
DECLARE
	due timestamptz := app.now();
BEGIN
	IF critical AND coalesce((r.quiet_hours ->> 'except_critical')::boolean, true) AND r.quiet_hours IS NOT NULL THEN
		RETURN due;
	END IF;
	due := greatest(due, last + make_interval(secs => r.throttle_seconds));
	due := app.digest_due(r.digest, due);
	RETURN coalesce(app.quiet_until(r.quiet_hours, due), due);
END
$$;

-- --- what rules make of events ------------------------------------------------------------------

CREATE FUNCTION app.severity_rank(severity text) RETURNS int
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN array_position('{info,warning,critical}'::text[], severity);

-- Into the inboxes, and to whoever of them looks.
CREATE FUNCTION sec.notify_principals(r app.notification_rules, sequences bigint[]) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	WITH made AS (
		INSERT INTO app.notifications (org_id, principal_id, rule_id, event_id, sequence, type, capability, severity, title, data, printer_id)
			SELECT r.org_id, p.id, r.id, e.id, e.sequence, e.type, e.capability, coalesce(t.severity, 'info'),
					coalesce(app.event_title(t.title, e.data), e.type), e.data, e.printer_id
				FROM app.events AS e LEFT JOIN app.event_types AS t ON t.type = e.type
				CROSS JOIN app.principals AS p
				WHERE e.org_id = r.org_id AND e.sequence = ANY (sequences) AND p.org_id = r.org_id AND p.id = ANY (r.principal_ids)
				ORDER BY e.sequence
			RETURNING *
	)
	INSERT INTO sec.stream_queue (kind, channels, payload)
		SELECT 'event', 'principal.' || m.principal_id || '.' || replace(m.capability, '.', '-'), jsonb_build_object('type', 'notification', 'timestamp', app.rfc3339(m.created_at),
				'organization_id', m.org_id, 'data', jsonb_build_object('notification_id', m.id, 'event_id', m.event_id, 'type', m.type,
				'severity', m.severity, 'title', m.title))::text
			FROM made AS m ORDER BY m.sequence;
END
$$;

-- Into a message: the one that gathers already, or a new one.
CREATE FUNCTION sec.notify_by_message(r app.notification_rules, sequences bigint[], critical boolean) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	most CONSTANT int := 50;
	due CONSTANT timestamptz := app.rule_due(r, (SELECT max(m.due_at) FROM app.notification_messages AS m WHERE m.org_id = r.org_id
		AND m.rule_id = r.id AND NOT m.test), critical);
	open uuid;
BEGIN
	SELECT m.id INTO open FROM app.notification_messages AS m JOIN sec.delivery_index AS d ON d.delivery_id = m.id
		WHERE m.org_id = r.org_id AND m.rule_id = r.id AND m.status = 'queued' AND NOT m.test AND m.attempts = 0 AND d.courier_id IS NULL
		ORDER BY m.created_at LIMIT 1 FOR UPDATE OF d SKIP LOCKED;
	IF open IS NULL THEN
		INSERT INTO app.notification_messages (org_id, rule_id, endpoint_id, due_at, sequences, more)
			VALUES (r.org_id, r.id, r.id, due, sequences[:most], greatest(0, cardinality(sequences) - most));
		RETURN;
	END IF;
	UPDATE app.notification_messages AS m SET due_at = CASE WHEN critical THEN least(m.due_at, due) ELSE m.due_at END,
			sequences = (m.sequences || notify_by_message.sequences)[:most],
			more = m.more + greatest(0, cardinality(m.sequences) + cardinality(notify_by_message.sequences) - most)
		WHERE m.org_id = r.org_id AND m.id = open;
	IF critical THEN
		UPDATE sec.delivery_index AS d SET due_at = least(d.due_at, due) WHERE d.delivery_id = open;
		PERFORM sec.wake_endpoints(r.org_id, ARRAY[r.id], due);
	END IF;
END
$$;

-- What the rules of this organisation make of its events between two sequences.
CREATE FUNCTION sec.notify(org uuid, first bigint, last bigint) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	r app.notification_rules;
	hit bigint[];
	critical boolean;
BEGIN
	FOR r IN SELECT x.* FROM app.notification_rules AS x WHERE x.org_id = org AND x.enabled ORDER BY x.id LOOP
		SELECT array_agg(e.sequence ORDER BY e.sequence), bool_or(t.severity = 'critical') INTO hit, critical
			FROM app.events AS e LEFT JOIN app.event_types AS t ON t.type = e.type
			WHERE e.org_id = org AND e.sequence BETWEEN first AND last
				AND app.event_wanted(r.events, e.type) AND e.capability = ANY (r.capabilities)
				AND app.printer_passes(r.printer_ids, r.filters, e.printer_id)
				AND app.severity_rank(coalesce(t.severity, 'info')) >= app.severity_rank(r.min_severity);
		CONTINUE WHEN hit IS NULL;
		IF r.channel = 'in_app' THEN
			PERFORM sec.notify_principals(r, hit);
		ELSE
			PERFORM sec.notify_by_message(r, hit, coalesce(critical, false));
		END IF;
	END LOOP;
END
$$;

-- A rule's test: an example of the first of its types, now, whatever its hours and filters. NULL: no such rule. The id is the
-- message's, or the notification's of an inbox.
CREATE FUNCTION sec.notification_test(rule uuid, new_id uuid) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	r app.notification_rules;
	t app.event_types;
	one jsonb;
BEGIN
	SELECT * INTO r FROM app.notification_rules AS x WHERE x.org_id = app.org() AND x.id = rule;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	SELECT x.* INTO t FROM app.event_types AS x, unnest(r.events) WITH ORDINALITY AS p (pattern, n)
		WHERE app.event_wanted(ARRAY[p.pattern], x.type) AND x.capability = ANY (r.capabilities) ORDER BY p.n, x.type LIMIT 1;
	IF r.channel = 'in_app' THEN
		INSERT INTO app.notifications (org_id, principal_id, id, rule_id, event_id, type, capability, severity, title, data, printer_id)
			SELECT r.org_id, p.id, CASE WHEN row_number() OVER (ORDER BY p.id) = 1 THEN new_id ELSE app.uuid7() END, r.id, app.uuid7(), t.type,
					t.capability, t.severity, app.event_title(t.title, t.example), t.example,
					(nullif(current_setting('app.printer_ids', true), '')::uuid[])[1]
				FROM app.principals AS p WHERE p.org_id = r.org_id AND p.id = ANY (r.principal_ids);
		RETURN new_id;
	END IF;
	one := jsonb_build_object('id', app.uuid7(), 'type', t.type, 'severity', t.severity, 'title', app.event_title(t.title, t.example),
		'timestamp', app.rfc3339(app.now()), 'sequence', NULL, 'data', t.example);
	INSERT INTO app.notification_messages (org_id, id, rule_id, endpoint_id, test, max_attempts, payload)
		VALUES (r.org_id, new_id, r.id, r.id, true, 1, jsonb_build_object('subject', 'Test: ' || (one ->> 'title'), 'events', jsonb_build_array(one)));
	RETURN new_id;
END
$$;

CREATE VIEW app.notification_message_rows WITH (security_invoker = true) AS
	SELECT m.org_id AS _org_id, m.id, m.rule_id, m.status, m.due_at, m.attempts, m.max_attempts,
		CASE WHEN m.payload IS NULL THEN cardinality(m.sequences) + m.more ELSE 1 END AS events, m.last_status, m.last_error, m.test, m.created_at,
		m.finished_at
	FROM app.notification_messages AS m;
GRANT SELECT ON app.notification_message_rows TO soloprint_api;

CREATE VIEW app.notification_rule_rows WITH (security_invoker = true) AS
	SELECT r.org_id AS _org_id, r.id, r.name, r.enabled, to_jsonb(r.events) AS events, r.filters, r.min_severity, r.channel,
		to_jsonb(r.emails) AS emails, to_jsonb(r.principal_ids) AS principal_ids, r.target_host, r.throttle_seconds, r.quiet_hours, r.digest,
		(SELECT jsonb_build_object('id', m.id, 'status', m.status, 'at', app.rfc3339(coalesce(m.finished_at, m.created_at)), 'error', m.last_error)
			FROM app.notification_messages AS m WHERE m.org_id = r.org_id AND m.rule_id = r.id ORDER BY m.created_at DESC, m.id DESC LIMIT 1) AS last_delivery,
		r.created_by, r.created_at, r.updated_at, r.version, '"' || r.version || '"' AS _etag
	FROM app.notification_rules AS r;
GRANT SELECT ON app.notification_rule_rows TO soloprint_api;

GRANT EXECUTE ON FUNCTION app.merged_over(jsonb, jsonb, jsonb), app.is_timezone(text), app.notification_rule_next(uuid, jsonb, text),
	app.notification_rule_faults(uuid, jsonb, text), sec.notification_test(uuid, uuid) TO soloprint_api;

COMMIT;
