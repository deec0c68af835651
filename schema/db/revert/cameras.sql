-- Revert soloprint:cameras from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP FUNCTION sec.stop_camera(uuid);
DROP FUNCTION sec.request_camera(uuid, int);
DROP FUNCTION sec.camera_state(uuid);
DROP TABLE sec.camera_channels;
DROP TABLE sec.printer_cameras;

COMMIT;
