-- Deploy soloprint:printer_history to pg
-- requires: printer_tasks
-- What happened to printers: connections that came and went, states, errors. Gateways bring it in bulk, by COPY.
--
-- Two levels of partitions. app.printer_history is what is read: row level security binds it, by organisation and by the
-- key's printers, and nobody may write through it. Its one partition, sec.printer_history, has no row level security, since
-- COPY refuses tables that have it; the gateways' role may insert there and read nothing, the API's role has no right to it
-- at all. That one is divided by month, so that old months go by dropping a table.
--
-- A row's id is chosen where it is noted, and a batch is one transaction of one COPY: a batch whose fate is unknown is sent
-- again as it was, and either goes in whole or meets its own ids (23505), which says that it went in whole before. Rows are
-- sent only after app.printer_status was written under the lease's fencing token, so a gateway that has lost a printer adds
-- nothing to its history. There is no foreign key: it would cost more than the row, and history outlives its printer.

BEGIN;
SET LOCAL ROLE soloprint_owner;

-- detail: connection {state, reason}; state {from, to, outcome}; error {code, severity, active}, active false once it is
-- cleared.
CREATE TABLE app.printer_history (
	org_id uuid NOT NULL,
	printer_id uuid NOT NULL,
	at timestamptz NOT NULL,
	id uuid NOT NULL,
	kind text NOT NULL CHECK (kind IN ('connection', 'state', 'error')),
	detail jsonb NOT NULL CHECK (jsonb_typeof(detail) = 'object'),
	CONSTRAINT printer_history_pkey PRIMARY KEY (org_id, printer_id, at, id)
) PARTITION BY RANGE (at);
ALTER TABLE app.printer_history ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.printer_history
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])))
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])));
GRANT SELECT ON app.printer_history TO soloprint_api;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.printer_history
	FOR EACH ROW EXECUTE FUNCTION app.append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.printer_history
	FOR EACH STATEMENT EXECUTE FUNCTION app.append_only();

CREATE TABLE sec.printer_history PARTITION OF app.printer_history FOR VALUES FROM (MINVALUE) TO (MAXVALUE)
	PARTITION BY RANGE (at);
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON sec.printer_history
	FOR EACH STATEMENT EXECUTE FUNCTION app.append_only();
GRANT INSERT (org_id, printer_id, at, id, kind, detail) ON sec.printer_history TO soloprint_gateway;

-- Makes the months from the last one to the third from now, and drops those that ended longer ago than `age`. The names in
-- its dynamic SQL are made of dates alone.
CREATE FUNCTION sec.printer_history_months(age interval, OUT made int, OUT dropped int)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
	AS $$
DECLARE
	this CONSTANT timestamptz := date_trunc('month', app.now());
	month timestamptz;
	name text;
BEGIN
	made := 0;
	dropped := 0;
	FOR month IN SELECT this + make_interval(months => n) FROM generate_series(-1, 3) AS n LOOP
		name := to_char(month, '"printer_history_"YYYY_MM');
		CONTINUE WHEN to_regclass('sec.' || name) IS NOT NULL;
		EXECUTE format('CREATE TABLE sec.%I PARTITION OF sec.printer_history FOR VALUES FROM (%L) TO (%L)',
			name, month, month + make_interval(months => 1));
		made := made + 1;
	END LOOP;
	FOR name IN SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
			WHERE i.inhparent = 'sec.printer_history'::regclass AND c.relname ~ '^printer_history_[0-9]{4}_[0-9]{2}$'
			AND to_date(right(c.relname, 7), 'YYYY_MM') + make_interval(months => 1) < app.now() - age LOOP
		EXECUTE format('DROP TABLE sec.%I', name);
		dropped := dropped + 1;
	END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION sec.printer_history_months(interval) TO soloprint_courier;
DO $$ BEGIN PERFORM sec.printer_history_months('90 days'); END $$;

-- A lock that could not be had in time is tried for again long before the months made ahead are used up.
INSERT INTO sec.timers (name, every) VALUES ('printer_history', '6 hours');

COMMIT;
