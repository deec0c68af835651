-- Deploy soloprint:webhooks to pg
-- requires: events
-- Webhooks, and what they are sent. A delivery is one event for one webhook; how and when it goes out is told by an index
-- without content, where couriers look: per endpoint, so that a slow one holds up nobody else.

BEGIN;
SET LOCAL ROLE soloprint_owner;

CREATE OR REPLACE FUNCTION sec.row_changes(was jsonb, is_now jsonb) RETURNS jsonb
	LANGUAGE sql IMMUTABLE
	RETURN (
		SELECT coalesce(jsonb_object_agg(k, CASE WHEN was IS NULL THEN is_now -> k WHEN is_now IS NULL THEN was -> k
			ELSE jsonb_build_object('from', was -> k, 'to', is_now -> k) END), '{}')
		FROM jsonb_object_keys(coalesce(is_now, was)) AS k
		WHERE k <> ALL ('{org_id,id,version,created_at,updated_at,last_used_at,last_used_ip,key_hash,secret_sealed,has_secret,features,groups,metadata,thumbnails,analysis,blob_id,settings,stem,file_names,words,trigrams,document,headers_sealed,target_sealed}'::text[])
		AND coalesce(was -> k, 'null') <> coalesce(is_now -> k, 'null')
	) || coalesce((SELECT jsonb_object_agg(s.name, 'changed') FROM (VALUES ('secret_sealed', 'secret'), ('headers_sealed', 'headers'),
			('target_sealed', 'url')) AS s (k, name)
		WHERE was -> s.k IS DISTINCT FROM is_now -> s.k AND coalesce(was -> s.k, is_now -> s.k) IS NOT NULL
		AND NOT (was IS NULL AND is_now -> s.k = 'null')), '{}');

-- Does the key of this request have these rights and no less? Nobody's key has all.
CREATE FUNCTION sec.has_rights(capabilities text[], printer_ids uuid[]) RETURNS boolean
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT app.key() IS NULL OR EXISTS (SELECT FROM app.api_keys AS k WHERE k.org_id = app.org() AND k.id = app.key()
			AND has_rights.capabilities <@ k.capabilities AND (k.printer_ids IS NULL OR has_rights.printer_ids <@ k.printer_ids));
	END;

-- What sends events on has the rights of who made it, or last changed what it sends and where to; and whoever has less than
-- that may not touch it. BEFORE trigger of tables with capabilities and printer_ids.
CREATE FUNCTION sec.guard_rights() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	me app.api_keys;
	was CONSTANT jsonb := CASE WHEN TG_OP = 'UPDATE' THEN to_jsonb(OLD) END;
	is_now CONSTANT jsonb := to_jsonb(NEW);
BEGIN
	IF app.key() IS NULL THEN
		RETURN NEW;
	END IF;
	SELECT * INTO me FROM app.api_keys AS k WHERE k.org_id = NEW.org_id AND k.id = app.key();
	IF NOT FOUND OR (TG_OP = 'UPDATE' AND NOT sec.has_rights(OLD.capabilities, OLD.printer_ids)) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP24', MESSAGE = 'a key can only change what has no more rights than itself';
	ELSIF TG_OP = 'INSERT' OR EXISTS (SELECT FROM unnest('{subscriptions,events,filters,endpoint_url,channel,emails,principal_ids,target_sealed}'::text[]) AS k
			WHERE was -> k IS DISTINCT FROM is_now -> k) THEN
		NEW.capabilities := me.capabilities;
		NEW.printer_ids := me.printer_ids;
	END IF;
	RETURN NEW;
END
$$;

-- Does an event of this printer (NULL: of none) pass? printer_ids: those of who made it, NULL for all; filters: its printer is one of
-- printer_ids or in one of printer_group_ids, when either names any.
CREATE FUNCTION app.printer_passes(printer_ids uuid[], filters jsonb, printer_id uuid) RETURNS boolean
	LANGUAGE sql STABLE
	RETURN (printer_ids IS NULL OR coalesce(printer_id = ANY (printer_ids), false))
		AND (filters = '{}' OR coalesce(jsonb_array_length(filters -> 'printer_ids'), 0) + coalesce(jsonb_array_length(filters -> 'printer_group_ids'), 0) = 0
			OR coalesce(filters -> 'printer_ids' ? printer_id::text, false)
			OR filters ? 'printer_group_ids' AND EXISTS (SELECT FROM app.printer_group_members AS g WHERE g.org_id = app.org()
				AND g.printer_id = printer_passes.printer_id AND filters -> 'printer_group_ids' ? g.group_id::text));

