-- Revert soloprint:jobs from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP TABLE app.jobs;
DROP FUNCTION sec.index_job();
DROP TABLE sec.timers;
DROP TABLE sec.job_index;

COMMIT;
