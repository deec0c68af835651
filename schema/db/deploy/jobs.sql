-- Deploy soloprint:jobs to pg
-- requires: printer_rows
-- Work that is done outside of a request: rows claimed by couriers under a lease. A job is told apart from its
-- predecessor's attempt by a fencing token: who lost the lease can neither report nor finish.

BEGIN;
SET LOCAL ROLE soloprint_owner;

-- Bookkeeping columns that make neither an audit row nor a new version.
CREATE OR REPLACE FUNCTION sec.row_changes(was jsonb, is_now jsonb) RETURNS jsonb
	LANGUAGE sql IMMUTABLE
	RETURN (
		SELECT coalesce(jsonb_object_agg(k, CASE WHEN was IS NULL THEN is_now -> k WHEN is_now IS NULL THEN was -> k
			ELSE jsonb_build_object('from', was -> k, 'to', is_now -> k) END), '{}')
		FROM jsonb_object_keys(coalesce(is_now, was)) AS k
		WHERE k <> ALL ('{org_id,id,version,created_at,updated_at,last_used_at,last_used_ip,key_hash,secret_sealed,has_secret,features,groups,metadata,thumbnails,analysis,blob_id,settings}'::text[])
		AND coalesce(was -> k, 'null') <> coalesce(is_now -> k, 'null')
	) || CASE WHEN was -> 'secret_sealed' IS DISTINCT FROM is_now -> 'secret_sealed'
		AND coalesce(was -> 'secret_sealed', is_now -> 'secret_sealed') IS NOT NULL
		AND NOT (was IS NULL AND is_now -> 'secret_sealed' = 'null')
		THEN '{"secret": "changed"}'::jsonb ELSE '{}'::jsonb END;

-- params may hold what its creator alone should know (an address with a token in it): the API writes but never reads
-- them, and they go when the job ends.
CREATE TABLE app.jobs (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	kind text NOT NULL CHECK (kind ~ '^[a-z_]+\.[a-z_]+$'),
	state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
	visible boolean NOT NULL DEFAULT false,
	priority smallint NOT NULL DEFAULT 0,
	params jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(params) = 'object'),
	progress jsonb CHECK (jsonb_typeof(progress) = 'object'),
	result jsonb,
	error jsonb CHECK (jsonb_typeof(error) = 'object'),
	resource_type text,
	resource_id uuid,
	attempts int NOT NULL DEFAULT 0,
	max_attempts int NOT NULL DEFAULT 5 CHECK (max_attempts BETWEEN 1 AND 100),
	run_after timestamptz NOT NULL DEFAULT app.now(),
	cancel_requested_at timestamptz,
	created_by uuid DEFAULT app.principal(),
	created_at timestamptz NOT NULL DEFAULT app.now(),
	started_at timestamptz,
	finished_at timestamptz,
	updated_at timestamptz NOT NULL DEFAULT app.now(),
	CONSTRAINT jobs_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT jobs_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id),
	CONSTRAINT jobs_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES app.principals (org_id, id)
);
CREATE INDEX jobs_visible_created ON app.jobs (org_id, created_at, id) WHERE visible;
CREATE INDEX jobs_resource ON app.jobs (org_id, resource_id, id);
CREATE INDEX jobs_finished ON app.jobs (org_id, finished_at) WHERE finished_at IS NOT NULL;
ALTER TABLE app.jobs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.jobs
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT (org_id, id, kind, state, visible, progress, result, error, resource_type, resource_id, attempts, max_attempts,
		run_after, cancel_requested_at, created_by, created_at, started_at, finished_at, updated_at),
	INSERT (org_id, id, kind, visible, priority, params, resource_type, resource_id, max_attempts, run_after),
	UPDATE (cancel_requested_at)
	ON app.jobs TO soloprint_api;
GRANT SELECT, INSERT (org_id, id, kind, visible, priority, params, resource_type, resource_id, max_attempts, run_after)
	ON app.jobs TO soloprint_courier;

-- Jobs that are not finished, without their content: where couriers look.
CREATE TABLE sec.job_index (
	job_id uuid PRIMARY KEY,
	org_id uuid NOT NULL,
	kind text NOT NULL,
	priority smallint NOT NULL,
	run_after timestamptz NOT NULL,
	courier_id uuid,
	fencing bigint NOT NULL DEFAULT 0,
	expires_at timestamptz
) WITH (fillfactor = 80);
CREATE INDEX job_index_due ON sec.job_index (run_after, job_id);
CREATE INDEX job_index_leased ON sec.job_index (org_id) WHERE courier_id IS NOT NULL;

-- What is due again and again, whoever does it.
CREATE TABLE sec.timers (
	name text PRIMARY KEY,
	every interval NOT NULL,
	next_at timestamptz NOT NULL DEFAULT app.now()
);

CREATE FUNCTION sec.index_job() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO sec.job_index (job_id, org_id, kind, priority, run_after)
			VALUES (NEW.id, NEW.org_id, NEW.kind, NEW.priority, NEW.run_after);
	ELSIF TG_OP = 'DELETE' OR NEW.state IN ('succeeded', 'failed', 'cancelled') THEN
		DELETE FROM sec.job_index AS i WHERE i.job_id = OLD.id;
		RETURN NULL;
	ELSE
		UPDATE sec.job_index AS i SET run_after = NEW.run_after WHERE i.job_id = NEW.id;
	END IF;
	IF NEW.run_after <= app.now() THEN
		PERFORM pg_notify('job_ready', NEW.kind);
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER index AFTER INSERT OR DELETE ON app.jobs
	FOR EACH ROW EXECUTE FUNCTION sec.index_job();
CREATE TRIGGER index_update AFTER UPDATE OF state, run_after ON app.jobs
	FOR EACH ROW WHEN ((OLD.state, OLD.run_after) IS DISTINCT FROM (NEW.state, NEW.run_after))
	EXECUTE FUNCTION sec.index_job();

COMMIT;
