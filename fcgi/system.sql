-- Who asks, and how the service is.

-- name: me_get :one
SELECT jsonb_build_object('id', p.id, 'kind', p.kind, 'name', p.display_name) AS principal,
		jsonb_build_object('id', k.id, 'name', k.name, 'prefix', k.prefix, 'kind', k.kind, 'capabilities', k.capabilities,
			'printer_ids', k.printer_ids, 'cidrs', k.cidrs, 'expires_at', app.rfc3339(k.expires_at)) AS key,
		jsonb_build_array(jsonb_build_object('id', o.org_id, 'name', o.name, 'slug', o.slug, 'role', p.role,
			'capabilities', k.capabilities)) AS organizations
	FROM app.principals AS p
	JOIN app.api_keys AS k ON k.org_id = p.org_id AND k.id = app.key()
	JOIN app.organizations AS o ON o.org_id = p.org_id
	WHERE p.org_id = app.org() AND p.id = app.principal();

-- name: org_context :one
SELECT jsonb_build_object('id', o.org_id, 'name', o.name, 'slug', o.slug, 'state', o.state) AS organization,
		jsonb_build_object('principal_id', p.id, 'role', p.role, 'kind', p.kind) AS membership,
		to_jsonb(k.capabilities) AS capabilities,
		to_jsonb(k.printer_ids) AS printer_ids,
		jsonb_build_object('quota_bytes', o.storage_quota_bytes, 'stored_bytes', coalesce(u.stored_bytes, 0),
			'reserved_bytes', coalesce(u.reserved_bytes, 0)) AS storage
	FROM app.organizations AS o
	JOIN app.principals AS p ON p.org_id = o.org_id AND p.id = app.principal()
	JOIN app.api_keys AS k ON k.org_id = o.org_id AND k.id = app.key()
	LEFT JOIN app.storage_usage AS u ON u.org_id = o.org_id
	WHERE o.org_id = app.org();

-- name: system_info :one
SELECT (SELECT count(*) FROM app.printers AS p WHERE p.org_id = app.org() AND p.deleted_at IS NULL) AS printers,
	round(pg_database_size(current_database()) / 1048576.0, 1) AS size_mb;

-- name: gateway_health :one
SELECT h.alive, h.last_heartbeat_at IS NOT NULL AS seen FROM sec.gateway_health() AS h;

-- name: courier_health :one
SELECT h.alive FROM sec.courier_health() AS h;
