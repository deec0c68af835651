-- Deploy soloprint:publish to pg
-- requires: notifications
-- What couriers do: the one that leads moves events from the outbox into the log and makes deliveries, notifications and
-- messages for streams of them, in one transaction; all of them take what is due and say what became of it.

BEGIN;
SET LOCAL ROLE soloprint_owner;

-- --- publishing ---------------------------------------------------------------------------------

-- printer and item that an event is about.
CREATE FUNCTION app.event_printer(o app.outbox) RETURNS uuid
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE WHEN o.resource_type = 'printer' THEN o.resource_id ELSE (o.data ->> 'printer_id')::uuid END;
CREATE FUNCTION app.event_item(o app.outbox) RETURNS uuid
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE WHEN o.resource_type = 'queue_item' THEN o.resource_id ELSE (o.data ->> 'queue_item_id')::uuid END;

-- One organisation's rows of the outbox, by their order there; and what follows from them.
CREATE FUNCTION sec.publish_org(org uuid, rows bigint[], OUT published int, OUT failure text)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	head bigint;
BEGIN
	INSERT INTO sec.event_heads AS h (org_id) VALUES (org) ON CONFLICT (org_id) DO UPDATE SET last = h.last RETURNING h.last INTO head;
	WITH moved AS (
		DELETE FROM app.outbox AS o WHERE o.org_id = org AND o.sequence = ANY (rows) RETURNING o.*
	)
	INSERT INTO app.events (org_id, sequence, id, type, capability, data, resource_type, resource_id, printer_id, item_id, created_at)
		SELECT m.org_id, head + row_number() OVER (ORDER BY m.sequence), m.id, m.type, m.capability, m.data, m.resource_type, m.resource_id,
			app.event_printer(m), app.event_item(m), m.created_at FROM moved AS m;
	GET DIAGNOSTICS published = ROW_COUNT;
	DELETE FROM sec.outbox_index AS i WHERE i.sequence = ANY (rows);
	UPDATE sec.event_heads AS h SET last = head + published WHERE h.org_id = org;
	INSERT INTO sec.stream_queue (kind, channels, payload)
		SELECT 'event', app.event_channels(e.org_id, e.capability, e.printer_id, e.item_id),
				app.event_payload(e.id, e.type, e.created_at, e.org_id, e.sequence, e.data)
			FROM app.events AS e WHERE e.org_id = org AND e.sequence > head ORDER BY e.sequence;
	-- Who wants which of the types there are, then each of their events.
	WITH kinds AS (
		SELECT DISTINCT e.type, e.capability FROM app.events AS e WHERE e.org_id = org AND e.sequence > head
	), wanted AS MATERIALIZED (
		SELECT w.id, w.max_attempts, w.printer_ids, w.filters, k.type FROM app.webhooks AS w CROSS JOIN kinds AS k
			WHERE w.org_id = org AND w.enabled AND w.deleted_at IS NULL AND app.event_wanted(w.subscriptions, k.type)
				AND k.capability = ANY (w.capabilities)
	)
	INSERT INTO app.webhook_deliveries (org_id, webhook_id, event_id, event_type, sequence, capability, printer_id, max_attempts)
		SELECT e.org_id, w.id, e.id, e.type, e.sequence, e.capability, e.printer_id, w.max_attempts
			FROM app.events AS e JOIN wanted AS w ON w.type = e.type
			WHERE e.org_id = org AND e.sequence > head AND app.printer_passes(w.printer_ids, w.filters, e.printer_id)
			ORDER BY e.sequence, w.id;
	BEGIN
		PERFORM sec.notify(org, head + 1, head + published);
	EXCEPTION WHEN OTHERS THEN
		failure := SQLSTATE; -- nobody else's events wait for a rule that cannot be followed
	END;
END
$$;

-- Publishes up to `most` rows. leads: this courier is the one that does; it stays so while it asks again before the lease
-- ends. failure: an SQLSTATE, when an organisation's rules could not be followed.
CREATE FUNCTION sec.publish(courier uuid, lease interval, most int, OUT leads boolean, OUT published int, OUT failure text)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	p sec.publisher;
	o record;
	done record;