CREATE FUNCTION app.are_filters(filters jsonb) RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN jsonb_typeof(filters) = 'object' AND filters - '{printer_ids,printer_group_ids}'::text[] = '{}'
		AND NOT jsonb_path_exists(filters, 'strict $.* ? (@.type() != "array")');

-- What is wrong with types and filters that somebody wants to subscribe to. place: the member with the types, '/events'. A
-- wildcard needs one type that exists and that the credential may see; "*" is whatever it may see. NULL: not given.
CREATE FUNCTION app.subscription_faults(place text, patterns text[], filters jsonb) RETURNS TABLE (pointer text, code text, message text)
	LANGUAGE plpgsql STABLE
	AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY SELECT place || '/' || (x.n - 1), CASE WHEN x.known THEN 'capability_not_held' ELSE 'unknown_event_type' END,
			CASE WHEN x.known THEN 'needs a capability that this credential does not have' ELSE 'there is no such type of event' END
		FROM (SELECT p.n, EXISTS (SELECT FROM app.event_types AS t WHERE app.event_wanted(ARRAY[p.pattern], t.type)) AS known,
				EXISTS (SELECT FROM app.event_types AS t WHERE app.event_wanted(ARRAY[p.pattern], t.type)
					AND t.capability = ANY (app.my_capabilities())) AS held
			FROM unnest(patterns) WITH ORDINALITY AS p (pattern, n) WHERE p.pattern <> '*') AS x
		WHERE NOT x.held ORDER BY x.known, x.n;
	RETURN QUERY SELECT '/filters/printer_ids/' || (x.n - 1), 'unknown_reference', 'there is no such printer'
		FROM jsonb_array_elements_text(coalesce(nullif(filters -> 'printer_ids', 'null'), '[]')) WITH ORDINALITY AS x (id, n)
		WHERE NOT EXISTS (SELECT FROM app.printers AS p WHERE p.org_id = app.org() AND p.id = x.id::uuid AND p.deleted_at IS NULL);
	RETURN QUERY SELECT '/filters/printer_group_ids/' || (x.n - 1), 'unknown_reference', 'there is no such printer group'
		FROM jsonb_array_elements_text(coalesce(nullif(filters -> 'printer_group_ids', 'null'), '[]')) WITH ORDINALITY AS x (id, n)
		WHERE NOT EXISTS (SELECT FROM app.printer_groups AS g WHERE g.org_id = app.org() AND g.id = x.id::uuid);
END
$$;

