-- What the catalogue must say of every table, present and future.
BEGIN;
SET LOCAL search_path = tap, pg_catalog;
SELECT no_plan();

-- Tables of schema app that belong to no organisation.
CREATE TEMP TABLE shared (name name) ON COMMIT DROP;
INSERT INTO shared VALUES ('provider_models'), ('event_types');
-- Tables that are no configuration: history itself, and what requests and reports write all the time.
CREATE TEMP TABLE unaudited (name name) ON COMMIT DROP;
INSERT INTO unaudited VALUES ('audit_log'), ('outbox'), ('api_key_usage'), ('idempotency_keys'), ('printer_status'), ('model_keys'), ('jobs'),
	('blobs'), ('file_thumbnails'), ('uploads'), ('storage_usage'), ('printer_history'), ('prints'),
	('queue_orders'), ('queue_needs'), ('queue_need_materials'), ('queue_matches'), ('queue_item_files'), ('queue_dispatches'),
	('queue_history'), ('queue_printers'), ('events'), ('webhook_status'), ('webhook_secrets') /* by functions */, ('webhook_deliveries'),
	('webhook_attempts'), ('notification_messages'), ('notifications');

CREATE TEMP VIEW tenant AS SELECT c.* , c.oid AS id FROM pg_class AS c
	WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname NOT IN (SELECT name FROM shared);
CREATE TEMP VIEW ours AS SELECT p.* FROM pg_proc AS p WHERE p.pronamespace IN ('app'::regnamespace, 'sec'::regnamespace);
CREATE TEMP VIEW roles AS SELECT * FROM pg_roles WHERE rolname LIKE 'soloprint\_%';

SELECT cmp_ok((SELECT count(*) FROM tenant)::int, '>=', 11, 'there are tenant tables to look at');

SELECT ok(EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = t.id AND a.attname = 'org_id' AND a.attnotnull
		AND a.atttypid = 'uuid'::regtype), 'org_id uuid NOT NULL: ' || t.relname) FROM tenant AS t;
SELECT ok((SELECT a.attname FROM pg_constraint AS k JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
		WHERE k.conrelid = t.id AND k.contype = 'p') = 'org_id', 'primary key begins with org_id: ' || t.relname) FROM tenant AS t;
SELECT ok(t.relrowsecurity AND t.relforcerowsecurity, 'row level security enabled and forced: ' || t.relname) FROM tenant AS t;
SELECT is((SELECT array_agg(concat_ws('/', p.polname, p.polcmd, p.polpermissive, p.polroles::text))
		FROM pg_policy AS p WHERE p.polrelid = t.id), ARRAY['tenant/*/t/{0}'], 'one policy for all: ' || t.relname)
	FROM tenant AS t;

-- Unique keys other than the primary one either begin with org_id or are listed here with their reason.
SELECT is_empty($$ SELECT c.relname, i.relname FROM pg_index AS x JOIN tenant AS c ON c.id = x.indrelid
	JOIN pg_class AS i ON i.oid = x.indexrelid
	JOIN pg_attribute AS a ON a.attrelid = c.id AND a.attnum = x.indkey[0]
	WHERE x.indisunique AND a.attname <> 'org_id'
	AND i.relname NOT IN ('organizations_slug_key' /* operators only */, 'api_keys_hash_key' /* random 32 bytes */,
		'outbox_sequence_key' /* made by the server */) $$, 'no unique key tells of another organisation');

