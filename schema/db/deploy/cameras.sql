-- Deploy soloprint:cameras to pg
-- requires: printer_rows
-- Who wants to see a printer, and what is known of its camera. Pictures never touch the database: gateways publish them to
-- nginx, which holds the viewers.

BEGIN;
SET LOCAL ROLE soloprint_owner;

-- As the gateway tells it while the printer is connected. source, NULL when not known: none, jpeg, http, mjpeg, rtsp; trouble: why there was no
-- picture when one was wanted last, message: the same in words.
CREATE TABLE sec.printer_cameras (
	printer_id uuid PRIMARY KEY REFERENCES sec.printer_index (printer_id) ON DELETE CASCADE,
	source text CHECK (source IN ('none', 'jpeg', 'http', 'mjpeg', 'rtsp')),
	trouble text,
	message text,
	trouble_at timestamptz,
	CONSTRAINT printer_cameras_trouble_check CHECK ((trouble IS NULL) = (message IS NULL)
		AND (trouble IS NULL) = (trouble_at IS NULL))
);
GRANT SELECT, INSERT, UPDATE ON sec.printer_cameras TO soloprint_gateway;

-- A channel of pictures. fps 0: single ones. Viewers share the channel of their rate for some minutes; it ends 15 minutes
-- after its first viewer came, and so does everyone on it.
CREATE TABLE sec.camera_channels (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	printer_id uuid NOT NULL REFERENCES sec.printer_index (printer_id) ON DELETE CASCADE,
	fps int NOT NULL CHECK (fps BETWEEN 0 AND 30),
	opened_at timestamptz NOT NULL,
	ends_at timestamptz NOT NULL,
	stopped boolean NOT NULL DEFAULT false
);
CREATE INDEX camera_channels_printer ON sec.camera_channels (printer_id, fps);
GRANT SELECT ON sec.camera_channels TO soloprint_gateway;

-- What the API may know before it answers. trouble: none, printer_not_connected, unsupported_by_printer,
-- camera_unavailable. A camera that failed is left alone for 10 s. Raises SLP10: no such printer for this key.
CREATE FUNCTION sec.camera_state(printer uuid, OUT trouble text, OUT message text)
	LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	p record;
BEGIN
	SELECT s.connection ->> 'state' AS connection, c.source, c.message, c.trouble_at INTO p
		FROM app.printers AS x JOIN app.printer_status AS s ON s.org_id = x.org_id AND s.printer_id = x.id
		LEFT JOIN sec.printer_cameras AS c ON c.printer_id = x.id
		WHERE x.org_id = app.org() AND x.id = camera_state.printer AND x.deleted_at IS NULL;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP10', MESSAGE = 'no such printer';
	ELSIF p.connection <> 'connected' THEN
		trouble := 'printer_not_connected';
		message := 'Pictures come while the printer is connected.';
	ELSIF p.source = 'none' THEN
		trouble := 'unsupported_by_printer';
		message := 'The printer has no camera, or it is switched off there.';
	ELSIF p.trouble_at > app.now() - '10 s'::interval THEN
		trouble := 'camera_unavailable';
		message := p.message;
	ELSE
		trouble := 'none';
	END IF;
END
$$;
GRANT EXECUTE ON FUNCTION sec.camera_state(uuid) TO soloprint_api;

-- Says that somebody wants to look and where the pictures will be, unless there is trouble (see above).
CREATE FUNCTION sec.request_camera(printer uuid, fps int, OUT trouble text, OUT message text, OUT channel text)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	place bigint;
BEGIN
	SELECT s.trouble, s.message INTO request_camera.trouble, request_camera.message FROM sec.camera_state(printer) AS s;
	IF trouble <> 'none' THEN
		RETURN;
	END IF;
	DELETE FROM sec.camera_channels AS c
		WHERE c.printer_id = request_camera.printer AND c.ends_at < app.now() - '1 min'::interval;
	SELECT c.id INTO place FROM sec.camera_channels AS c
		WHERE c.printer_id = request_camera.printer AND c.fps = request_camera.fps AND NOT c.stopped
			AND (c.fps = 0 OR c.opened_at > app.now() - '5 min'::interval)
		ORDER BY c.id DESC LIMIT 1;
	IF place IS NULL THEN
		INSERT INTO sec.camera_channels (printer_id, fps, opened_at, ends_at) VALUES (request_camera.printer,
				request_camera.fps, app.now(), app.now() + '15 min'::interval)
			RETURNING id INTO place;
	END IF;
	IF fps = 0 THEN
		UPDATE sec.camera_channels AS c SET ends_at = app.now() + '12 s'::interval WHERE c.id = place;
		channel := printer;
	ELSE
		channel := printer || '.' || fps || '.' || place;
	END IF;
	PERFORM pg_notify('printer_camera', printer::text);
END
$$;
GRANT EXECUTE ON FUNCTION sec.request_camera(uuid, int) TO soloprint_api;

-- Ends every viewer of the printer. Raises SLP10: no such printer for this key.
CREATE FUNCTION sec.stop_camera(printer uuid) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM FROM app.printers AS x WHERE x.org_id = app.org() AND x.id = stop_camera.printer AND x.deleted_at IS NULL;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP10', MESSAGE = 'no such printer';
	END IF;
	UPDATE sec.camera_channels AS c SET stopped = true, ends_at = app.now() WHERE c.printer_id = stop_camera.printer
		AND NOT c.stopped;
	PERFORM pg_notify('printer_camera', printer::text);
END
$$;
GRANT EXECUTE ON FUNCTION sec.stop_camera(uuid) TO soloprint_api;

COMMIT;
