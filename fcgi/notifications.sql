-- Notification rules, what they sent, and the inbox.

-- fragment: rule_columns
	v.id, v.name, v.enabled, v.events, jsonb_build_object('printer_ids', coalesce(v.filters -> 'printer_ids', '[]'),
			'printer_group_ids', coalesce(v.filters -> 'printer_group_ids', '[]')) AS filters,
		v.min_severity, v.channel, jsonb_build_object('emails', coalesce(v.emails, '[]'),
			'principal_ids', coalesce(v.principal_ids, '[]')) AS recipients,
		v.target_host AS url_host, v.throttle_seconds, v.quiet_hours,
		CASE WHEN v.digest IS NOT NULL THEN '{"at": null, "weekday": null}' || v.digest END AS digest,
		v.last_delivery, v.created_by, v.version, v.created_at, v.updated_at, v._etag
	FROM app.notification_rule_rows AS v WHERE v._org_id = app.org()
-- end

-- name: rules :page
-- params: text, text[], bool
-- orders: name v.name, created_at v.created_at timestamptz
SELECT {key} AS _key,
-- include: rule_columns
		AND ($1 IS NULL OR v.name ILIKE $1)
		AND ($2 IS NULL OR v.channel = ANY ($2))
		AND ($3 IS NULL OR v.enabled = $3)
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: rules_total :one
-- params: text, text[], bool
SELECT count(*) AS total FROM app.notification_rules AS r
	WHERE r.org_id = app.org() AND ($1 IS NULL OR r.name ILIKE $1) AND ($2 IS NULL OR r.channel = ANY ($2))
		AND ($3 IS NULL OR r.enabled = $3);

-- name: rule_get :one
-- params: uuid
SELECT
-- include: rule_columns
		AND v.id = $1;

-- What is merged with a patch must not change meanwhile.
-- name: rule_lock :one
-- params: uuid, int[]
SELECT x.id, app.check_version(x.version, $2) AS _current FROM app.notification_rules AS x
	WHERE x.org_id = app.org() AND x.id = $1 FOR UPDATE;

-- name: rule_faults :many
-- params: uuid, jsonb, text
SELECT f.pointer, f.code, f.message FROM app.notification_rule_faults($1, $2, $3) AS f;

-- name: rule_insert :one
-- params: uuid, jsonb, text, bytea
INSERT INTO app.notification_rules (id, name, enabled, events, filters, min_severity, channel, emails, principal_ids, target_sealed,
		target_host, throttle_seconds, quiet_hours, digest)
	SELECT $1, n.name, n.enabled, n.events, n.filters, n.min_severity, n.channel, n.emails, n.principal_ids, $4, n.target_host,
			n.throttle_seconds, n.quiet_hours, n.digest
		FROM app.notification_rule_next(NULL, $2, $3) AS n
		WHERE NOT EXISTS (SELECT FROM app.notification_rule_faults(NULL, $2, $3))
	RETURNING id;

-- fragment: rule_change
		name = n.name, enabled = n.enabled, events = n.events, filters = n.filters, min_severity = n.min_severity,
		channel = n.channel, emails = n.emails, principal_ids = n.principal_ids, target_host = n.target_host,
		throttle_seconds = n.throttle_seconds, quiet_hours = n.quiet_hours, digest = n.digest
	FROM app.notification_rule_next($1, $2, $3) AS n
	WHERE r.org_id = app.org() AND r.id = $1 AND NOT EXISTS (SELECT FROM app.notification_rule_faults($1, $2, $3))
	RETURNING r.id;
-- end

-- name: rule_update :one
-- params: uuid, jsonb, text
UPDATE app.notification_rules AS r SET
-- include: rule_change

-- name: rule_update_target :one
-- params: uuid, jsonb, text, bytea
UPDATE app.notification_rules AS r SET target_sealed = $4,
-- include: rule_change

-- name: rule_delete :one
-- params: uuid, int[]
DELETE FROM app.notification_rules AS r
	USING (SELECT x.id, app.check_version(x.version, $2) AS current FROM app.notification_rules AS x
		WHERE x.org_id = app.org() AND x.id = $1 FOR UPDATE) AS t
	WHERE r.org_id = app.org() AND r.id = t.id AND t.current
	RETURNING r.id;

