-- The rights of every role, as a list that a reader can check: tests/grants.golden. A change of rights changes it.
\set golden `cat tests/grants.golden`
BEGIN;
SET LOCAL search_path = tap, pg_catalog;
SELECT plan(1);

CREATE TEMP VIEW rights AS
	SELECT a.grantee, lower(a.privilege_type) AS verb, 'table ' || c.oid::regclass AS what FROM pg_class AS c, aclexplode(c.relacl) AS a
		WHERE c.relnamespace IN ('app'::regnamespace, 'sec'::regnamespace)
	UNION ALL SELECT a.grantee, lower(a.privilege_type), 'table ' || t.attrelid::regclass || ' ('
			|| string_agg(t.attname, ', ' ORDER BY t.attname) || ')' FROM pg_attribute AS t, aclexplode(t.attacl) AS a
		WHERE t.attrelid IN (SELECT oid FROM pg_class WHERE relnamespace IN ('app'::regnamespace, 'sec'::regnamespace))
		GROUP BY a.grantee, a.privilege_type, t.attrelid
	UNION ALL SELECT a.grantee, lower(a.privilege_type), 'function ' || p.oid::regprocedure FROM pg_proc AS p, aclexplode(p.proacl) AS a
		WHERE p.pronamespace IN ('app'::regnamespace, 'sec'::regnamespace)
	UNION ALL SELECT a.grantee, lower(a.privilege_type), 'schema ' || n.nspname FROM pg_namespace AS n, aclexplode(n.nspacl) AS a
		WHERE n.nspname IN ('app', 'sec')
	UNION ALL SELECT a.grantee, lower(a.privilege_type), 'database' FROM pg_database AS d, aclexplode(d.datacl) AS a
		WHERE d.datname = current_database();

SELECT set_eq(
	$$ SELECT coalesce(nullif(grantee, 0)::regrole::text, 'PUBLIC') || ': ' || verb || ' ' || what FROM rights
		WHERE grantee <> 'soloprint_owner'::regrole AND grantee <> 'postgres'::regrole $$,
	$$ SELECT line FROM regexp_split_to_table($$ || quote_literal(:'golden') || $$, '\n') AS line
		WHERE line <> '' AND line NOT LIKE '#%' $$,
	'grants equal tests/grants.golden');
SELECT * FROM finish();
ROLLBACK;
