-- Webhooks. Secrets and headers go in sealed and never come out.

-- fragment: webhook_columns
	v.id, v.name, v.endpoint_url, v.subscriptions, '{"printer_ids": [], "printer_group_ids": []}'::jsonb || v.filters AS filters,
		v.max_attempts, v.retry_backoff_seconds, v.signature, v.public_key, v.header_names, v.notification_email, v.enabled, v.status,
		v.disabled_reason, v.disabled_at, v.failing_since, v.consecutive_failures, v.last_attempt_at, v.last_success_at, v.last_error,
		v.queued, v.created_by, v.created_at, v.updated_at, v.version, v._etag
	FROM app.webhook_rows AS v WHERE v._org_id = app.org()
-- end

-- fragment: webhook_filters
		AND ($1 IS NULL OR v.name ILIKE $1 OR v.endpoint_url ILIKE $1) AND ($2 IS NULL OR v.status = ANY ($2))
-- end

-- name: webhooks :page
-- params: text, text[]
-- orders: created_at v.created_at timestamptz, name v.name
SELECT {key} AS _key,
-- include: webhook_columns
-- include: webhook_filters
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: webhooks_total :one
-- params: text, text[]
SELECT count(*) AS total FROM app.webhook_rows AS v WHERE v._org_id = app.org()
-- include: webhook_filters
;

-- name: webhook_get :one
-- params: uuid
SELECT
-- include: webhook_columns
		AND v.id = $1;

-- fragment: webhook_faults
	app.subscription_faults('/subscriptions', (SELECT b.subscriptions FROM jsonb_to_record($1) AS b (subscriptions text[])), $1 -> 'filters')
-- end

-- What is wrong with a body, by its members.
-- name: webhook_faults :many
-- params: jsonb
SELECT f.pointer, f.code, f.message FROM
-- include: webhook_faults
	AS f;

-- name: webhook_insert :one
-- params: jsonb, uuid, text, text[], bytea, text
INSERT INTO app.webhooks (id, name, endpoint_url, subscriptions, filters, max_attempts, retry_backoff_seconds, signature, public_key,
		headers_sealed, header_names, notification_email, enabled)
	SELECT $2, b.name, $3, b.subscriptions, '{"printer_ids": [], "printer_group_ids": []}' || coalesce(nullif(b.filters, 'null'), '{}'),
			coalesce(b.max_attempts, 10), b.retry_backoff_seconds, coalesce(b.signature, 'hmac'), $6, $5, coalesce($4, '{}'),
			b.notification_email, coalesce(b.enabled, true)
		FROM jsonb_to_record($1) AS b (name text, subscriptions text[], filters jsonb, max_attempts int, retry_backoff_seconds int,
			signature text, notification_email text, enabled boolean)
		WHERE NOT EXISTS (SELECT FROM
-- include: webhook_faults
		)
	RETURNING id;

-- name: webhook_secret_insert :exec
-- params: uuid, uuid, bytea
INSERT INTO app.webhook_secrets (webhook_id, id, secret_sealed)
	SELECT w.id, $2, $3 FROM app.webhooks AS w WHERE w.org_id = app.org() AND w.id = $1;

-- name: webhook_known :one
-- params: uuid
SELECT w.id FROM app.webhooks AS w WHERE w.org_id = app.org() AND w.id = $1 AND w.deleted_at IS NULL;

-- fragment: webhook_set
		name = CASE WHEN $1 ? 'name' THEN b.name ELSE w.name END,
		endpoint_url = coalesce($3, w.endpoint_url),
		subscriptions = CASE WHEN $1 ? 'subscriptions' THEN b.subscriptions ELSE w.subscriptions END,
		filters = CASE WHEN NOT $1 ? 'filters' THEN w.filters WHEN $1 -> 'filters' = 'null'
			THEN '{"printer_ids": [], "printer_group_ids": []}' ELSE w.filters || b.filters END,
		max_attempts = CASE WHEN $1 ? 'max_attempts' THEN b.max_attempts ELSE w.max_attempts END,
		retry_backoff_seconds = CASE WHEN $1 ? 'retry_backoff_seconds' THEN b.retry_backoff_seconds ELSE w.retry_backoff_seconds END,
		notification_email = CASE WHEN $1 ? 'notification_email' THEN b.notification_email ELSE w.notification_email END,
		enabled = CASE WHEN $1 ? 'enabled' THEN b.enabled ELSE w.enabled END
	FROM jsonb_to_record($1) AS b (name text, subscriptions text[], filters jsonb, max_attempts int, retry_backoff_seconds int,
			notification_email text, enabled boolean),
		(SELECT x.id, app.check_version(x.version, $4) AS current FROM app.webhooks AS x
			WHERE x.org_id = app.org() AND x.id = $2 AND x.deleted_at IS NULL FOR UPDATE) AS t
	WHERE w.org_id = app.org() AND w.id = t.id AND t.current AND NOT EXISTS (SELECT FROM
-- end

-- The URL comes by itself, and so do headers; those that are there cannot be read, so a patch without them does not name them.
-- name: webhook_update :one
-- params: jsonb, uuid, text, int[]
UPDATE app.webhooks AS w SET
-- include: webhook_set
-- include: webhook_faults
		)
	RETURNING w.id;

-- name: webhook_update_headers :one
-- params: jsonb, uuid, text, int[], text[], bytea
UPDATE app.webhooks AS w SET header_names = coalesce($5, '{}'), headers_sealed = $6,
-- include: webhook_set
-- include: webhook_faults
		)
	RETURNING w.id;

-- name: webhook_delete :one
-- params: uuid, int[]
UPDATE app.webhooks AS w SET deleted_at = app.now()
	FROM (SELECT x.id, app.check_version(x.version, $2) AS current FROM app.webhooks AS x
		WHERE x.org_id = app.org() AND x.id = $1 AND x.deleted_at IS NULL FOR UPDATE) AS t
	WHERE w.org_id = app.org() AND w.id = t.id AND t.current
	RETURNING w.id;

-- A secret of either sort comes; the webhook's signature says which of them is taken.
-- name: webhook_rotate :one
-- params: uuid, uuid, bytea, bytea, text, int8
SELECT sec.webhook_rotate(w.id, $2, CASE w.signature WHEN 'ed25519' THEN $4 ELSE $3 END, CASE w.signature WHEN 'ed25519' THEN $5 END,
		make_interval(secs => $6)) AS id
	FROM app.webhooks AS w WHERE w.org_id = app.org() AND w.id = $1 AND w.deleted_at IS NULL;

-- Without a type: the first that it is subscribed to.
-- name: webhook_test :one
-- params: uuid, uuid, text
SELECT sec.webhook_test(w.id, $2, coalesce($3, (SELECT t.type FROM app.event_types AS t WHERE app.event_wanted(w.subscriptions, t.type)
		ORDER BY array_position(w.subscriptions, t.type), NOT t.available, t.type LIMIT 1))) AS id
	FROM app.webhooks AS w WHERE w.org_id = app.org() AND w.id = $1 AND w.deleted_at IS NULL;

-- name: webhook_recover :one
-- params: uuid, timestamptz
SELECT r.recovered, r.more FROM sec.webhook_recover($1, $2) AS r WHERE r.id IS NOT NULL;