-- fragment: message_columns
	m.id, m.status, m.test, m.events, m.attempts, CASE m.status WHEN 'queued' THEN m.due_at END AS due_at,
		m.last_error AS error, m.created_at, m.finished_at
	FROM app.notification_message_rows AS m WHERE m._org_id = app.org()
-- end

-- name: rule_test :one
-- params: uuid, uuid
SELECT sec.notification_test($1, $2) AS id;

-- An inbox has it at once, without a message.
-- name: rule_tested :one
-- params: uuid, uuid
SELECT
-- include: message_columns
		AND m.rule_id = $1 AND m.id = $2
UNION ALL SELECT $2, 'delivered', true, 1, 1, NULL, NULL, app.now(), app.now()
	FROM app.notification_rules AS r WHERE r.org_id = app.org() AND r.id = $1 AND r.channel = 'in_app';

-- name: rule_known :one
-- params: uuid
SELECT r.id FROM app.notification_rules AS r WHERE r.org_id = app.org() AND r.id = $1;

-- name: messages :page
-- params: uuid, text[]
-- orders: created_at m.created_at timestamptz
SELECT {key} AS _key,
-- include: message_columns
		AND m.rule_id = $1
		AND ($2 IS NULL OR m.status = ANY ($2))
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: messages_total :one
-- params: uuid, text[]
SELECT count(*) AS total FROM app.notification_messages AS m
	WHERE m.org_id = app.org() AND m.rule_id = $1 AND ($2 IS NULL OR m.status = ANY ($2));

-- Row level security leaves out what is about printers that this key does not see.
-- fragment: inbox
	FROM app.notifications AS n WHERE n.org_id = app.org() AND n.principal_id = app.principal()
		AND n.capability = ANY ((SELECT app.my_capabilities())::text[])
-- end

-- fragment: notification_columns
	n.id, n.type, n.severity, n.title, n.data, n.event_id, n.sequence, n.rule_id, n.read_at IS NOT NULL AS read, n.read_at,
		n.created_at
-- end

-- name: notifications :page
-- params: bool, text[], text[]
-- orders: created_at n.created_at timestamptz
SELECT {key} AS _key,
-- include: notification_columns
-- include: inbox
		AND ($1 IS NULL OR (n.read_at IS NULL) = $1)
		AND ($2 IS NULL OR n.severity = ANY ($2))
		AND ($3 IS NULL OR app.event_wanted($3, n.type))
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: notifications_total :one
-- params: bool, text[], text[]
SELECT count(*) AS total
-- include: inbox
		AND ($1 IS NULL OR (n.read_at IS NULL) = $1)
		AND ($2 IS NULL OR n.severity = ANY ($2))
		AND ($3 IS NULL OR app.event_wanted($3, n.type));

-- All that ever changes is when it was read.
-- name: notification_get :one
-- params: uuid
SELECT
-- include: notification_columns
	, '"' || coalesce(extract(epoch FROM n.read_at)::int, 0) || '"' AS _etag
-- include: inbox
		AND n.id = $1;

-- name: notification_read :one
-- params: uuid, bool, int[]
UPDATE app.notifications AS u SET read_at = CASE WHEN $2 THEN coalesce(u.read_at, app.now()) END
	FROM (SELECT n.principal_id, n.id, app.check_version(coalesce(extract(epoch FROM n.read_at)::int, 0), $3) AS current
-- include: inbox
		AND n.id = $1 FOR UPDATE) AS t
	WHERE u.org_id = app.org() AND u.principal_id = t.principal_id AND u.id = t.id AND t.current
	RETURNING u.id;

-- name: notifications_read :one
WITH marked AS (
	UPDATE app.notifications AS u SET read_at = app.now()
		FROM (SELECT n.principal_id, n.id
-- include: inbox
		AND n.read_at IS NULL ORDER BY n.id FOR UPDATE) AS t
		WHERE u.org_id = app.org() AND u.principal_id = t.principal_id AND u.id = t.id
		RETURNING u.id
)
SELECT count(*) AS read FROM marked;