BEGIN
	published := 0;
	SELECT * INTO p FROM sec.publisher;
	leads := p.courier_id = courier AND p.expires_at > now();
	IF leads IS NOT TRUE AND p.expires_at > now() THEN
		leads := false;
		RETURN;
	END IF;
	IF leads AND p.expires_at > now() + lease / 2 AND NOT EXISTS (SELECT FROM sec.outbox_index)
			AND NOT EXISTS (SELECT FROM sec.key_index AS i WHERE i.expires_at > p.keys_looked_at AND i.expires_at <= app.now()) THEN
		RETURN; -- nothing was written, so nothing need be
	END IF;
	UPDATE sec.publisher AS x SET courier_id = courier, expires_at = now() + lease
		WHERE x.courier_id = courier OR x.courier_id IS NULL OR x.expires_at <= now();
	leads := FOUND;
	IF NOT leads THEN
		RETURN;
	END IF;
	PERFORM sec.end_expired_keys();
	FOR o IN SELECT i.org_id, array_agg(i.sequence ORDER BY i.sequence) AS rows
			FROM (SELECT * FROM sec.outbox_index AS x ORDER BY x.sequence LIMIT most) AS i GROUP BY i.org_id ORDER BY i.org_id LOOP
		PERFORM set_config('app.org_id', o.org_id::text, true);
		SELECT * INTO done FROM sec.publish_org(o.org_id, o.rows);
		published := published + done.published;
		failure := coalesce(done.failure, failure);
	END LOOP;
	PERFORM set_config('app.org_id', '', true);
END
$$;

-- Who leaves leads no longer.
CREATE OR REPLACE FUNCTION sec.courier_leave(courier uuid) RETURNS void
	LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		UPDATE sec.publisher AS p SET courier_id = NULL, expires_at = '-infinity' WHERE p.courier_id = courier_leave.courier;
		DELETE FROM sec.couriers AS c WHERE c.id = courier_leave.courier;
	END;

-- Streams of keys whose time is over.
CREATE FUNCTION sec.end_expired_keys() RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	since timestamptz;
BEGIN
	SELECT p.keys_looked_at INTO since FROM sec.publisher AS p;
	INSERT INTO sec.stream_queue (kind, channels)
		SELECT 'end', 'key.' || i.key_id FROM sec.key_index AS i WHERE i.expires_at > since AND i.expires_at <= app.now() ORDER BY i.key_id;
	UPDATE sec.publisher SET keys_looked_at = app.now() WHERE keys_looked_at < app.now() - '1 s'::interval OR FOUND;
END
$$;

-- --- streams ------------------------------------------------------------------------------------

-- Messages that came late to nginx: whoever resumes from a time after `done_at` has not missed them; who resumes from before
-- is given everything from `reaches_to` on.
CREATE TABLE sec.stream_lateness (
	done_at timestamptz NOT NULL,
	reaches_to timestamptz NOT NULL
);
CREATE INDEX stream_lateness_done ON sec.stream_lateness (done_at);

-- What nginx has to be told next, for the courier that leads; messages of ten minutes ago are for readers of the log.
CREATE FUNCTION sec.stream_work(courier uuid, most int) RETURNS TABLE (n bigint, kind text, channels text, payload text)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM sec.publisher AS p WHERE p.courier_id = courier AND p.expires_at > now()) THEN
		RETURN;
	END IF;
	RETURN QUERY SELECT q.n, q.kind, q.channels, q.payload FROM sec.stream_queue AS q
		WHERE q.kind = 'end' OR q.at > app.now() - '10 min'::interval ORDER BY q.n LIMIT most;
END
$$;

CREATE FUNCTION sec.stream_done(courier uuid, ns bigint[]) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	first timestamptz;
BEGIN
	IF NOT EXISTS (SELECT FROM sec.publisher AS p WHERE p.courier_id = courier) THEN
		RETURN; -- whoever leads now tells it once more
	END IF;
	WITH gone AS (
		DELETE FROM sec.stream_queue AS q WHERE q.n = ANY (ns) OR q.kind = 'event' AND q.at <= app.now() - '10 min'::interval RETURNING q.kind, q.at
	)
	SELECT min(g.at) INTO first FROM gone AS g WHERE g.kind = 'event';
	IF first < app.now() - '1 s'::interval THEN
		INSERT INTO sec.stream_lateness (done_at, reaches_to) VALUES (app.now(), first);
		DELETE FROM sec.stream_lateness AS l WHERE l.done_at < app.now() - '1 hour'::interval;
	END IF;
END
$$;

-- What a stream begins with. At most one of printer and item; SLP10: there is none for this key. channels: of its own
-- capabilities, or of its printers, and those that end it. missed: payloads behind `after`, and of what was published since `since`, oldest
-- first; before them those of the two seconds before `after`, whose order a stream may have changed: a hundred at most, and 64 KiB,
-- so that there is always room for what is new. gap: there were more than `most` of them, or older ones are no longer kept.
CREATE FUNCTION sec.stream_open(printer uuid, item uuid, since timestamptz, after bigint, most int, OUT channels text, OUT sequence bigint,
		OUT snapshot jsonb, OUT missed text[], OUT gap boolean, OUT principal uuid, OUT key uuid)
	LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	org CONSTANT uuid := app.org();
	me app.api_keys;
	bound uuid[];
	lists text[];
	from_time timestamptz := since;
	again text[] := '{}';
	reads boolean;
