-- The cluster's roles. Run by `soloprintctl bootstrap` as superuser, in any database; safe to repeat.
-- Peer authentication decides who may log in as whom, so no role has a password.
DO $$
DECLARE
	r text;
BEGIN
	FOREACH r IN ARRAY ARRAY['soloprint_owner', 'soloprint_migrator', 'soloprint_api', 'soloprint_auth',
	                         'soloprint_gateway', 'soloprint_courier'] LOOP
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = r) THEN
			EXECUTE pg_catalog.format('CREATE ROLE %I', r);
		END IF;
		EXECUTE pg_catalog.format('ALTER ROLE %I WITH NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT', r);
		EXECUTE pg_catalog.format('ALTER ROLE %I SET search_path = pg_catalog', r);
		EXECUTE pg_catalog.format('ALTER ROLE %I SET timezone = %L', r, 'UTC');
	END LOOP;
	FOREACH r IN ARRAY ARRAY['soloprint_api', 'soloprint_auth', 'soloprint_gateway', 'soloprint_courier'] LOOP
		EXECUTE pg_catalog.format('ALTER ROLE %I WITH LOGIN', r);
		EXECUTE pg_catalog.format('ALTER ROLE %I SET statement_timeout = %L', r, '5s');
		EXECUTE pg_catalog.format('ALTER ROLE %I SET lock_timeout = %L', r, '2s');
		EXECUTE pg_catalog.format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', r, '5s');
	END LOOP;
END
$$;
-- The API's statements are prepared once with all their optional filters: one generic plan each, over the index that
-- gives the order asked for. Planning them anew would cost more than running them.
ALTER ROLE soloprint_api SET plan_cache_mode = 'force_generic_plan';
ALTER ROLE soloprint_api SET enable_bitmapscan = 'off';
ALTER ROLE soloprint_api SET random_page_cost = '1.1';
ALTER ROLE soloprint_api SET jit = 'off';
ALTER ROLE soloprint_owner WITH NOLOGIN;
ALTER ROLE soloprint_migrator WITH LOGIN;
-- Migrations wait for locks briefly and then give up, but may run long.
ALTER ROLE soloprint_migrator SET lock_timeout = '5s';
ALTER ROLE soloprint_migrator SET statement_timeout = '0';
GRANT soloprint_owner TO soloprint_migrator;
