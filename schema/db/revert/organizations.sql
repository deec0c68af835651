-- Revert soloprint:organizations from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP FUNCTION sec.list_orgs();
DROP FUNCTION sec.enter_org(text);
DROP FUNCTION sec.create_org(text, text);
DROP TABLE app.principals;
DROP TABLE app.organizations;
DROP FUNCTION sec.index_organization();
DROP TABLE sec.org_index;

COMMIT;