BEGIN
	key := app.key();
	principal := app.principal();
	SELECT * INTO me FROM app.api_keys AS k WHERE k.org_id = org AND k.id = key;
	reads := 'operations.read' = ANY (me.capabilities);
	IF printer IS NOT NULL AND NOT (reads AND EXISTS (SELECT FROM app.printers AS p WHERE p.org_id = org AND p.id = printer
			AND p.deleted_at IS NULL)) OR item IS NOT NULL AND NOT (reads AND EXISTS (SELECT FROM app.queue_items AS i
			WHERE i.org_id = org AND i.id = item AND (me.printer_ids IS NULL OR i.assigned_printer = ANY (me.printer_ids)))) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP10', MESSAGE = 'no such printer or item';
	END IF;
	IF printer IS NOT NULL THEN
		lists := ARRAY['printer.' || printer];
	ELSIF item IS NOT NULL THEN
		lists := ARRAY['item.' || item];
	ELSIF me.printer_ids IS NOT NULL THEN
		bound := ARRAY(SELECT p.id FROM app.printers AS p WHERE p.org_id = org AND p.deleted_at IS NULL ORDER BY p.id LIMIT 200);
		lists := CASE WHEN reads THEN ARRAY(SELECT 'printer.' || x FROM unnest(bound) AS x) ELSE '{}' END;
	ELSE
		lists := ARRAY(SELECT org || '.' || replace(c, '.', '-') FROM unnest(me.capabilities) AS c ORDER BY c)
			|| ARRAY(SELECT 'principal.' || principal || '.' || replace(c, '.', '-') FROM unnest(me.capabilities) AS c ORDER BY c);
	END IF;
	channels := array_to_string(lists || ARRAY['key.' || key, 'org.' || org], ',');
	sequence := coalesce((SELECT h.last FROM sec.event_heads AS h WHERE h.org_id = org), 0);
	snapshot := jsonb_build_object('printers', sec.stream_printers(reads AND item IS NULL, printer), 'queue_item', CASE WHEN item IS NOT NULL THEN
		(SELECT jsonb_build_object('queue_item_id', i.id, 'name', i.name, 'state', i.state, 'printer_id', i.assigned_printer, 'generation', i.generation)
			FROM app.queue_items AS i WHERE i.org_id = org AND i.id = item) END);
	IF from_time IS NOT NULL THEN
		from_time := least(from_time, (SELECT min(q.at) FROM sec.stream_queue AS q WHERE q.kind = 'event'),
			(SELECT min(l.reaches_to) FROM sec.stream_lateness AS l WHERE l.done_at >= since));
	END IF;
	gap := after < coalesce((SELECT h.forgotten FROM sec.event_heads AS h WHERE h.org_id = org), 0)
		OR from_time < app.now() - app.event_age();
	IF after IS NOT NULL OR from_time IS NOT NULL THEN
		again := ARRAY(SELECT x.payload FROM (SELECT y.payload, y.sequence, sum(octet_length(y.payload)) OVER (ORDER BY y.sequence DESC) AS bytes
				FROM (SELECT e.sequence, app.event_payload(e.id, e.type, e.created_at, e.org_id, e.sequence, e.data) AS payload FROM app.events AS e
					WHERE e.org_id = org AND e.sequence <= after AND e.sequence > after - 100 AND e.published_at >= (SELECT z.published_at
							FROM app.events AS z WHERE z.org_id = org AND z.sequence = after) - '2 s'::interval
						AND e.capability = ANY (me.capabilities) AND (printer IS NULL OR e.printer_id = printer)
						AND (item IS NULL OR e.item_id = item)) AS y) AS x
			WHERE x.bytes <= 65536 ORDER BY x.sequence);
		missed := ARRAY(SELECT app.event_payload(e.id, e.type, e.created_at, e.org_id, e.sequence, e.data) FROM app.events AS e
			WHERE e.org_id = org AND (after IS NULL OR e.sequence > after) AND (from_time IS NULL OR e.published_at >= from_time)
				AND e.capability = ANY (me.capabilities) AND (printer IS NULL OR e.printer_id = printer) AND (item IS NULL OR e.item_id = item)
			ORDER BY e.sequence LIMIT most + 1);
		gap := coalesce(gap, false) OR cardinality(missed) > most;
		missed := again || missed[:most];
	END IF;
	gap := coalesce(gap, false);
