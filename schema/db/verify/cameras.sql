-- Verify soloprint:cameras on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT printer_id, source, trouble, message, trouble_at FROM sec.printer_cameras WHERE false;
SELECT id, printer_id, fps, opened_at, ends_at, stopped FROM sec.camera_channels WHERE false;
SELECT 'sec.camera_state(uuid)'::regprocedure, 'sec.request_camera(uuid, int)'::regprocedure,
	'sec.stop_camera(uuid)'::regprocedure;

ROLLBACK;
