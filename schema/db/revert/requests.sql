-- Revert soloprint:requests from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP FUNCTION app.idem_fetch(text, text);
DROP FUNCTION app.idem_store(text, text, int, jsonb, bytea, boolean);
DROP FUNCTION app.idem_claim(text, text, bytea);
DROP TABLE app.idempotency_keys;
DROP FUNCTION sec.begin_request(bytea, text, text, inet, text);

COMMIT;