END
$$;

-- The printers as a stream shows them first, at most a thousand.
CREATE FUNCTION sec.stream_printers(wanted boolean, printer uuid) RETURNS jsonb
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT coalesce(jsonb_agg(jsonb_build_object('printer_id', x.id, 'name', x.name, 'state', x.state, 'connection', x.connection,
				'job', x.job, 'temperatures', x.temperatures, 'last_seen_at', app.rfc3339(x.last_seen_at)) ORDER BY x.name, x.id), '[]')
			FROM (SELECT p.id, p.name, s.state, s.connection ->> 'state' AS connection, s.job, s.temperatures, s.last_seen_at
				FROM app.printers AS p JOIN app.printer_status AS s ON s.org_id = p.org_id AND s.printer_id = p.id
				WHERE wanted AND p.org_id = app.org() AND p.deleted_at IS NULL AND (stream_printers.printer IS NULL OR p.id = stream_printers.printer)
				ORDER BY p.name, p.id LIMIT 1000) AS x;
	END;

-- A signed URL stands for its key: the same refusals and settings as sec.begin_request.
CREATE FUNCTION sec.stream_enter(org uuid, key uuid, remote_addr inet, request_id text) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	hash bytea;
BEGIN
	SELECT i.key_hash INTO hash FROM sec.key_index AS i WHERE i.org_id = stream_enter.org AND i.key_id = stream_enter.key;
	PERFORM sec.begin_request(hash, 'any', 'stream', remote_addr, request_id);
END
$$;

-- --- deliveries ---------------------------------------------------------------------------------

-- How long to wait after `attempt` (1 …) has failed: the endpoint's own way, doubled each time, or the standard one of
-- Standard Webhooks; a fifth more or less; at most a day; at least what the receiver asked for.
CREATE FUNCTION app.retry_wait(backoff_s int, attempt int, retry_after_s int) RETURNS interval
	LANGUAGE sql VOLATILE PARALLEL SAFE
	RETURN make_interval(secs => greatest(least(86400, CASE WHEN backoff_s IS NULL
			THEN ('{5,300,1800,7200,18000,36000,50400,72000,86400}'::int[])[least(attempt, 9)]
			ELSE backoff_s * power(2, least(attempt, 20) - 1) END) * (0.8 + 0.4 * random()), least(coalesce(retry_after_s, 0), 86400)));

-- What was waiting for a webhook that is off or gone; tests go on while it is only off.
CREATE FUNCTION sec.give_up_deliveries(org uuid, webhook uuid, gone boolean) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	ids uuid[];
BEGIN
	ids := ARRAY(SELECT i.delivery_id FROM sec.delivery_index AS i JOIN app.webhook_deliveries AS d ON d.org_id = i.org_id AND d.id = i.delivery_id
		WHERE i.endpoint_id = webhook AND i.courier_id IS NULL AND (gone OR NOT d.test) ORDER BY i.delivery_id LIMIT 1000 FOR UPDATE OF i SKIP LOCKED);
	UPDATE app.webhook_deliveries AS d SET status = 'failed', finished_at = app.now(), next_attempt_at = NULL,
			last_error = CASE WHEN gone THEN 'webhook_deleted' ELSE 'webhook_disabled' END
		WHERE d.org_id = org AND d.id = ANY (ids);
	DELETE FROM sec.delivery_index AS i WHERE i.delivery_id = ANY (ids);
END
$$;

-- When somebody has to look at an endpoint again: when its next delivery is due; when it has all it may have under way, when
-- the first of those must have ended.
CREATE FUNCTION sec.endpoint_wake(endpoint uuid, cap int) RETURNS timestamptz
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT coalesce(CASE WHEN (SELECT count(*) FROM sec.delivery_index AS i WHERE i.endpoint_id = endpoint AND i.courier_id IS NOT NULL
					AND i.due_at > now()) >= cap
			THEN (SELECT min(i.due_at) FROM sec.delivery_index AS i WHERE i.endpoint_id = endpoint AND i.courier_id IS NOT NULL)
			ELSE (SELECT min(i.due_at) FROM sec.delivery_index AS i WHERE i.endpoint_id = endpoint) END, 'infinity');
	END;

-- What a courier is to send, of all endpoints that have something due, whose turn it has been longest first. A lease that ran
-- out counts as due. Nothing twice at the same time: the fencing token says whose result counts.
CREATE FUNCTION sec.deliveries_claim(courier uuid, lease interval, most int)
	RETURNS TABLE (kind text, id uuid, org_id uuid, endpoint_id uuid, fencing bigint, attempt int, max_attempts int, channel text, url text,
		body text, event_id uuid, signature text, secrets jsonb, headers_sealed bytea, target_sealed bytea, recipients text[], content jsonb)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	e sec.endpoint_queue;
	room int := most;
	cap int;
	ids uuid[];
	w app.webhooks;
