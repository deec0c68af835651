-- Revert soloprint:uuid7 from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

-- UUID version 7 (RFC 9562, method 3): 48 bits of Unix milliseconds, 12 bits of the fraction of a millisecond so that
-- ids made one after the other sort that way, 62 random bits. The last eight bytes of a version 4 have the variant.
CREATE OR REPLACE FUNCTION app.uuid7() RETURNS uuid
	LANGUAGE sql VOLATILE PARALLEL SAFE
	RETURN (
		SELECT encode(substring(int8send(t.us / 1000) FROM 3) || substring(int4send(28672 + (t.us % 1000 * 4096 / 1000)::int) FROM 3)
			|| substring(uuid_send(gen_random_uuid()) FROM 9), 'hex')::uuid
		FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us) AS t);

COMMIT;