CREATE TABLE app.webhooks (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
	endpoint_url text NOT NULL CHECK (char_length(endpoint_url) BETWEEN 1 AND 2048),
	subscriptions text[] NOT NULL CHECK (cardinality(subscriptions) BETWEEN 1 AND 100),
	filters jsonb NOT NULL DEFAULT '{}' CHECK (app.are_filters(filters)),
	max_attempts int NOT NULL DEFAULT 10 CHECK (max_attempts BETWEEN 1 AND 15),
	retry_backoff_seconds int CHECK (retry_backoff_seconds BETWEEN 1 AND 86400),
	signature text NOT NULL DEFAULT 'hmac' CHECK (signature IN ('hmac', 'ed25519')),
	public_key text,
	headers_sealed bytea,
	header_names text[] NOT NULL DEFAULT '{}',
	notification_email text CHECK (char_length(notification_email) <= 254),
	enabled boolean NOT NULL DEFAULT true,
	disabled_reason text CHECK (disabled_reason IN ('gone', 'failing')),
	disabled_at timestamptz,
	capabilities text[] NOT NULL DEFAULT '{}',
	printer_ids uuid[],
	created_by uuid DEFAULT app.principal(),
	created_at timestamptz NOT NULL DEFAULT app.now(),
	updated_at timestamptz NOT NULL DEFAULT app.now(),
	version int NOT NULL DEFAULT 1,
	deleted_at timestamptz,
	CONSTRAINT webhooks_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT webhooks_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id),
	CONSTRAINT webhooks_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES app.principals (org_id, id),
	CONSTRAINT webhooks_key_check CHECK ((signature = 'ed25519') = (public_key IS NOT NULL)),
	CONSTRAINT webhooks_disabled_check CHECK (enabled = (disabled_at IS NULL) AND (disabled_reason IS NULL OR NOT enabled))
);
CREATE INDEX webhooks_created ON app.webhooks (org_id, created_at, id);
CREATE INDEX webhooks_name ON app.webhooks (org_id, name, id);
ALTER TABLE app.webhooks ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.webhooks
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT (org_id, id, name, endpoint_url, subscriptions, filters, max_attempts, retry_backoff_seconds, signature, public_key,
		header_names, notification_email, enabled, disabled_reason, disabled_at, capabilities, printer_ids, created_by, created_at,
		updated_at, version, deleted_at),
	INSERT (org_id, id, name, endpoint_url, subscriptions, filters, max_attempts, retry_backoff_seconds, signature, public_key,
		headers_sealed, header_names, notification_email, enabled),
	UPDATE (name, endpoint_url, subscriptions, filters, max_attempts, retry_backoff_seconds, headers_sealed, header_names,
		notification_email, enabled, deleted_at)
	ON app.webhooks TO soloprint_api;

-- How it goes with a webhook; no configuration. failing_since: of the first of the failures that none was delivered after.
CREATE TABLE app.webhook_status (
	org_id uuid NOT NULL DEFAULT app.org(),
	webhook_id uuid NOT NULL,
	failing_since timestamptz,
	consecutive_failures int NOT NULL DEFAULT 0,
	last_success_at timestamptz,
	last_attempt_at timestamptz,
	last_error text,
	CONSTRAINT webhook_status_pkey PRIMARY KEY (org_id, webhook_id),
	CONSTRAINT webhook_status_webhook_fkey FOREIGN KEY (org_id, webhook_id) REFERENCES app.webhooks (org_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50);
ALTER TABLE app.webhook_status ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.webhook_status
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT ON app.webhook_status TO soloprint_api;

-- Signing secrets, sealed for the courier. expires_at: of one that has a successor.
CREATE TABLE app.webhook_secrets (
	org_id uuid NOT NULL DEFAULT app.org(),
	webhook_id uuid NOT NULL,
	id uuid NOT NULL,
	secret_sealed bytea NOT NULL,
	created_at timestamptz NOT NULL DEFAULT app.now(),
	expires_at timestamptz,
	CONSTRAINT webhook_secrets_pkey PRIMARY KEY (org_id, webhook_id, id),
	CONSTRAINT webhook_secrets_webhook_fkey FOREIGN KEY (org_id, webhook_id) REFERENCES app.webhooks (org_id, id) ON DELETE CASCADE
);
ALTER TABLE app.webhook_secrets ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.webhook_secrets
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT INSERT (org_id, webhook_id, id, secret_sealed) ON app.webhook_secrets TO soloprint_api;

-- event_type, sequence, capability: of the event, which may be forgotten before its deliveries. payload: of tests, whose
-- event is none.
CREATE TABLE app.webhook_deliveries (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	webhook_id uuid NOT NULL,
	event_id uuid NOT NULL,
	event_type text NOT NULL,
	sequence bigint,
	capability text NOT NULL,
	printer_id uuid,
	status text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'delivered', 'failed')),
	attempts int NOT NULL DEFAULT 0,
	max_attempts int NOT NULL,
	next_attempt_at timestamptz DEFAULT app.now(),
	last_status int,
	last_error text,
	replay_of uuid,
	test boolean NOT NULL DEFAULT false,
	payload text,
	created_at timestamptz NOT NULL DEFAULT app.now(),
	finished_at timestamptz,
	CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT webhook_deliveries_webhook_fkey FOREIGN KEY (org_id, webhook_id) REFERENCES app.webhooks (org_id, id),
	CONSTRAINT webhook_deliveries_finished_check CHECK ((status = 'queued') = (finished_at IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX webhook_deliveries_created ON app.webhook_deliveries (org_id, created_at, id);
CREATE INDEX webhook_deliveries_webhook ON app.webhook_deliveries (org_id, webhook_id, created_at, id);
CREATE INDEX webhook_deliveries_status ON app.webhook_deliveries (org_id, status, created_at, id);
CREATE INDEX webhook_deliveries_event ON app.webhook_deliveries (org_id, event_id);
CREATE INDEX webhook_deliveries_queued ON app.webhook_deliveries (org_id, webhook_id) WHERE status = 'queued';
CREATE INDEX webhook_deliveries_finished ON app.webhook_deliveries (org_id, finished_at) WHERE finished_at IS NOT NULL;
ALTER TABLE app.webhook_deliveries ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.webhook_deliveries
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])))
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])));
GRANT SELECT ON app.webhook_deliveries TO soloprint_api;