BEGIN
	FOR e IN SELECT * FROM sec.endpoint_queue AS q WHERE q.wake_at <= now() ORDER BY q.wake_at LIMIT greatest(most, 1) FOR UPDATE SKIP LOCKED LOOP
		EXIT WHEN room <= 0;
		PERFORM set_config('app.org_id', e.org_id::text, true);
		cap := CASE WHEN e.failing THEN 2 ELSE 10 END;
		SELECT * INTO w FROM app.webhooks AS x WHERE x.org_id = e.org_id AND x.id = e.endpoint_id;
		IF w.id IS NOT NULL AND (NOT w.enabled OR w.deleted_at IS NOT NULL) THEN
			PERFORM sec.give_up_deliveries(e.org_id, e.endpoint_id, w.deleted_at IS NOT NULL);
		END IF;
		ids := ARRAY(SELECT i.delivery_id FROM sec.delivery_index AS i WHERE i.endpoint_id = e.endpoint_id AND i.due_at <= now()
			ORDER BY i.due_at LIMIT least(room, cap - (SELECT count(*) FROM sec.delivery_index AS y WHERE y.endpoint_id = e.endpoint_id
				AND y.courier_id IS NOT NULL AND y.due_at > now())) FOR UPDATE SKIP LOCKED);
		UPDATE sec.delivery_index AS i SET courier_id = courier, fencing = i.fencing + 1, due_at = now() + lease WHERE i.delivery_id = ANY (ids);
		room := room - cardinality(ids);
		UPDATE sec.endpoint_queue AS q SET wake_at = sec.endpoint_wake(e.endpoint_id, cap) WHERE q.endpoint_id = e.endpoint_id;
		CONTINUE WHEN ids = '{}';
		RETURN QUERY SELECT 'webhook', d.id, d.org_id, d.webhook_id, i.fencing, d.attempts + 1, d.max_attempts, 'webhook', w.endpoint_url,
				coalesce(d.payload, app.event_payload(x.id, x.type, x.created_at, x.org_id, x.sequence, x.data)), d.event_id, w.signature,
				coalesce((SELECT jsonb_agg(jsonb_build_object('id', s.id, 'sealed', translate(encode(s.secret_sealed, 'base64'), E'\n', ''))
						ORDER BY s.created_at DESC, s.id DESC) FROM app.webhook_secrets AS s WHERE s.org_id = d.org_id AND s.webhook_id = d.webhook_id
						AND (s.expires_at > app.now()) IS NOT FALSE), '[]'),
				w.headers_sealed, NULL::bytea, NULL::text[], NULL::jsonb
			FROM app.webhook_deliveries AS d JOIN sec.delivery_index AS i ON i.delivery_id = d.id
				LEFT JOIN app.events AS x ON x.org_id = d.org_id AND x.id = d.event_id
			WHERE d.org_id = e.org_id AND d.id = ANY (ids) ORDER BY d.sequence, d.id;
		RETURN QUERY SELECT 'message', m.id, m.org_id, m.endpoint_id, i.fencing, m.attempts + 1, m.max_attempts,
				coalesce(r.channel, 'email'), NULL::text, NULL::text, NULL::uuid, NULL::text, NULL::jsonb, NULL::bytea, r.target_sealed,
				coalesce(m.emails, r.emails), sec.message_content(m, r.name)
			FROM app.notification_messages AS m JOIN sec.delivery_index AS i ON i.delivery_id = m.id
				LEFT JOIN app.notification_rules AS r ON r.org_id = m.org_id AND r.id = m.rule_id
			WHERE m.org_id = e.org_id AND m.id = ANY (ids) ORDER BY m.created_at, m.id;
	END LOOP;
	PERFORM set_config('app.org_id', '', true);
END
$$;

-- What a message says: {rule, organization, subject, events, more}.
CREATE FUNCTION sec.message_content(m app.notification_messages, rule text) RETURNS jsonb
	LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	said CONSTANT jsonb := jsonb_build_object('rule', rule, 'more', m.more,
		'organization', (SELECT o.name FROM app.organizations AS o WHERE o.org_id = m.org_id));
	events jsonb;
	n int;
