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
		WHERE k <> ALL ('{org_id,id,version,created_at,updated_at,last_used_at,last_used_ip,key_hash,secret_sealed,has_secret,features,groups,metadata,thumbnails,analysis,blob_id,settings,stem,file_names,words,trigrams,document}'::text[])
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
	version int NOT NULL DEFAULT 1,
	CONSTRAINT jobs_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT jobs_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id),
	CONSTRAINT jobs_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES app.principals (org_id, id),
	CONSTRAINT jobs_finished_check CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX jobs_visible_created ON app.jobs (org_id, created_at, id) WHERE visible;
CREATE INDEX jobs_resource ON app.jobs (org_id, resource_id, id);
CREATE INDEX jobs_finished ON app.jobs (org_id, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_open ON app.jobs (org_id, kind) WHERE finished_at IS NULL;
ALTER TABLE app.jobs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.jobs
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT (org_id, id, kind, state, visible, progress, result, error, resource_type, resource_id, attempts, max_attempts,
		run_after, cancel_requested_at, created_by, created_at, started_at, finished_at, updated_at, version),
	INSERT (org_id, id, kind, visible, priority, params, resource_type, resource_id, max_attempts, run_after)
	ON app.jobs TO soloprint_api;
GRANT SELECT, INSERT (org_id, id, kind, visible, priority, params, resource_type, resource_id, max_attempts, run_after)
	ON app.jobs TO soloprint_courier;

-- Jobs that a courier still has to do something about, without their content: where couriers look. ready: due since
-- somebody looked; until then it waits for run_after. An expired lease is nobody's. The row goes when the job has ended
-- and its kind has cleared up.
CREATE TABLE sec.job_index (
	job_id uuid PRIMARY KEY,
	org_id uuid NOT NULL,
	kind text NOT NULL,
	priority smallint NOT NULL,
	run_after timestamptz NOT NULL,
	ready boolean NOT NULL,
	courier_id uuid,
	fencing bigint NOT NULL DEFAULT 0,
	expires_at timestamptz
) WITH (fillfactor = 80);
CREATE INDEX job_index_ready ON sec.job_index (org_id, priority DESC, run_after, job_id) WHERE ready AND courier_id IS NULL;
CREATE INDEX job_index_later ON sec.job_index (run_after) WHERE NOT ready;
CREATE INDEX job_index_leased ON sec.job_index (org_id) WHERE courier_id IS NOT NULL;

-- One row per worker of a courier.
CREATE TABLE sec.couriers (
	id uuid PRIMARY KEY,
	name text NOT NULL,
	started_at timestamptz NOT NULL,
	heartbeat_at timestamptz NOT NULL
);

-- What is due again and again, whoever does it.
CREATE TABLE sec.timers (
	name text PRIMARY KEY,
	every interval NOT NULL,
	next_at timestamptz NOT NULL DEFAULT app.now()
);
INSERT INTO sec.timers (name, every) VALUES ('jobs_prune', '1 hour'), ('store_sweep', '1 hour');

-- Locks are always taken in this order: the row of sec.job_index, then the one of app.jobs.
CREATE FUNCTION sec.index_job() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		DELETE FROM sec.job_index AS i WHERE i.job_id = OLD.id;
		RETURN NULL;
	END IF;
	INSERT INTO sec.job_index (job_id, org_id, kind, priority, run_after, ready)
		VALUES (NEW.id, NEW.org_id, NEW.kind, NEW.priority, NEW.run_after, NEW.run_after <= app.now());
	IF NEW.run_after <= app.now() THEN
		PERFORM pg_notify('job_ready', NEW.kind);
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER index AFTER INSERT OR DELETE ON app.jobs
	FOR EACH ROW EXECUTE FUNCTION sec.index_job();

-- The legal ways from one state to another.
CREATE FUNCTION app.guard_job_state() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
BEGIN
	IF (OLD.state, NEW.state) NOT IN (('queued', 'running'), ('queued', 'cancelled'), ('running', 'queued'),
			('running', 'succeeded'), ('running', 'failed'), ('running', 'cancelled')) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP44', MESSAGE = format('a job cannot go from %s to %s', OLD.state, NEW.state);
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER a_guard BEFORE UPDATE OF state ON app.jobs
	FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION app.guard_job_state();
CREATE TRIGGER bump_version BEFORE UPDATE ON app.jobs
	FOR EACH ROW EXECUTE FUNCTION app.bump_version();

-- Picks the next job for a courier and locks its row: first one whose courier has died, else one of an organisation that
-- has as few jobs under way as any of the next 64 that wait, in the order of their ids after `after`, the one served last,
-- and around: nobody's long queue holds up the others. NULL when there is none.
CREATE FUNCTION sec.job_pick(kinds text[], after uuid) RETURNS sec.job_index
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	first CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
	i sec.job_index;
	org uuid := after;
	around boolean := false;
	orgs uuid[] := '{}';
BEGIN
	SELECT * INTO i FROM sec.job_index AS x
		WHERE x.courier_id IS NOT NULL AND x.expires_at < now() AND x.kind = ANY (kinds)
		ORDER BY x.expires_at LIMIT 1 FOR UPDATE SKIP LOCKED;
	IF FOUND THEN
		RETURN i;
	END IF;
	WHILE cardinality(orgs) < 64 LOOP
		org := (SELECT x.org_id FROM sec.job_index AS x WHERE x.ready AND x.courier_id IS NULL AND x.kind = ANY (kinds)
			AND x.org_id > org ORDER BY x.org_id LIMIT 1);
		EXIT WHEN around AND (org IS NULL OR org > after);
		IF org IS NULL THEN
			around := true;
			org := first;
			CONTINUE;
		END IF;
		orgs := orgs || org;
		EXIT WHEN NOT EXISTS (SELECT FROM sec.job_index AS x WHERE x.org_id = org AND x.courier_id IS NOT NULL);
	END LOOP;
	FOR org IN SELECT o.org FROM unnest(orgs) WITH ORDINALITY AS o (org, n) ORDER BY (SELECT count(*) FROM sec.job_index AS x
			WHERE x.org_id = o.org AND x.courier_id IS NOT NULL), o.n LOOP
		SELECT * INTO i FROM sec.job_index AS x
			WHERE x.org_id = org AND x.ready AND x.courier_id IS NULL AND x.kind = ANY (kinds)
			ORDER BY x.priority DESC, x.run_after, x.job_id LIMIT 1 FOR UPDATE SKIP LOCKED;
		IF FOUND THEN
			RETURN i;
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;

-- Leases one job to a courier, none when nothing is due. cancelled: not to be run, only to be cleared up after.
-- attempt counts from 1; above max_attempts every attempt has died without a word. after: the organisation of the job that
-- this courier had before.
CREATE FUNCTION sec.job_claim(courier uuid, lease interval, kinds text[], after uuid)
	RETURNS TABLE (org_id uuid, id uuid, kind text, fencing bigint, attempt int, max_attempts int, params jsonb,
		resource_id uuid, created_by uuid, cancelled boolean)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	i sec.job_index;
BEGIN
	UPDATE sec.job_index AS x SET ready = true WHERE x.job_id IN (SELECT y.job_id FROM sec.job_index AS y
		WHERE NOT y.ready AND y.run_after <= app.now() ORDER BY y.run_after LIMIT 100 FOR UPDATE SKIP LOCKED);
	i := sec.job_pick(kinds, after);
	IF i.job_id IS NULL THEN
		RETURN;
	END IF;
	UPDATE sec.job_index AS x SET courier_id = courier, fencing = x.fencing + 1, expires_at = now() + lease
		WHERE x.job_id = i.job_id;
	PERFORM set_config('app.org_id', i.org_id::text, true);
	RETURN QUERY UPDATE app.jobs AS j SET
			state = CASE j.state WHEN 'queued' THEN 'running' ELSE j.state END,
			attempts = j.attempts + (j.state <> 'cancelled')::int,
			started_at = CASE WHEN j.state = 'cancelled' THEN j.started_at ELSE coalesce(j.started_at, app.now()) END
		WHERE j.org_id = i.org_id AND j.id = i.job_id
		RETURNING j.org_id, j.id, j.kind, i.fencing + 1, j.attempts, j.max_attempts, j.params, j.resource_id, j.created_by,
			j.state = 'cancelled' OR j.cancel_requested_at IS NOT NULL;
	PERFORM set_config('app.org_id', '', true);
END
$$;

-- The first statement of every transaction of a job: SLP42 unless the lease is held; the lock keeps it so until the
-- commit. The transaction then speaks for the job's organisation and for who asked for the job.
CREATE FUNCTION sec.job_enter(courier uuid, org uuid, job uuid, fencing bigint) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM FROM sec.job_index AS i WHERE i.job_id = job AND i.org_id = org AND i.courier_id = courier
		AND i.fencing = job_enter.fencing FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP42', MESSAGE = 'the lease is lost';
	END IF;
	PERFORM set_config('app.org_id', org::text, true);
	PERFORM set_config('app.principal_id', coalesce(j.created_by::text, ''), true)
		FROM app.jobs AS j WHERE j.org_id = org AND j.id = job;
	PERFORM set_config('app.request_id', 'job-' || job, true);
END
$$;

-- Renews the lease and tells progress (NULL: as before). held false: somebody else has the job, or nobody.
CREATE FUNCTION sec.job_beat(courier uuid, org uuid, job uuid, fencing bigint, lease interval, progress jsonb,
		OUT held boolean, OUT cancelled boolean)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	UPDATE sec.job_index AS i SET expires_at = now() + lease WHERE i.job_id = job AND i.org_id = org
		AND i.courier_id = courier AND i.fencing = job_beat.fencing;
	held := FOUND;
	IF held THEN
		PERFORM set_config('app.org_id', org::text, true);
		UPDATE app.jobs AS j SET progress = job_beat.progress WHERE j.org_id = org AND j.id = job
			AND j.progress IS DISTINCT FROM job_beat.progress AND job_beat.progress IS NOT NULL;
		SELECT j.cancel_requested_at IS NOT NULL INTO cancelled FROM app.jobs AS j WHERE j.org_id = org AND j.id = job;
	END IF;
END
$$;

-- The last statement of a job's last transaction, after sec.job_enter. outcome: succeeded, failed, cancelled; or retry
-- and release, which put it back, the latter as if the attempt had not been. SLP42: the lease is lost. A job that is put
-- back though it shall be cancelled is cancelled, and found again to be cleared up after.
CREATE FUNCTION sec.job_finish(courier uuid, job uuid, fencing bigint, outcome text, result jsonb, error jsonb,
		wait interval) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	org uuid := app.org();
	back boolean := outcome IN ('retry', 'release');
	next timestamptz := app.now() + coalesce(wait, '0'::interval);
BEGIN
	UPDATE sec.job_index AS i SET courier_id = NULL, expires_at = NULL, run_after = next, ready = next <= app.now()
		WHERE i.job_id = job AND i.org_id = org AND i.courier_id = courier AND i.fencing = job_finish.fencing;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP42', MESSAGE = 'the lease is lost';
	END IF;
	IF back THEN
		UPDATE app.jobs AS j SET state = CASE WHEN j.state = 'cancelled' OR j.cancel_requested_at IS NOT NULL
					THEN 'cancelled' ELSE 'queued' END,
				finished_at = CASE WHEN j.state = 'cancelled' OR j.cancel_requested_at IS NOT NULL
					THEN coalesce(j.finished_at, app.now()) END,
				attempts = greatest(j.attempts - (outcome = 'release' AND j.state = 'running')::int, 0),
				error = CASE outcome WHEN 'retry' THEN job_finish.error ELSE j.error END,
				run_after = next
			WHERE j.org_id = org AND j.id = job;
		IF next <= app.now() THEN
			PERFORM pg_notify('job_ready', '');
		END IF;
		RETURN;
	END IF;
	UPDATE app.jobs AS j SET state = CASE WHEN j.state = 'cancelled' THEN j.state ELSE outcome END, params = '{}',
			result = job_finish.result, error = job_finish.error, finished_at = coalesce(j.finished_at, app.now()),
			attempts = least(j.attempts, j.max_attempts)
		WHERE j.org_id = org AND j.id = job;
	DELETE FROM sec.job_index AS i WHERE i.job_id = job;
END
$$;

-- What POST /v1/operations/{id}/cancel does: who waits is cancelled at once, who runs is told. SLP10: no such operation;
-- SLP43: it has ended.
CREATE FUNCTION sec.job_cancel(job uuid) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	org uuid := app.org();
	was text;
BEGIN
	PERFORM FROM sec.job_index AS i WHERE i.job_id = job AND i.org_id = org FOR UPDATE;
	SELECT j.state INTO was FROM app.jobs AS j WHERE j.org_id = org AND j.id = job AND j.visible FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP10', MESSAGE = 'no such operation';
	ELSIF was = 'queued' THEN
		UPDATE app.jobs AS j SET state = 'cancelled', cancel_requested_at = app.now(), finished_at = app.now(), error = NULL
			WHERE j.org_id = org AND j.id = job;
		UPDATE sec.job_index AS i SET run_after = app.now(), ready = true WHERE i.job_id = job;
		PERFORM pg_notify('job_ready', '');
	ELSIF was = 'running' THEN
		UPDATE app.jobs AS j SET cancel_requested_at = coalesce(j.cancel_requested_at, app.now())
			WHERE j.org_id = org AND j.id = job;
	ELSE
		RAISE EXCEPTION USING ERRCODE = 'SLP43', MESSAGE = 'the operation has ended';
	END IF;
END
$$;
GRANT EXECUTE ON FUNCTION sec.job_cancel(uuid) TO soloprint_api;

-- One of the timers that are due, for this courier to do now; NULL when there is none. A clock that went back does not
-- stop them.
CREATE FUNCTION sec.timer_claim(names text[]) RETURNS text
	LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		UPDATE sec.timers AS t SET next_at = app.now() + t.every WHERE t.name = (SELECT x.name FROM sec.timers AS x
				WHERE x.name = ANY (timer_claim.names) AND (x.next_at <= app.now() OR x.next_at > app.now() + x.every)
				ORDER BY x.next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
			RETURNING t.name;
	END;

-- Says that a worker lives, and forgets those that have long been silent.
CREATE FUNCTION sec.courier_beat(courier uuid, name text) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	INSERT INTO sec.couriers AS c (id, name, started_at, heartbeat_at)
		VALUES (courier, courier_beat.name, now(), now())
		ON CONFLICT (id) DO UPDATE SET heartbeat_at = now();
	DELETE FROM sec.couriers AS c WHERE c.id IN (SELECT x.id FROM sec.couriers AS x
		WHERE x.heartbeat_at < now() - '1 hour'::interval FOR UPDATE SKIP LOCKED);
END
$$;

CREATE FUNCTION sec.courier_leave(courier uuid) RETURNS void
	LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		DELETE FROM sec.couriers AS c WHERE c.id = courier_leave.courier;
	END;

-- For the health page: how many workers have reported within 15 s, when the last one did, how many jobs are under way
-- and how many could be (counted up to 10,000).
CREATE FUNCTION sec.courier_health(OUT alive int, OUT last_heartbeat_at timestamptz, OUT running int, OUT waiting int)
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT count(*) FILTER (WHERE c.heartbeat_at > now() - '15 s'::interval)::int, max(c.heartbeat_at),
			(SELECT count(*) FROM sec.job_index AS i WHERE i.courier_id IS NOT NULL)::int,
			(SELECT count(*) FROM (SELECT FROM sec.job_index AS i WHERE i.ready AND i.courier_id IS NULL LIMIT 10000) AS w)::int
			FROM sec.couriers AS c;
	END;
GRANT EXECUTE ON FUNCTION sec.courier_health() TO soloprint_api, soloprint_auth, soloprint_migrator;

-- Forgets what one organisation no longer needs: the next one after `after`, at most so many rows of each table. next:
-- what to give as `after` the next time, the same again when there is more; NULL when all have been seen.
CREATE FUNCTION sec.jobs_prune(after uuid, age interval, most int, OUT next uuid, OUT jobs int, OUT keys int)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	org uuid;
BEGIN
	jobs := 0;
	keys := 0;
	SELECT o.org_id INTO org FROM sec.org_index AS o
		WHERE o.org_id > coalesce(after, '00000000-0000-0000-0000-000000000000') ORDER BY o.org_id LIMIT 1;
	IF org IS NULL THEN
		RETURN;
	END IF;
	PERFORM set_config('app.org_id', org::text, true);
	DELETE FROM app.jobs AS j WHERE j.org_id = org AND j.id IN (SELECT x.id FROM app.jobs AS x
		WHERE x.org_id = org AND x.finished_at < app.now() - age LIMIT most FOR UPDATE SKIP LOCKED);
	GET DIAGNOSTICS jobs = ROW_COUNT;
	DELETE FROM app.idempotency_keys AS k WHERE k.ctid = ANY (ARRAY(SELECT x.ctid FROM app.idempotency_keys AS x
		WHERE x.org_id = org AND x.expires_at <= app.now() LIMIT most FOR UPDATE SKIP LOCKED));
	GET DIAGNOSTICS keys = ROW_COUNT;
	next := CASE WHEN jobs = most OR keys = most THEN coalesce(after, '00000000-0000-0000-0000-000000000000') ELSE org END;
	PERFORM set_config('app.org_id', '', true);
END
$$;

GRANT EXECUTE ON FUNCTION sec.job_claim(uuid, interval, text[], uuid), sec.job_enter(uuid, uuid, uuid, bigint),
	sec.job_beat(uuid, uuid, uuid, bigint, interval, jsonb),
	sec.job_finish(uuid, uuid, bigint, text, jsonb, jsonb, interval), sec.timer_claim(text[]),
	sec.courier_beat(uuid, text), sec.courier_leave(uuid), sec.jobs_prune(uuid, interval, int)
	TO soloprint_courier;

COMMIT;