CREATE FUNCTION app.guard_delivery_state() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'SLP44', MESSAGE = format('a delivery cannot go from %s to %s', OLD.status, NEW.status);
END
$$;
CREATE TRIGGER a_guard BEFORE UPDATE OF status ON app.webhook_deliveries
	FOR EACH ROW WHEN (OLD.status <> NEW.status AND OLD.status <> 'queued') EXECUTE FUNCTION app.guard_delivery_state();

CREATE TABLE app.webhook_attempts (
	org_id uuid NOT NULL DEFAULT app.org(),
	delivery_id uuid NOT NULL,
	attempt int NOT NULL,
	at timestamptz NOT NULL DEFAULT app.now(),
	latency_ms int,
	status int,
	error text,
	response_head text CHECK (char_length(response_head) <= 1024),
	signature_count int NOT NULL DEFAULT 0,
	CONSTRAINT webhook_attempts_pkey PRIMARY KEY (org_id, delivery_id, attempt),
	CONSTRAINT webhook_attempts_delivery_fkey FOREIGN KEY (org_id, delivery_id) REFERENCES app.webhook_deliveries (org_id, id) ON DELETE CASCADE
);
ALTER TABLE app.webhook_attempts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.webhook_attempts
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT ON app.webhook_attempts TO soloprint_api;

-- --- where couriers look ------------------------------------------------------------------------

