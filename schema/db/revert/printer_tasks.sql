-- Revert soloprint:printer_tasks from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

ALTER TABLE app.printer_status DROP COLUMN link, DROP COLUMN print_id;
DROP TABLE app.prints;
DELETE FROM sec.timers WHERE name = 'tasks_expire';

DO $$
DECLARE
	org uuid;
BEGIN
	FOR org IN SELECT i.org_id FROM sec.org_index AS i LOOP
		PERFORM pg_catalog.set_config('app.org_id', org::text, true);
		DELETE FROM app.jobs WHERE org_id = org AND kind LIKE 'printer.%';
	END LOOP;
	PERFORM pg_catalog.set_config('app.org_id', '', true);
END
$$;

DROP FUNCTION sec.tasks_expire();
DROP FUNCTION sec.task_end(uuid, uuid, bigint, text, jsonb, jsonb);
DROP FUNCTION sec.task_progress(uuid, uuid, bigint, jsonb);
DROP FUNCTION sec.task_starting(uuid, uuid, bigint);
DROP FUNCTION sec.task_held(uuid, uuid, bigint);
DROP FUNCTION sec.task_take_any(uuid, int, interval);
DROP FUNCTION sec.task_take(uuid, uuid[], uuid[]);
DROP FUNCTION sec.task_read(sec.printer_tasks, boolean);
DROP TYPE sec.task;
DROP FUNCTION sec.task_create_any(uuid, text, jsonb, interval);
DROP FUNCTION sec.task_create(uuid, text, jsonb, interval, boolean);
DROP FUNCTION sec.task_fail(sec.printer_tasks, text, text);
DROP FUNCTION sec.task_settle(sec.printer_tasks, text, jsonb, jsonb);

CREATE OR REPLACE FUNCTION sec.index_job() RETURNS trigger
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

CREATE OR REPLACE FUNCTION sec.job_cancel(job uuid) RETURNS void
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

DROP TABLE sec.printer_tasks;
DROP SEQUENCE sec.task_numbers;

UPDATE app.provider_models SET capabilities = capabilities - '{emergency_stop,home,jog,load_filament,unload_filament,clear_error,firmware_restart}'::text[]
	|| CASE protocol WHEN 'moonraker' THEN '{"light": false}'::jsonb ELSE '{}' END;

COMMIT;
