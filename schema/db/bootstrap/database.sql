-- What only a superuser can set up inside the database. Run after roles.sql, in the database itself; safe to repeat.
DO $$
DECLARE
	db text := pg_catalog.current_database();
BEGIN
	EXECUTE pg_catalog.format('ALTER DATABASE %I OWNER TO soloprint_owner', db);
	EXECUTE pg_catalog.format('REVOKE ALL ON DATABASE %I FROM PUBLIC', db);
	EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO soloprint_migrator, soloprint_api, soloprint_auth, soloprint_gateway, soloprint_courier', db);
END
$$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE soloprint_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE soloprint_owner REVOKE USAGE ON TYPES FROM PUBLIC;
