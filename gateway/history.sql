-- The printers' history; COPY has no parameters and cannot be prepared.

-- name: gw_history :exec
COPY sec.printer_history (org_id, printer_id, at, id, kind, detail) FROM STDIN;
