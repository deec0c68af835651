-- Deploy soloprint:printer_leases to pg
-- requires: printer_tasks
-- Where gateways find what is free, however many printers there are: every gateway looks each second. The ends of leases are
-- in no index, so that renewing them stays a change within the page; those of a gateway that has died are found by its id.

BEGIN;
SET LOCAL ROLE soloprint_owner;

CREATE INDEX printer_index_free ON sec.printer_index (printer_id) WHERE gateway_id IS NULL;

-- room: for so many printers a gateway has descriptors and settings.
ALTER TABLE sec.gateways ADD COLUMN room int NOT NULL DEFAULT 6000;

-- For operators: how many printers there are, and for how many the gateways that have reported within 15 s have room.
CREATE FUNCTION sec.gateway_room(OUT printers int, OUT room int)
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT (SELECT count(*) FROM sec.printer_index)::int, coalesce(sum(g.room), 0)::int
			FROM sec.gateways AS g WHERE g.heartbeat_at > now() - '15 s'::interval;
	END;
GRANT EXECUTE ON FUNCTION sec.gateway_room() TO soloprint_migrator;

COMMIT;