BEGIN
	IF m.payload IS NOT NULL THEN
		RETURN said || m.payload;
	END IF;
	events := coalesce((SELECT jsonb_agg(jsonb_build_object('id', e.id, 'type', e.type, 'severity', coalesce(t.severity, 'info'),
			'title', coalesce(app.event_title(t.title, e.data), e.type), 'timestamp', app.rfc3339(e.created_at), 'sequence', e.sequence,
			'data', e.data) ORDER BY e.sequence)
		FROM app.events AS e LEFT JOIN app.event_types AS t ON t.type = e.type WHERE e.org_id = m.org_id AND e.sequence = ANY (m.sequences)), '[]');
	n := jsonb_array_length(events) + m.more;
	RETURN said || jsonb_build_object('events', events, 'subject', CASE WHEN n = 1 THEN events -> 0 ->> 'title'
		ELSE format('%s: %s events', rule, n) END);
END
$$;

-- --- what became of it --------------------------------------------------------------------------

-- A mail about a webhook that was switched off, to whom it names.
CREATE FUNCTION sec.mail_disabled(w app.webhooks, reason text, failing_since timestamptz) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	said CONSTANT jsonb := jsonb_build_object('webhook_id', w.id, 'name', w.name, 'reason', reason, 'failing_since', app.rfc3339(failing_since));
	title CONSTANT text := (SELECT app.event_title(t.title, said) FROM app.event_types AS t WHERE t.type = 'webhook.disabled');
BEGIN
	PERFORM sec.tell(w.org_id, 'webhook.disabled', 'integrations.manage', 'webhook', w.id, said);
	IF w.notification_email IS NOT NULL THEN
		INSERT INTO app.notification_messages (org_id, webhook_id, endpoint_id, emails, payload)
			VALUES (w.org_id, w.id, w.org_id, ARRAY[w.notification_email], jsonb_build_object('subject', title, 'events',
				jsonb_build_array(jsonb_build_object('id', app.uuid7(), 'type', 'webhook.disabled', 'severity', 'critical', 'title', title,
					'timestamp', app.rfc3339(app.now()), 'sequence', NULL, 'data', said))));
	END IF;
END
$$;

-- How an attempt went with the endpoint as a whole: five days of nothing but failures, or 410, and it is switched off.
CREATE FUNCTION sec.note_webhook(w app.webhooks, went_well boolean, gone boolean, error text) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	s app.webhook_status;
	reason text;
BEGIN
	IF went_well THEN
		UPDATE app.webhook_status AS x SET failing_since = NULL, consecutive_failures = 0, last_error = NULL, last_success_at = app.now(),
				last_attempt_at = app.now()
			WHERE x.org_id = w.org_id AND x.webhook_id = w.id
				AND (x.consecutive_failures > 0 OR (x.last_success_at > app.now() - '1 s'::interval) IS NOT TRUE);
		UPDATE sec.endpoint_queue AS q SET failing = false WHERE q.endpoint_id = w.id AND q.failing;
		RETURN;
	END IF;
	UPDATE app.webhook_status AS x SET failing_since = coalesce(x.failing_since, app.now()), consecutive_failures = x.consecutive_failures + 1,
			last_error = error, last_attempt_at = app.now()
		WHERE x.org_id = w.org_id AND x.webhook_id = w.id RETURNING x.* INTO s;
	UPDATE sec.endpoint_queue AS q SET failing = true WHERE q.endpoint_id = w.id AND NOT q.failing;
	reason := CASE WHEN gone THEN 'gone' WHEN s.failing_since <= app.now() - '5 days'::interval THEN 'failing' END;
	IF reason IS NOT NULL AND w.enabled AND w.deleted_at IS NULL THEN
		UPDATE app.webhooks AS x SET enabled = false, disabled_reason = reason WHERE x.org_id = w.org_id AND x.id = w.id AND x.enabled;
		IF FOUND THEN
			PERFORM sec.mail_disabled(w, reason, s.failing_since);
		END IF;
	END IF;
END
$$;

-- One webhook's attempt; how long until the next one, NULL when there is none.
CREATE FUNCTION sec.finish_delivery(i sec.delivery_index, r jsonb) RETURNS interval
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	d app.webhook_deliveries;
	w app.webhooks;
	code CONSTANT int := (r ->> 'status')::int;
	went_well CONSTANT boolean := r ->> 'error' IS NULL AND code BETWEEN 200 AND 299;
	error CONSTANT text := CASE WHEN NOT went_well THEN coalesce(r ->> 'error', 'http_' || code, 'failed') END;
	over boolean;
	wait interval;
