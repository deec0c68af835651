-- Deploy soloprint:uuid7 to pg
-- requires: printer_control
-- The same ids, made with fewer steps: history, events and the audit log take many.

BEGIN;
SET LOCAL ROLE soloprint_owner;

-- UUID version 7 (RFC 9562, method 3): 48 bits of Unix milliseconds, 12 bits of the fraction of a millisecond so that
-- ids made one after the other sort that way, 62 random bits. The last eight bytes of a version 4 have the variant.
CREATE OR REPLACE FUNCTION app.uuid7() RETURNS uuid
	LANGUAGE plpgsql VOLATILE PARALLEL SAFE
	AS $$
DECLARE
	us CONSTANT bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
BEGIN
	RETURN lpad(to_hex(us / 1000), 12, '0') || to_hex(28672 + (us % 1000 * 4096 / 1000)::int) || substr(gen_random_uuid()::text, 19);
END
$$;

COMMIT;
