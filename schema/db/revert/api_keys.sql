-- Revert soloprint:api_keys from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP FUNCTION app.key_used(uuid, uuid, text, bigint, inet);
DROP TABLE app.api_key_usage;
DROP FUNCTION sec.key_covers(app.api_keys, app.api_keys);
DROP TABLE app.api_keys;
DROP FUNCTION sec.guard_api_key();
DROP FUNCTION sec.effective_limits(jsonb, jsonb);
DROP FUNCTION sec.cidrs_within(cidr[], cidr[]);
DROP FUNCTION sec.adopt_api_key();
DROP FUNCTION sec.index_api_key();
DROP TABLE sec.key_index;

COMMIT;