BEGIN
	SELECT * INTO d FROM app.webhook_deliveries AS x WHERE x.org_id = i.org_id AND x.id = i.delivery_id;
	SELECT * INTO w FROM app.webhooks AS x WHERE x.org_id = i.org_id AND x.id = d.webhook_id;
	over := went_well OR coalesce((r ->> 'permanent')::boolean, false) OR coalesce(code = 410, false) OR d.attempts + 1 >= d.max_attempts;
	IF NOT over THEN
		wait := app.retry_wait(w.retry_backoff_seconds, d.attempts + 1, (r ->> 'retry_after_s')::int);
	END IF;
	INSERT INTO app.webhook_attempts (delivery_id, attempt, at, latency_ms, status, error, response_head, signature_count)
		VALUES (d.id, d.attempts + 1, app.now() - make_interval(secs => coalesce((r ->> 'latency_ms')::numeric, 0) / 1000), (r ->> 'latency_ms')::int,
			code, error, left(r ->> 'response_head', 1024), coalesce((r ->> 'signatures')::int, 0));
	UPDATE app.webhook_deliveries AS x SET attempts = x.attempts + 1, last_status = code, last_error = error,
			status = CASE WHEN went_well THEN 'delivered' WHEN over THEN 'failed' ELSE 'queued' END,
			finished_at = CASE WHEN over THEN app.now() END, next_attempt_at = app.now() + wait
		WHERE x.org_id = d.org_id AND x.id = d.id;
	IF NOT d.test THEN
		PERFORM sec.note_webhook(w, went_well, coalesce(code = 410, false), error);
	END IF;
	RETURN wait;
END
$$;

CREATE FUNCTION sec.finish_message(i sec.delivery_index, r jsonb) RETURNS interval
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	m app.notification_messages;
	code CONSTANT int := (r ->> 'status')::int;
	went_well CONSTANT boolean := r ->> 'error' IS NULL AND (code IS NULL OR code BETWEEN 200 AND 299);
	error CONSTANT text := CASE WHEN NOT went_well THEN coalesce(r ->> 'error', 'http_' || code, 'failed') END;
	over boolean;
	wait interval;
BEGIN
	SELECT * INTO m FROM app.notification_messages AS x WHERE x.org_id = i.org_id AND x.id = i.delivery_id;
	over := went_well OR coalesce((r ->> 'permanent')::boolean, false) OR coalesce(code = 410, false) OR m.attempts + 1 >= m.max_attempts;
	IF NOT over THEN
		wait := app.retry_wait(30, m.attempts + 1, (r ->> 'retry_after_s')::int);
	END IF;
	UPDATE app.notification_messages AS x SET attempts = x.attempts + 1, last_status = code, last_error = error,
			status = CASE WHEN went_well THEN 'delivered' WHEN over THEN 'failed' ELSE 'queued' END,
			finished_at = CASE WHEN over THEN app.now() END, due_at = CASE WHEN over THEN x.due_at ELSE app.now() + wait END
		WHERE x.org_id = m.org_id AND x.id = m.id;
	UPDATE sec.endpoint_queue AS q SET failing = NOT went_well WHERE q.endpoint_id = i.endpoint_id AND q.failing = went_well;
	RETURN wait;
END
$$;

-- Results of attempts: [{kind, id, org_id, fencing, status, error, latency_ms, response_head, retry_after_s, permanent,
-- signatures}]; those of lost leases are passed over. Returns how many counted. Locks go in the order of organisation and
-- endpoint, as those of the publisher do.
CREATE FUNCTION sec.deliveries_finish(courier uuid, results jsonb) RETURNS int
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	r record;
	i sec.delivery_index;
	wait interval;
	n int := 0;
BEGIN
	PERFORM FROM sec.endpoint_queue AS q WHERE q.endpoint_id IN (SELECT x.endpoint_id FROM jsonb_array_elements(results) AS v
			JOIN sec.delivery_index AS x ON x.delivery_id = (v ->> 'id')::uuid)
		ORDER BY q.org_id, q.endpoint_id FOR UPDATE;
	FOR r IN SELECT x.*, v FROM jsonb_array_elements(results) AS v JOIN sec.delivery_index AS x ON x.delivery_id = (v ->> 'id')::uuid
			WHERE x.courier_id = courier AND x.fencing = (v ->> 'fencing')::bigint ORDER BY x.org_id, x.endpoint_id, x.delivery_id LOOP
		SELECT * INTO i FROM sec.delivery_index AS x WHERE x.delivery_id = r.delivery_id AND x.courier_id = courier
			AND x.fencing = (r.v ->> 'fencing')::bigint FOR UPDATE;
		CONTINUE WHEN NOT FOUND;
		PERFORM set_config('app.org_id', i.org_id::text, true);
		wait := CASE i.kind WHEN 'webhook' THEN sec.finish_delivery(i, r.v) ELSE sec.finish_message(i, r.v) END;
		IF wait IS NULL THEN
			DELETE FROM sec.delivery_index AS x WHERE x.delivery_id = i.delivery_id;
		ELSE
			UPDATE sec.delivery_index AS x SET courier_id = NULL, due_at = now() + wait WHERE x.delivery_id = i.delivery_id;
		END IF;
		UPDATE sec.endpoint_queue AS q SET wake_at = sec.endpoint_wake(q.endpoint_id, CASE WHEN q.failing THEN 2 ELSE 10 END)
			WHERE q.endpoint_id = i.endpoint_id;
		n := n + 1;
	END LOOP;
	PERFORM set_config('app.org_id', '', true);
	RETURN n;