-- The policy's two expressions: by organisation; tables of a printer also by the key's printers.
CREATE FUNCTION pg_temp.wanted(t name) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN col IS NULL THEN org ELSE format('(%s AND (( SELECT (NULLIF(current_setting(''app.printer_ids''::text, true), ''''::text) IS NULL)) OR (%s = ANY (( SELECT (NULLIF(current_setting(''app.printer_ids''::text, true), ''''::text))::uuid[] AS "nullif")::uuid[]))))', org, col) END
	FROM (SELECT '(org_id = (NULLIF(current_setting(''app.org_id''::text, true), ''''::text))::uuid)' AS org,
		CASE WHEN t = 'printers' THEN 'id' WHEN EXISTS (SELECT FROM pg_attribute AS a
			WHERE a.attrelid = ('app.' || quote_ident(t))::regclass AND a.attname = 'printer_id') THEN 'printer_id' END AS col) AS x
$$;
SELECT is(pg_get_expr(p.polqual, p.polrelid), pg_temp.wanted(t.relname), 'USING: ' || t.relname)
	FROM tenant AS t JOIN pg_policy AS p ON p.polrelid = t.id;
SELECT is(pg_get_expr(p.polwithcheck, p.polrelid), pg_temp.wanted(t.relname), 'WITH CHECK: ' || t.relname)
	FROM tenant AS t JOIN pg_policy AS p ON p.polrelid = t.id;

SELECT ok((SELECT attname FROM pg_attribute WHERE attrelid = k.conrelid AND attnum = k.conkey[1]) = 'org_id'
		AND (SELECT attname FROM pg_attribute WHERE attrelid = k.confrelid AND attnum = k.confkey[1]) = 'org_id',
		'foreign key by organisation: ' || k.conname)
	FROM pg_constraint AS k JOIN tenant AS t ON t.id = k.conrelid WHERE k.contype = 'f';

SELECT is_empty($$ SELECT c.oid::regclass FROM pg_class AS c WHERE c.relkind IN ('v', 'm')
	AND c.relnamespace IN ('app'::regnamespace, 'sec'::regnamespace)
	AND NOT coalesce(c.reloptions && '{security_invoker=true,security_invoker=on}', false) $$, 'every view is security_invoker');
SELECT is_empty($$ SELECT c.oid::regclass FROM pg_class AS c WHERE c.relkind = 'm'
	AND c.relnamespace IN ('app'::regnamespace, 'sec'::regnamespace) $$, 'no materialised view');

SELECT is_empty($$ SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
	WHERE p.prosecdef AND n.nspname NOT IN ('sec', 'pg_catalog', 'information_schema') $$, 'SECURITY DEFINER only in sec');
SELECT ok(p.proconfig @> '{"search_path=pg_catalog, pg_temp"}', 'fixed search_path: ' || p.oid::regprocedure)
	FROM ours AS p WHERE p.prosecdef;
SELECT is_empty($$ SELECT p.oid::regprocedure FROM ours AS p WHERE p.prosecdef AND p.prosrc ~* '\mexecute\M'
	AND p.proname <> 'printer_history_months' /* names of months, from nothing but the date */ $$,
	'no dynamic SQL in SECURITY DEFINER');
SELECT is_empty($$ SELECT p.oid::regprocedure FROM ours AS p WHERE p.proleakproof $$, 'no function claims to be leakproof');

SELECT is_empty($$ SELECT o.what FROM (
		SELECT oid::regclass::text AS what, relowner AS owner, relnamespace AS ns FROM pg_class
		UNION ALL SELECT oid::regprocedure::text, proowner, pronamespace FROM pg_proc
		UNION ALL SELECT oid::regtype::text, typowner, typnamespace FROM pg_type
		UNION ALL SELECT nspname, nspowner, oid FROM pg_namespace) AS o
	WHERE o.ns IN (SELECT oid FROM pg_namespace WHERE nspname IN ('app', 'sec', 'sqitch'))
	AND o.owner <> 'soloprint_owner'::regrole $$, 'everything belongs to soloprint_owner');
SELECT is_empty($$ SELECT r.rolname, d.classid::regclass, d.objid FROM pg_shdepend AS d
	JOIN pg_roles AS r ON r.oid = d.refobjid AND d.refclassid = 'pg_authid'::regclass
	WHERE d.deptype = 'o' AND r.rolcanlogin AND r.rolname LIKE 'soloprint\_%' $$, 'no role that can log in owns anything');

SELECT is_empty($$ SELECT rolname FROM roles WHERE rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication
	OR rolinherit $$, 'no role has rights over the cluster');
SELECT set_eq($$ SELECT rolname, rolcanlogin FROM roles $$, $$ VALUES ('soloprint_owner'::name, false), ('soloprint_migrator', true),
	('soloprint_api', true), ('soloprint_auth', true), ('soloprint_gateway', true), ('soloprint_courier', true) $$,
	'the roles, and who may log in');
SELECT set_eq($$ SELECT m.member::regrole::text, m.roleid::regrole::text FROM pg_auth_members AS m
	WHERE m.member::regrole::text LIKE 'soloprint%' OR m.roleid::regrole::text LIKE 'soloprint%' $$,
	$$ VALUES ('soloprint_migrator', 'soloprint_owner') $$, 'only the migrator may become the owner');
SELECT ok(rolconfig @> '{statement_timeout=5s,lock_timeout=2s,idle_in_transaction_session_timeout=5s,TimeZone=UTC,search_path=pg_catalog}',
	'time limits, UTC and search_path: ' || rolname) FROM roles WHERE rolname NOT IN ('soloprint_owner', 'soloprint_migrator');

-- PUBLIC: nothing.
CREATE TEMP VIEW granted AS
	SELECT 'relation ' || c.oid::regclass AS what, a.* FROM pg_class AS c, aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) AS a
		WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('app', 'sec', 'sqitch')) AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
	UNION ALL SELECT 'column ' || t.attrelid::regclass || '.' || t.attname, a.* FROM pg_attribute AS t, aclexplode(t.attacl) AS a
		WHERE t.attrelid IN (SELECT oid FROM pg_class WHERE relnamespace IN ('app'::regnamespace, 'sec'::regnamespace))
	UNION ALL SELECT 'function ' || p.oid::regprocedure, a.* FROM ours AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
	UNION ALL SELECT 'schema ' || n.nspname, a.* FROM pg_namespace AS n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a
		WHERE n.nspname IN ('app', 'sec', 'sqitch', 'public')
	UNION ALL SELECT 'database', a.* FROM pg_database AS d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
		WHERE d.datname = current_database();
SELECT is_empty($$ SELECT what, privilege_type FROM granted WHERE grantee = 0 $$, 'PUBLIC has nothing');
SELECT is_empty($$ SELECT what, grantee::regrole, privilege_type FROM granted WHERE grantee <> 0
	AND grantee::regrole::text IN ('soloprint_api', 'soloprint_auth', 'soloprint_gateway', 'soloprint_courier')
	AND (privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'EXECUTE', 'USAGE', 'CONNECT') OR is_grantable) $$,
	'services may neither create, truncate, make triggers nor pass rights on');

SELECT ok(NOT has_column_privilege(r.rolname, 'app.printers', 'secret_sealed', 'SELECT'), r.rolname || ' cannot read sealed secrets')
	FROM roles AS r WHERE r.rolname IN ('soloprint_api', 'soloprint_auth', 'soloprint_courier');
SELECT ok(NOT has_column_privilege(r.rolname, t, c, 'SELECT'), format('%s cannot read %s of %s', r.rolname, c, t))
	FROM roles AS r, (VALUES ('app.webhook_secrets', 'secret_sealed'), ('app.webhooks', 'headers_sealed'),
		('app.notification_rules', 'target_sealed')) AS x (t, c) WHERE r.rolcanlogin AND r.rolname <> 'soloprint_migrator';
SELECT ok(NOT has_column_privilege(r.rolname, 'app.api_keys', 'key_hash', 'SELECT'), r.rolname || ' cannot read hashes of keys')
	FROM roles AS r WHERE r.rolcanlogin AND r.rolname <> 'soloprint_migrator';
SELECT ok(NOT has_any_column_privilege(r.rolname, c.oid, 'SELECT, INSERT, UPDATE'), r.rolname || ' cannot touch ' || c.oid::regclass)
	FROM roles AS r, pg_class AS c WHERE r.rolname IN ('soloprint_api', 'soloprint_auth', 'soloprint_courier')
	AND c.relnamespace = 'sec'::regnamespace AND c.relkind IN ('r', 'p')
	AND (r.rolname <> 'soloprint_courier' OR c.relname NOT IN ('blob_index', 'upload_index'));
SELECT ok(NOT has_any_column_privilege('soloprint_courier', t, 'INSERT, UPDATE'), 'the courier cannot write ' || t)
	FROM unnest('{sec.blob_index,sec.upload_index}'::text[]) AS t;
SELECT ok(NOT has_any_column_privilege(r.rolname, c.oid, 'INSERT, UPDATE'), r.rolname || ' cannot write ' || c.oid::regclass)
	FROM roles AS r, pg_class AS c WHERE r.rolname IN ('soloprint_api', 'soloprint_auth') AND c.relname IN ('audit_log', 'outbox');

-- Every change of configuration is audited.
SELECT is((SELECT array_agg(e ORDER BY e) FROM (
		SELECT unnest(ARRAY[CASE WHEN g.tgtype & 4 > 0 THEN 'insert' END, CASE WHEN g.tgtype & 8 > 0 THEN 'delete' END,
			CASE WHEN g.tgtype & 16 > 0 THEN 'update' END]) AS e FROM pg_trigger AS g
		WHERE g.tgrelid = t.id AND g.tgenabled = 'O' AND g.tgtype & 2 = 0
		AND g.tgfoid IN ('sec.audit()'::regprocedure, 'sec.record_membership()'::regprocedure, 'sec.record_collected()'::regprocedure,
			'sec.record_queue_item()'::regprocedure)) AS x WHERE e IS NOT NULL),
		CASE t.relname WHEN 'collection_models' THEN '{delete,insert}'::text[] WHEN 'printer_group_members' THEN '{delete,insert}'::text[] ELSE '{delete,insert,update}' END,
		'audited: ' || t.relname)
	FROM tenant AS t WHERE t.relname NOT IN (SELECT name FROM unaudited);
SELECT is_empty($$ SELECT relname FROM tenant AS t WHERE relname = 'printer_group_members' AND EXISTS (
	SELECT FROM pg_roles AS r WHERE r.rolname LIKE 'soloprint\_%' AND r.rolname <> 'soloprint_owner'
	AND has_any_column_privilege(r.oid, t.id, 'UPDATE')) $$, 'what is not audited at update cannot be updated');
SELECT ok((SELECT count(*) = 2 FROM pg_trigger AS g WHERE g.tgrelid = t.id AND g.tgfoid = 'app.append_only()'::regprocedure),
	'append-only: ' || t.relname) FROM tenant AS t WHERE t.relname IN ('audit_log', 'outbox', 'printer_history',
		'queue_dispatches', 'queue_history', 'events');

SELECT is_empty($$ SELECT attrelid::regclass, attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
	WHERE c.relnamespace IN ('app'::regnamespace, 'sec'::regnamespace) AND a.atttypid IN ('timestamp'::regtype, 'timetz'::regtype) $$,
	'times are timestamptz');
SELECT is_empty($$ SELECT d.adrelid::regclass, pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef AS d JOIN pg_class AS c ON c.oid = d.adrelid
	WHERE c.relnamespace = 'app'::regnamespace AND pg_get_expr(d.adbin, d.adrelid) ~ '(^|[^.])\m(now|clock_timestamp)\(' $$,
	'defaults read the clock through app.now()');

-- An index for each order of the lists.
SELECT ok(EXISTS (SELECT FROM pg_indexes AS i WHERE i.schemaname = 'app' AND i.tablename = w.t
		AND i.indexdef LIKE '%(org_id, ' || w.columns || ')%'), 'index of app.' || w.t || ' by ' || w.columns)
	FROM (VALUES ('printers', 'name, id'), ('printers', 'created_at, id'), ('printers', 'updated_at, id'),
		('printers', 'model, name, id'), ('printers', 'model, created_at, id'), ('printers', 'model, updated_at, id'),
		('printer_status', 'state, printer_id'), ('printer_group_members', 'group_id, printer_id'),
		('printer_groups', 'name, id'), ('printer_groups', 'created_at, id'), ('models', 'name, id'), ('models', 'created_at, id'),
		('models', 'updated_at, id'), ('collections', 'name, id'), ('collections', 'created_at, id'), ('api_keys', 'name, id'),
		('api_keys', 'created_at, id'), ('files', 'filename, id'), ('files', 'created_at, id'), ('files', 'updated_at, id'),
		('files', 'COALESCE(size_bytes, (0)::bigint), id'), ('files', 'kind, created_at, id'),
		('files', 'status, created_at, id'), ('files', 'uploaded_by, created_at, id'), ('jobs', 'created_at, id'), ('queue_items', 'rank, id'),
		('queue_items', 'created_at, id'), ('queue_items', 'updated_at, id'), ('queue_items', 'name, id'),
		('webhooks', 'created_at, id'), ('webhooks', 'name, id'), ('webhook_deliveries', 'created_at, id'),
		('webhook_deliveries', 'webhook_id, created_at, id'), ('webhook_deliveries', 'status, created_at, id'),
		('notification_rules', 'created_at, id'), ('notification_rules', 'name, id'), ('notifications', 'principal_id, created_at, id'),
		('notification_messages', 'rule_id, created_at, id')) AS w (t, columns);

SELECT * FROM finish();
ROLLBACK;