-- due_at: when somebody has to look at it: its next attempt, or the end of the lease of who is at it.
CREATE TABLE sec.delivery_index (
	delivery_id uuid PRIMARY KEY,
	org_id uuid NOT NULL,
	endpoint_id uuid NOT NULL,
	kind text NOT NULL CHECK (kind IN ('webhook', 'message')),
	due_at timestamptz NOT NULL,
	courier_id uuid,
	fencing bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
CREATE INDEX delivery_index_due ON sec.delivery_index (endpoint_id, due_at);
CREATE INDEX delivery_index_leased ON sec.delivery_index (endpoint_id) WHERE courier_id IS NOT NULL;
-- One row per endpoint that something was ever sent to: a webhook, or a notification rule.
CREATE TABLE sec.endpoint_queue (
	endpoint_id uuid PRIMARY KEY,
	org_id uuid NOT NULL,
	wake_at timestamptz NOT NULL,
	failing boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);
CREATE INDEX endpoint_queue_wake ON sec.endpoint_queue (wake_at) WHERE wake_at <> 'infinity';

-- Rows in the order of their ids: so all who wait for each other do so in one direction.
CREATE FUNCTION sec.wake_endpoints(org uuid, ids uuid[], at timestamptz) RETURNS void
	LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		INSERT INTO sec.endpoint_queue AS q (endpoint_id, org_id, wake_at) SELECT DISTINCT x, wake_endpoints.org, wake_endpoints.at
			FROM unnest(wake_endpoints.ids) AS x ORDER BY x
			ON CONFLICT (endpoint_id) DO UPDATE SET wake_at = excluded.wake_at WHERE q.wake_at > excluded.wake_at;
	END;

CREATE FUNCTION sec.index_deliveries() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	o record;
BEGIN
	INSERT INTO sec.delivery_index (delivery_id, org_id, endpoint_id, kind, due_at)
		SELECT n.id, n.org_id, n.webhook_id, 'webhook', n.next_attempt_at FROM made AS n;
	FOR o IN SELECT n.org_id, array_agg(n.webhook_id) AS ids, min(n.next_attempt_at) AS at FROM made AS n GROUP BY n.org_id ORDER BY n.org_id LOOP
		PERFORM sec.wake_endpoints(o.org_id, o.ids, o.at);
	END LOOP;
	RETURN NULL;
END
$$;
CREATE TRIGGER index AFTER INSERT ON app.webhook_deliveries REFERENCING NEW TABLE AS made
	FOR EACH STATEMENT EXECUTE FUNCTION sec.index_deliveries();

-- --- what becomes of a webhook ------------------------------------------------------------------

CREATE FUNCTION app.settle_webhook() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
BEGIN
	IF NEW.enabled THEN
		NEW.disabled_at := NULL;
		NEW.disabled_reason := NULL;
	ELSIF NEW.disabled_at IS NULL THEN
		NEW.disabled_at := app.now();
	END IF;
	RETURN NEW;
END
$$;
-- No organisation takes all that couriers have under way, however many of its endpoints never answer.
CREATE FUNCTION sec.limit_webhooks() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF (SELECT count(*) >= 200 FROM app.webhooks AS w WHERE w.org_id = NEW.org_id AND w.deleted_at IS NULL) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP73', MESSAGE = 'there are 200 webhooks already';
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER a_limit BEFORE INSERT ON app.webhooks
	FOR EACH ROW EXECUTE FUNCTION sec.limit_webhooks();
CREATE TRIGGER a_settle BEFORE INSERT OR UPDATE OF enabled ON app.webhooks
	FOR EACH ROW EXECUTE FUNCTION app.settle_webhook();
CREATE TRIGGER b_guard BEFORE INSERT OR UPDATE ON app.webhooks
	FOR EACH ROW EXECUTE FUNCTION sec.guard_rights();
CREATE TRIGGER bump_version BEFORE UPDATE ON app.webhooks
	FOR EACH ROW EXECUTE FUNCTION app.bump_version();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON app.webhooks
	FOR EACH ROW EXECUTE FUNCTION sec.audit('webhook', 'integrations.manage');

-- Its state begins with it and begins anew when it is switched on; what waits when it is switched off or deleted is looked
-- at once more, and given up (sec.deliveries_claim).
CREATE FUNCTION sec.follow_webhook() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	INSERT INTO app.webhook_status AS s (org_id, webhook_id) VALUES (NEW.org_id, NEW.id)
		ON CONFLICT ON CONSTRAINT webhook_status_pkey DO UPDATE SET failing_since = NULL, consecutive_failures = 0, last_error = NULL
			WHERE NEW.enabled;
	IF TG_OP = 'UPDATE' THEN
		UPDATE sec.delivery_index AS d SET due_at = now() WHERE d.endpoint_id = NEW.id AND d.courier_id IS NULL
			AND (NOT NEW.enabled OR NEW.deleted_at IS NOT NULL);
		UPDATE sec.endpoint_queue AS q SET wake_at = now(), failing = false WHERE q.endpoint_id = NEW.id;
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER follow AFTER INSERT ON app.webhooks
	FOR EACH ROW EXECUTE FUNCTION sec.follow_webhook();
CREATE TRIGGER follow_update AFTER UPDATE ON app.webhooks
	FOR EACH ROW WHEN ((OLD.enabled, OLD.deleted_at) IS DISTINCT FROM (NEW.enabled, NEW.deleted_at)) EXECUTE FUNCTION sec.follow_webhook();

CREATE VIEW app.webhook_rows WITH (security_invoker = true) AS
	SELECT w.org_id AS _org_id, w.id, w.name, w.endpoint_url, to_jsonb(w.subscriptions) AS subscriptions, w.filters, w.max_attempts,
		w.retry_backoff_seconds, w.signature, w.public_key, to_jsonb(w.header_names) AS header_names, w.notification_email, w.enabled,
		w.disabled_reason, w.disabled_at,
		CASE WHEN NOT w.enabled THEN 'disabled' WHEN s.failing_since IS NOT NULL THEN 'failing' ELSE 'active' END AS status,
		s.failing_since, s.consecutive_failures, s.last_success_at, s.last_attempt_at, s.last_error,
		(SELECT count(*) FROM app.webhook_deliveries AS d WHERE d.org_id = w.org_id AND d.webhook_id = w.id AND d.status = 'queued') AS queued,
		w.created_by, w.created_at, w.updated_at, w.version, '"' || w.version || '"' AS _etag
	FROM app.webhooks AS w JOIN app.webhook_status AS s ON s.org_id = w.org_id AND s.webhook_id = w.id
	WHERE w.deleted_at IS NULL;
GRANT SELECT ON app.webhook_rows TO soloprint_api;

CREATE VIEW app.webhook_delivery_rows WITH (security_invoker = true) AS
	SELECT d.org_id AS _org_id, d.id, d.webhook_id, d.event_id, d.event_type, d.sequence, d.status,
		d.status = 'queued' AND d.attempts > 0 AS retrying, d.attempts, d.max_attempts, d.next_attempt_at, d.last_status, d.last_error,
		d.replay_of, d.test, d.created_at, d.finished_at, d.capability AS _capability, d.printer_id AS _printer_id, d.payload AS _payload
	FROM app.webhook_deliveries AS d;
GRANT SELECT ON app.webhook_delivery_rows TO soloprint_api;

-- --- what clients do ----------------------------------------------------------------------------

-- A webhook for who may change it. No row: there is none; SLP24: it has more rights than this key.
CREATE FUNCTION sec.own_webhook(webhook uuid) RETURNS app.webhooks
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	w app.webhooks;
BEGIN
	SELECT * INTO w FROM app.webhooks AS x WHERE x.org_id = app.org() AND x.id = webhook AND x.deleted_at IS NULL FOR NO KEY UPDATE;
	IF w.id IS NOT NULL AND NOT sec.has_rights(w.capabilities, w.printer_ids) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP24', MESSAGE = 'a key can only change what has no more rights than itself';
	END IF;
	RETURN w;
END
$$;

-- A new secret; the ones there are end after `overlap`. NULL: no such webhook. SLP71: ten are good at the same time.
CREATE FUNCTION sec.webhook_rotate(webhook uuid, secret_id uuid, sealed bytea, public_key text, overlap interval) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	w CONSTANT app.webhooks := sec.own_webhook(webhook);
BEGIN
	IF w.id IS NULL THEN
		RETURN NULL;
	END IF;
	DELETE FROM app.webhook_secrets AS s WHERE s.org_id = w.org_id AND s.webhook_id = w.id AND s.expires_at <= app.now();
	UPDATE app.webhook_secrets AS s SET expires_at = least(s.expires_at, app.now() + overlap) WHERE s.org_id = w.org_id AND s.webhook_id = w.id;
	IF (SELECT count(*) >= 10 FROM app.webhook_secrets AS s WHERE s.org_id = w.org_id AND s.webhook_id = w.id AND s.expires_at > app.now()) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP71', MESSAGE = 'ten secrets are good already';
	END IF;
	INSERT INTO app.webhook_secrets (org_id, webhook_id, id, secret_sealed) VALUES (w.org_id, w.id, secret_id, sealed);
	PERFORM sec.record(w.org_id, 'updated', 'webhook', w.id, '{"secret": "changed"}', 'integrations.manage', w.name);
	IF w.signature = 'ed25519' THEN
		UPDATE app.webhooks AS x SET public_key = webhook_rotate.public_key WHERE x.org_id = w.org_id AND x.id = w.id;
	END IF;
	RETURN secret_id;
END
$$;

-- Sends the example of a type, once. NULL: no such webhook; SLP25: no such type.
CREATE FUNCTION sec.webhook_test(webhook uuid, new_id uuid, type text) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	w CONSTANT app.webhooks := sec.own_webhook(webhook);
	t app.event_types;
	event CONSTANT uuid := app.uuid7();
BEGIN
	SELECT * INTO t FROM app.event_types AS x WHERE x.type = webhook_test.type;
	IF w.id IS NULL THEN
		RETURN NULL;
	ELSIF t.type IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP25', MESSAGE = 'no such type of event';
	END IF;
	INSERT INTO app.webhook_deliveries (org_id, id, webhook_id, event_id, event_type, capability, max_attempts, test, payload,
			printer_id)
		VALUES (w.org_id, new_id, w.id, event, t.type, t.capability, 1, true,
			app.event_payload(event, t.type, app.now(), w.org_id, NULL, t.example),
			(nullif(current_setting('app.printer_ids', true), '')::uuid[])[1]); -- so that who asked for it can look at it
	RETURN new_id;
END
$$;

-- The same event once more, as a delivery of its own. NULL: no such delivery. SLP70: its webhook is switched off or gone;
-- SLP72: the event is no longer kept.
CREATE FUNCTION sec.webhook_replay(delivery uuid, new_id uuid) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	d app.webhook_deliveries;
	w app.webhooks;
BEGIN
	SELECT * INTO d FROM app.webhook_deliveries AS x WHERE x.org_id = app.org() AND x.id = delivery;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	w := sec.own_webhook(d.webhook_id);
	IF w.id IS NULL OR NOT w.enabled AND NOT d.test THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP70', MESSAGE = 'the webhook is switched off or deleted';
	ELSIF d.payload IS NULL AND NOT EXISTS (SELECT FROM app.events AS e WHERE e.org_id = d.org_id AND e.id = d.event_id) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP72', MESSAGE = 'the event is no longer kept';
	END IF;
	INSERT INTO app.webhook_deliveries (org_id, id, webhook_id, event_id, event_type, sequence, capability, printer_id, max_attempts,
			replay_of, test, payload)
		VALUES (d.org_id, new_id, d.webhook_id, d.event_id, d.event_type, d.sequence, d.capability, d.printer_id,
			CASE WHEN d.test THEN 1 ELSE w.max_attempts END, d.id, d.test, d.payload);
	RETURN new_id;
END
$$;

-- Everything that failed since, once more: each event once, none that has been delivered since or waits. NULL: no such
-- webhook. more: there are others, ask again. SLP70: it is switched off.
CREATE FUNCTION sec.webhook_recover(webhook uuid, since timestamptz, OUT id uuid, OUT recovered int, OUT more boolean)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	most CONSTANT int := 10000;
	w CONSTANT app.webhooks := sec.own_webhook(webhook);
BEGIN
	id := w.id;
	IF w.id IS NULL THEN
		RETURN;
	ELSIF NOT w.enabled THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP70', MESSAGE = 'the webhook is switched off';
	END IF;
	INSERT INTO app.webhook_deliveries (org_id, webhook_id, event_id, event_type, sequence, capability, printer_id, max_attempts, replay_of)
		SELECT f.org_id, f.webhook_id, f.event_id, f.event_type, f.sequence, f.capability, f.printer_id, w.max_attempts, f.id
			FROM (SELECT DISTINCT ON (d.event_id) d.* FROM app.webhook_deliveries AS d
				WHERE d.org_id = w.org_id AND d.webhook_id = w.id AND d.status = 'failed' AND NOT d.test AND d.created_at >= since
					AND NOT EXISTS (SELECT FROM app.webhook_deliveries AS o WHERE o.org_id = d.org_id AND o.event_id = d.event_id
						AND o.webhook_id = d.webhook_id AND o.status <> 'failed')
					AND EXISTS (SELECT FROM app.events AS e WHERE e.org_id = d.org_id AND e.id = d.event_id)
				ORDER BY d.event_id, d.created_at DESC) AS f
			ORDER BY f.sequence LIMIT most;
	GET DIAGNOSTICS recovered = ROW_COUNT;
	more := recovered = most;
END
$$;

-- The smallest `after` that misses nothing.
CREATE FUNCTION sec.events_kept_after() RETURNS bigint
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT coalesce((SELECT h.forgotten FROM sec.event_heads AS h WHERE h.org_id = app.org()), 0);
	END;

GRANT EXECUTE ON FUNCTION app.subscription_faults(text, text[], jsonb), app.are_filters(jsonb), app.settle_webhook(),
	sec.webhook_rotate(uuid, uuid, bytea, text, interval), sec.webhook_test(uuid, uuid, text), sec.webhook_replay(uuid, uuid),
	sec.webhook_recover(uuid, timestamptz), sec.events_kept_after() TO soloprint_api;

COMMIT;