END
$$;

-- Gives back what was claimed and not begun.
CREATE FUNCTION sec.deliveries_release(courier uuid, ids uuid[]) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM FROM sec.endpoint_queue AS q WHERE q.endpoint_id IN (SELECT x.endpoint_id FROM sec.delivery_index AS x WHERE x.delivery_id = ANY (ids))
		ORDER BY q.org_id, q.endpoint_id FOR UPDATE;
	UPDATE sec.delivery_index AS i SET courier_id = NULL, due_at = now() WHERE i.delivery_id = ANY (ids) AND i.courier_id = courier;
	UPDATE sec.endpoint_queue AS q SET wake_at = now() WHERE q.endpoint_id IN (SELECT x.endpoint_id FROM sec.delivery_index AS x
		WHERE x.delivery_id = ANY (ids));
END
$$;

-- --- forgetting ---------------------------------------------------------------------------------

-- What is older than 30 days, of the next organisation after `after`. next: as `after` the next time; NULL: all have been seen.
CREATE FUNCTION sec.events_prune(after uuid, most int, OUT next uuid, OUT events int, OUT deliveries int, OUT messages int)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	first CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
	before CONSTANT timestamptz := app.now() - app.event_age();
	org uuid;
	newest bigint;
BEGIN
	SELECT o.org_id INTO org FROM sec.org_index AS o WHERE o.org_id > coalesce(after, first) ORDER BY o.org_id LIMIT 1;
	IF org IS NULL THEN
		RETURN;
	END IF;
	PERFORM set_config('app.org_id', org::text, true);
	DELETE FROM app.webhook_deliveries AS d WHERE d.org_id = org AND d.id IN (SELECT x.id FROM app.webhook_deliveries AS x
		WHERE x.org_id = org AND x.finished_at < before LIMIT most);
	GET DIAGNOSTICS deliveries = ROW_COUNT;
	DELETE FROM app.notification_messages AS m WHERE m.org_id = org AND m.id IN (SELECT x.id FROM app.notification_messages AS x
		WHERE x.org_id = org AND x.finished_at < before LIMIT most);
	GET DIAGNOSTICS messages = ROW_COUNT;
	DELETE FROM app.notifications AS m WHERE m.org_id = org AND (m.principal_id, m.id) IN (SELECT x.principal_id, x.id FROM app.notifications AS x
		WHERE x.org_id = org AND x.created_at < before LIMIT most);
	WITH gone AS (
		DELETE FROM app.events AS e WHERE e.org_id = org AND e.sequence IN (SELECT x.sequence FROM app.events AS x
			WHERE x.org_id = org AND x.published_at < before ORDER BY x.sequence LIMIT most) RETURNING e.sequence
	)
	SELECT count(*), max(g.sequence) INTO events, newest FROM gone AS g;
	UPDATE sec.event_heads AS h SET forgotten = greatest(h.forgotten, newest) WHERE h.org_id = org AND newest IS NOT NULL;
	next := CASE WHEN events = most OR deliveries = most OR messages = most THEN coalesce(after, first) ELSE org END;
	PERFORM set_config('app.org_id', '', true);
END
$$;
INSERT INTO sec.timers (name, every) VALUES ('events_prune', '1 hour');

GRANT EXECUTE ON FUNCTION sec.stream_open(uuid, uuid, timestamptz, bigint, int), sec.stream_enter(uuid, uuid, inet, text) TO soloprint_api;
GRANT EXECUTE ON FUNCTION sec.publish(uuid, interval, int), sec.stream_work(uuid, int), sec.stream_done(uuid, bigint[]),
	sec.deliveries_claim(uuid, interval, int), sec.deliveries_finish(uuid, jsonb), sec.deliveries_release(uuid, uuid[]),
	sec.events_prune(uuid, int) TO soloprint_courier;

COMMIT;
