-- Deploy soloprint:events to pg
-- requires: queue_rows
-- From the outbox to the log: what happened, in the order in which readers can see it. A sequence that was drawn when a row
-- was written would be no such order, since transactions commit in another one: so the courier that leads moves rows from
-- the outbox into the log and counts there, per organisation, without gaps.

BEGIN;
SET LOCAL ROLE soloprint_owner;

-- --- the catalogue ------------------------------------------------------------------------------

-- title: {member} stands for a member of data. available: false for what nothing sends yet.
CREATE TABLE app.event_types (
	type text PRIMARY KEY CHECK (type ~ '^[a-z_]+\.[a-z_]+$'),
	capability text NOT NULL,
	severity text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
	title text NOT NULL,
	description text NOT NULL,
	example jsonb NOT NULL CHECK (jsonb_typeof(example) = 'object'),
	available boolean NOT NULL DEFAULT true
);
GRANT SELECT ON app.event_types TO soloprint_api, soloprint_courier;
INSERT INTO app.event_types (type, capability, severity, title, description, example, available) VALUES
	('printer.created', 'operations.read', 'info', 'Printer {name} was added', 'A printer was added.',
		'{"printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "name": "Prusa MK4 1"}', true),
	('printer.updated', 'operations.read', 'info', 'Printer {name} was changed', 'Its configuration was changed; `changed` names the members.',
		'{"printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "name": "Prusa MK4 1", "changed": ["location"]}', true),
	('printer.deleted', 'operations.read', 'info', 'Printer {name} was removed', 'A printer was removed.',
		'{"printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "name": "Prusa MK4 1"}', true),
	('printer.state_changed', 'operations.read', 'info', '{name}: {from} → {to}', 'Its state changed. `job_outcome` says how a job ended.',
		'{"printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "name": "Prusa MK4 1", "from": "printing", "to": "finished", "job_outcome": "completed"}', true),
	('printer.online', 'operations.read', 'info', '{name} is online', 'The gateway is connected with it.',
		'{"printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "name": "Prusa MK4 1"}', true),
	('printer.offline', 'operations.read', 'warning', '{name} is offline', 'The connection was lost; `reason` as in its diagnostics.',
		'{"printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "name": "Prusa MK4 1", "reason": "unreachable"}', true),
	('printer.error', 'operations.read', 'critical', '{name}: {message}', 'It reports an error that was not there before: code, severity and text by its vendor.',
		'{"printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "name": "Prusa MK4 1", "code": "0300_0100_0001_0001", "severity": "serious", "message": "The heatbed temperature is abnormal.", "url": null}', true),
	('printer.plate_cleared', 'operations.read', 'info', 'The plate of {name} was cleared', 'Somebody has taken the print off.',
		'{"printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "name": "Prusa MK4 1"}', true),
	('printer_group.created', 'operations.read', 'info', 'Group {name} was created', 'A group of printers was created.',
		'{"printer_group_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Ring"}', true),
	('printer_group.updated', 'operations.read', 'info', 'Group {name} was changed', 'A group of printers was changed.',
		'{"printer_group_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Ring", "changed": ["name"]}', true),
	('printer_group.deleted', 'operations.read', 'info', 'Group {name} was removed', 'A group of printers was removed.',
		'{"printer_group_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Ring"}', true),
	('print.started', 'operations.read', 'info', '{name} started on {printer_name}', 'A print began, whoever started it.',
		'{"print_id": "0193481c-9c30-7a66-9f43-7b8c9d0e1f2a", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "printer_name": "Prusa MK4 1", "name": "Gear", "filename": "gear.gcode", "file_id": "0193481c-8b20-7f55-8e32-6a7b8c9d0e1f", "source": "send", "queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "operation_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "status": "running", "progress": null, "started_at": "2026-11-20T08:00:00.000Z", "ended_at": null, "duration_s": 0}', true),
	('print.progress', 'operations.read', 'info', '{name} on {printer_name}: {progress} %', 'A quarter, a half, three quarters are done. Each is told once.',
		'{"print_id": "0193481c-9c30-7a66-9f43-7b8c9d0e1f2a", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "printer_name": "Prusa MK4 1", "name": "Gear", "filename": "gear.gcode", "file_id": "0193481c-8b20-7f55-8e32-6a7b8c9d0e1f", "source": "send", "queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "operation_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "status": "running", "progress": 50, "started_at": "2026-11-20T08:00:00.000Z", "ended_at": null, "duration_s": 4050, "remaining_s": 4050, "milestone": 50}', true),
	('print.completed', 'operations.read', 'info', '{name} completed on {printer_name}', 'A print ended well.',
		'{"print_id": "0193481c-9c30-7a66-9f43-7b8c9d0e1f2a", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "printer_name": "Prusa MK4 1", "name": "Gear", "filename": "gear.gcode", "file_id": "0193481c-8b20-7f55-8e32-6a7b8c9d0e1f", "source": "send", "queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "operation_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "status": "completed", "progress": 100, "started_at": "2026-11-20T08:00:00.000Z", "ended_at": "2026-11-20T10:15:00.000Z", "duration_s": 8100}', true),
	('print.failed', 'operations.read', 'warning', '{name} failed on {printer_name}', 'The printer says that the print failed.',
		'{"print_id": "0193481c-9c30-7a66-9f43-7b8c9d0e1f2a", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "printer_name": "Prusa MK4 1", "name": "Gear", "filename": "gear.gcode", "file_id": "0193481c-8b20-7f55-8e32-6a7b8c9d0e1f", "source": "send", "queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "operation_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "status": "failed", "progress": 61, "started_at": "2026-11-20T08:00:00.000Z", "ended_at": "2026-11-20T10:15:00.000Z", "duration_s": 8100}', true),
	('print.cancelled', 'operations.read', 'info', '{name} was cancelled on {printer_name}', 'A print was cancelled, here or at the printer.',
		'{"print_id": "0193481c-9c30-7a66-9f43-7b8c9d0e1f2a", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "printer_name": "Prusa MK4 1", "name": "Gear", "filename": "gear.gcode", "file_id": "0193481c-8b20-7f55-8e32-6a7b8c9d0e1f", "source": "send", "queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "operation_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "status": "cancelled", "progress": 61, "started_at": "2026-11-20T08:00:00.000Z", "ended_at": "2026-11-20T10:15:00.000Z", "duration_s": 8100}', true),
	('print.ended_unknown', 'operations.read', 'warning', 'Nobody saw how {name} ended on {printer_name}', 'A print ended while nobody was connected.',
		'{"print_id": "0193481c-9c30-7a66-9f43-7b8c9d0e1f2a", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "printer_name": "Prusa MK4 1", "name": "Gear", "filename": "gear.gcode", "file_id": "0193481c-8b20-7f55-8e32-6a7b8c9d0e1f", "source": "send", "queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "operation_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "status": "unknown", "progress": 61, "started_at": "2026-11-20T08:00:00.000Z", "ended_at": "2026-11-20T10:15:00.000Z", "duration_s": 8100}', true),
	('queue_item.created', 'operations.read', 'info', '{name} was added to the queue', 'An item was added.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "queued", "printer_id": null, "generation": 0}', true),
	('queue_item.updated', 'operations.read', 'info', '{name} was changed', 'Somebody changed it; `changed` names the members.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "queued", "printer_id": null, "generation": 0, "changed": ["priority"]}', true),
	('queue_item.deleted', 'operations.read', 'info', '{name} was deleted', 'An item was deleted.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "cancelled", "printer_id": null, "generation": 0}', true),
	('queue_item.queued', 'operations.read', 'info', '{name} is queued', 'A draft was released.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "queued", "printer_id": null, "generation": 0}', true),
	('queue_item.approved', 'operations.read', 'info', '{name} was approved', 'An approval was given; the item is queued.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "queued", "printer_id": null, "generation": 0}', true),
	('queue_item.rejected', 'operations.read', 'warning', '{name} was rejected', 'An approval was refused.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "rejected", "printer_id": null, "generation": 0}', true),
	('queue_item.held', 'operations.read', 'info', '{name} is held', 'It waits until it is released.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "queued", "printer_id": null, "generation": 0}', true),
	('queue_item.released', 'operations.read', 'info', '{name} was released', 'It is no longer held.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "queued", "printer_id": null, "generation": 0}', true),
	('queue_item.assigned', 'operations.read', 'info', '{name} was assigned', 'It has a printer.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "assigned", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "generation": 1}', true),
	('queue_item.unassigned', 'operations.read', 'info', '{name} was unassigned', 'It is back in the queue.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "queued", "printer_id": null, "generation": 1}', true),
	('queue_item.dispatched', 'operations.read', 'info', '{name} is being sent', 'It is on its way to the printer.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "dispatching", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "generation": 1}', true),
	('queue_item.started', 'operations.read', 'info', '{name} is printing', 'It prints.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "printing", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "generation": 1}', true),
	('queue_item.paused', 'operations.read', 'info', '{name} is paused', 'Its print is paused.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "paused", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "generation": 1}', true),
	('queue_item.resumed', 'operations.read', 'info', '{name} goes on', 'Its print goes on.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "printing", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "generation": 1}', true),
	('queue_item.cancel_requested', 'operations.read', 'info', '{name} is being cancelled', 'It ends once the printer has stopped.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "printing", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "generation": 1}', true),
	('queue_item.completed', 'operations.read', 'info', '{name} is done', 'It ended well.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "completed", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "generation": 1}', true),
	('queue_item.failed', 'operations.read', 'warning', '{name} failed', 'It ended badly; `error` says why.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "failed", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "generation": 3, "error": {"code": "upload_failed", "message": "The printer broke off the upload.", "at": "2026-11-20T10:15:00.000Z"}}', true),
	('queue_item.cancelled', 'operations.read', 'info', '{name} was cancelled', 'It was cancelled.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "cancelled", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "generation": 1, "error": null}', true),
	('queue_item.requeued', 'operations.read', 'warning', '{name} is back in the queue', 'It could not be started; `error` says why.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "queued", "printer_id": null, "generation": 1, "error": {"code": "upload_failed", "message": "The printer broke off the upload.", "at": "2026-11-20T10:15:00.000Z"}}', true),
	('queue_item.start_unknown', 'operations.read', 'critical', 'Nobody knows whether {name} started', 'It waits for somebody who looks; see resolve.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "start_unknown", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "generation": 1, "error": {"code": "outcome_unknown", "message": "Nobody saw whether the print began.", "at": "2026-11-20T10:15:00.000Z"}}', true),
	('queue_item.blocked', 'operations.read', 'warning', 'No printer can take {name}', 'As things stand no printer could ever take it; `reasons` as in its eligibility.',
		'{"queue_item_id": "0193481c-7a10-7c44-9d21-5f6e7a8b9c0d", "name": "Gear", "state": "queued", "printer_id": null, "generation": 0, "reasons": [{"code": "volume_exceeded", "severity": "hard", "printers": 3}]}', true),
	('file.created', 'operations.read', 'info', 'File {name} was announced', 'An upload or import was announced, or it was uploaded in one.',
		'{"file_id": "0193481c-8b20-7f55-8e32-6a7b8c9d0e1f", "name": "gear.gcode"}', true),
	('file.ready', 'operations.read', 'info', 'File {filename} is ready', 'Its content is there and checked.',
		'{"file_id": "0193481c-8b20-7f55-8e32-6a7b8c9d0e1f", "filename": "gear.gcode", "kind": "gcode", "size_bytes": 482133, "model_id": null, "reason": null}', true),
	('file.failed', 'operations.read', 'warning', 'File {filename} failed', 'Its upload or import failed; `reason` says why.',
		'{"file_id": "0193481c-8b20-7f55-8e32-6a7b8c9d0e1f", "filename": "gear.gcode", "kind": "stl", "size_bytes": null, "model_id": null, "reason": {"code": "sha256_mismatch", "message": "Other bytes came than were announced."}}', true),
	('file.deleted', 'operations.read', 'info', 'File {name} was deleted', 'It is in the trash.',
		'{"file_id": "0193481c-8b20-7f55-8e32-6a7b8c9d0e1f", "name": "gear.gcode"}', true),
	('model.created', 'operations.read', 'info', 'Model {name} was created', 'A model was created.',
		'{"model_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Ring"}', true),
	('model.deleted', 'operations.read', 'info', 'Model {name} was deleted', 'A model was deleted.',
		'{"model_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Ring"}', true),
	('collection.created', 'operations.read', 'info', 'Collection {name} was created', 'A collection was created.',
		'{"collection_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Ring"}', true),
	('collection.deleted', 'operations.read', 'info', 'Collection {name} was deleted', 'A collection was deleted.',
		'{"collection_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Ring"}', true),
	('api_key.created', 'integrations.manage', 'info', 'API key {name} was created', 'A key was created.',
		'{"api_key_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Queue integration"}', true),
	('api_key.rotated', 'integrations.manage', 'info', 'API key {name} was rotated', 'A successor was created.',
		'{"api_key_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Queue integration"}', true),
	('api_key.revoked', 'integrations.manage', 'warning', 'API key {name} was revoked', 'A key was revoked.',
		'{"api_key_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Queue integration"}', true),
	('webhook.created', 'integrations.manage', 'info', 'Webhook {name} was created', 'A webhook was created.',
		'{"webhook_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Operations"}', true),
	('webhook.updated', 'integrations.manage', 'info', 'Webhook {name} was changed', 'A webhook was changed; `changed` names the members.',
		'{"webhook_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Operations", "changed": ["subscriptions"]}', true),
	('webhook.deleted', 'integrations.manage', 'info', 'Webhook {name} was deleted', 'A webhook was deleted.',
		'{"webhook_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Operations"}', true),
	('webhook.disabled', 'integrations.manage', 'critical', 'Webhook {name} was switched off', 'It answered 410, or failed for five days. `reason`: gone, failing.',
		'{"webhook_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Operations", "reason": "failing", "failing_since": "2026-11-15T10:00:00.000Z"}', true),
	('notification_rule.created', 'integrations.manage', 'info', 'Notification rule {name} was created', 'A rule was created.',
		'{"notification_rule_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Failures"}', true),
	('notification_rule.updated', 'integrations.manage', 'info', 'Notification rule {name} was changed', 'A rule was changed; `changed` names the members.',
		'{"notification_rule_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Failures", "changed": ["events"]}', true),
	('notification_rule.deleted', 'integrations.manage', 'info', 'Notification rule {name} was deleted', 'A rule was deleted.',
		'{"notification_rule_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Failures"}', true),
	('spool.low_stock', 'operations.read', 'warning', 'Spool {name} is low', 'Less is left than its threshold.',
		'{"spool_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "PLA black", "remaining_mg": 84000, "threshold_mg": 100000}', false),
	('spool.empty', 'operations.read', 'warning', 'Spool {name} is empty', 'Nothing is left.',
		'{"spool_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "PLA black", "remaining_mg": 0}', false),
	('spool_assignment.created', 'operations.read', 'info', 'Spool {name} was loaded', 'A spool was put into a slot.',
		'{"spool_assignment_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "spool_id": "0193481c-9c30-7a66-9f43-7b8c9d0e1f2a", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "name": "PLA black", "slot": 1}', false),
	('spool_assignment.ended', 'operations.read', 'info', 'Spool {name} was unloaded', 'A spool was taken out of a slot.',
		'{"spool_assignment_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "spool_id": "0193481c-9c30-7a66-9f43-7b8c9d0e1f2a", "printer_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "name": "PLA black", "slot": 1}', false),
	('member.invited', 'org.manage_users', 'info', '{name} was invited', 'Somebody was invited.',
		'{"member_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Kim"}', false),
	('member.joined', 'org.manage_users', 'info', '{name} joined', 'An invitation was taken.',
		'{"member_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Kim"}', false),
	('member.updated', 'org.manage_users', 'info', '{name} was changed', 'Roles or groups were changed.',
		'{"member_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Kim", "changed": ["role"]}', false),
	('member.removed', 'org.manage_users', 'info', '{name} was removed', 'Somebody is no longer a member.',
		'{"member_id": "0193481c-ad40-7b77-8054-8c9d0e1f2a3b", "name": "Kim"}', false);

CREATE FUNCTION app.event_title(template text, data jsonb) RETURNS text
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	AS $$
DECLARE
	out text := template;
	member text;
BEGIN
	FOR member IN SELECT m[1] FROM regexp_matches(template, '\{([a-z_]+)\}', 'g') AS m LOOP
		out := replace(out, '{' || member || '}', coalesce(nullif(left(data ->> member, 200), ''), '?'));
	END LOOP;
	RETURN out;
END
$$;

-- Does a list of types and wildcards ("*", "queue_item.*") hold this type?
CREATE FUNCTION app.event_wanted(patterns text[], type text) RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN patterns && ARRAY['*', split_part(type, '.', 1) || '.*', type];

-- --- the log ------------------------------------------------------------------------------------

-- printer_id: of a printer's own events and of those that name one; rows without are not for keys that are bound to printers.
CREATE TABLE app.events (
	org_id uuid NOT NULL,
	sequence bigint NOT NULL CHECK (sequence > 0),
	id uuid NOT NULL,
	type text NOT NULL,
	capability text NOT NULL,
	data jsonb NOT NULL,
	resource_type text NOT NULL,
	resource_id uuid NOT NULL,
	printer_id uuid,
	item_id uuid,
	created_at timestamptz NOT NULL,
	published_at timestamptz NOT NULL DEFAULT app.now(),
	CONSTRAINT events_pkey PRIMARY KEY (org_id, sequence),
	CONSTRAINT events_id_key UNIQUE (org_id, id),
	CONSTRAINT events_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id)
);
CREATE INDEX events_published ON app.events (org_id, published_at);
CREATE INDEX events_type ON app.events (org_id, type, sequence);
CREATE INDEX events_printer ON app.events (org_id, printer_id, sequence) WHERE printer_id IS NOT NULL;
ALTER TABLE app.events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.events
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])))
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])));
GRANT SELECT ON app.events TO soloprint_api;

-- What is older than this may be forgotten, and nothing younger.
CREATE FUNCTION app.event_age() RETURNS interval
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN '30 days'::interval;

CREATE FUNCTION app.keep_events() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
BEGIN
	IF OLD.published_at > app.now() - app.event_age() THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP90', MESSAGE = 'events are kept for 30 days';
	END IF;
	RETURN OLD;
END
$$;
CREATE TRIGGER keep BEFORE DELETE ON app.events
	FOR EACH ROW EXECUTE FUNCTION app.keep_events();
CREATE TRIGGER append_only BEFORE UPDATE ON app.events
	FOR EACH ROW EXECUTE FUNCTION app.append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.events
	FOR EACH STATEMENT EXECUTE FUNCTION app.append_only();

-- The last sequence of each organisation, and the oldest that is kept.
CREATE TABLE sec.event_heads (
	org_id uuid PRIMARY KEY,
	last bigint NOT NULL DEFAULT 0,
	forgotten bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- The event as everybody is given it, with its members in this order.
CREATE FUNCTION app.event_payload(id uuid, type text, at timestamptz, org uuid, sequence bigint, data jsonb) RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN format('{"id":"%s","type":"%s","timestamp":"%s","organization_id":"%s","sequence":%s,"data":%s}', id, type, app.rfc3339(at), org,
		coalesce(sequence::text, 'null'), data);

-- What the credential of this request may see events of.
CREATE FUNCTION app.my_capabilities() RETURNS text[]
	LANGUAGE sql STABLE
	RETURN coalesce((SELECT k.capabilities FROM app.api_keys AS k WHERE k.org_id = app.org() AND k.id = app.key()), '{}');

-- Where an event goes: everybody with its capability, its printer's and its item's viewers.
CREATE FUNCTION app.event_channels(org uuid, capability text, printer_id uuid, item_id uuid) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN concat_ws(',', org || '.' || replace(capability, '.', '-'), 'printer.' || printer_id, 'item.' || item_id);

-- --- what waits to be published -----------------------------------------------------------------

-- Rows of the outbox, without their content: where the courier looks.
CREATE TABLE sec.outbox_index (
	sequence bigint PRIMARY KEY,
	org_id uuid NOT NULL
);
CREATE FUNCTION sec.index_outbox() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	INSERT INTO sec.outbox_index (sequence, org_id) VALUES (NEW.sequence, NEW.org_id);
	RETURN NULL;
END
$$;
CREATE TRIGGER index AFTER INSERT ON app.outbox
	FOR EACH ROW EXECUTE FUNCTION sec.index_outbox();
-- The publisher moves rows on; nobody changes them.
DROP TRIGGER append_only ON app.outbox;
CREATE TRIGGER append_only BEFORE UPDATE ON app.outbox
	FOR EACH ROW EXECUTE FUNCTION app.append_only();
-- What was written before this.
ALTER TABLE app.outbox NO FORCE ROW LEVEL SECURITY;
INSERT INTO sec.outbox_index (sequence, org_id) SELECT o.sequence, o.org_id FROM app.outbox AS o;
ALTER TABLE app.outbox FORCE ROW LEVEL SECURITY;

-- One courier of all publishes at a time, so that order is one.
CREATE TABLE sec.publisher (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	courier_id uuid,
	expires_at timestamptz NOT NULL DEFAULT '-infinity',
	keys_looked_at timestamptz NOT NULL DEFAULT app.now()
) WITH (fillfactor = 50);
INSERT INTO sec.publisher DEFAULT VALUES;

-- What nginx has to be told: messages for channels, and channels whose viewers are to go.
CREATE TABLE sec.stream_queue (
	n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	kind text NOT NULL CHECK (kind IN ('event', 'end')),
	channels text NOT NULL,
	payload text,
	at timestamptz NOT NULL DEFAULT app.now()
);

-- --- who may look no longer ---------------------------------------------------------------------

CREATE FUNCTION sec.end_key_streams() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	INSERT INTO sec.stream_queue (kind, channels) VALUES ('end', 'key.' || OLD.id);
	RETURN NULL;
END
$$;
CREATE TRIGGER end_streams AFTER UPDATE ON app.api_keys
	FOR EACH ROW WHEN ((OLD.revoked_at, OLD.expires_at, OLD.capabilities, OLD.printer_ids, OLD.cidrs)
		IS DISTINCT FROM (NEW.revoked_at, NEW.expires_at, NEW.capabilities, NEW.printer_ids, NEW.cidrs))
	EXECUTE FUNCTION sec.end_key_streams();
CREATE TRIGGER end_streams_delete AFTER DELETE ON app.api_keys
	FOR EACH ROW EXECUTE FUNCTION sec.end_key_streams();
-- Keys whose time is over are looked for by the publisher: it has no organisation, so the index says it.
ALTER TABLE sec.key_index ADD COLUMN expires_at timestamptz;
CREATE INDEX key_index_expires ON sec.key_index (expires_at) WHERE expires_at IS NOT NULL;
CREATE FUNCTION sec.index_key_expiry() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	UPDATE sec.key_index AS i SET expires_at = NEW.expires_at WHERE i.key_hash = NEW.key_hash;
	RETURN NULL;
END
$$;
CREATE TRIGGER index_expiry AFTER INSERT ON app.api_keys
	FOR EACH ROW WHEN (NEW.expires_at IS NOT NULL) EXECUTE FUNCTION sec.index_key_expiry();
CREATE TRIGGER index_expiry_update AFTER UPDATE OF expires_at ON app.api_keys
	FOR EACH ROW WHEN (OLD.expires_at IS DISTINCT FROM NEW.expires_at) EXECUTE FUNCTION sec.index_key_expiry();
ALTER TABLE app.api_keys NO FORCE ROW LEVEL SECURITY;
UPDATE sec.key_index AS i SET expires_at = k.expires_at FROM app.api_keys AS k WHERE k.key_hash = i.key_hash AND k.expires_at IS NOT NULL;
ALTER TABLE app.api_keys FORCE ROW LEVEL SECURITY;

CREATE FUNCTION sec.end_org_streams() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	INSERT INTO sec.stream_queue (kind, channels) VALUES ('end', 'org.' || NEW.org_id);
	RETURN NULL;
END
$$;
CREATE TRIGGER end_streams AFTER UPDATE OF state ON app.organizations
	FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION sec.end_org_streams();

-- --- events that were not told yet --------------------------------------------------------------

CREATE FUNCTION sec.tell(org uuid, type text, capability text, resource_type text, resource_id uuid, data jsonb) RETURNS void
	LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		INSERT INTO app.outbox (org_id, type, capability, resource_type, resource_id, data)
			VALUES (tell.org, tell.type, tell.capability, tell.resource_type, tell.resource_id, tell.data);
	END;

-- Speaks for an organisation from here on; returns for whom the transaction spoke before. Reports of printers are also written by
-- those who speak for nobody.
CREATE FUNCTION sec.speak_for(org text) RETURNS text
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	before CONSTANT text := coalesce(current_setting('app.org_id', true), '');
BEGIN
	PERFORM set_config('app.org_id', org, true);
	RETURN before;
END
$$;

CREATE FUNCTION sec.print_data(p app.prints) RETURNS jsonb
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT jsonb_build_object('print_id', p.id, 'printer_id', p.printer_id, 'printer_name', (SELECT x.name FROM app.printers AS x
				WHERE x.org_id = p.org_id AND x.id = p.printer_id), 'name', p.name, 'filename', p.filename, 'file_id', p.file_id, 'source', p.source,
			'queue_item_id', (SELECT d.item_id FROM app.queue_dispatches AS d WHERE d.org_id = p.org_id AND d.operation_id = p.operation_id),
			'operation_id', p.operation_id, 'status', p.state, 'progress', p.progress, 'started_at', app.rfc3339(p.started_at),
			'ended_at', app.rfc3339(p.ended_at), 'duration_s', extract(epoch FROM coalesce(p.ended_at, app.now()) - p.started_at)::int);
	END;

-- print.started, and how it ended.
CREATE FUNCTION sec.tell_print() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	spoke CONSTANT text := sec.speak_for(NEW.org_id::text);
	data CONSTANT jsonb := sec.print_data(NEW);
BEGIN
	IF TG_OP = 'INSERT' THEN
		PERFORM sec.tell(NEW.org_id, 'print.started', 'operations.read', 'print', NEW.id,
			data || '{"status": "running", "ended_at": null, "duration_s": 0}');
	END IF;
	IF NEW.state <> 'running' THEN
		PERFORM sec.tell(NEW.org_id, 'print.' || CASE NEW.state WHEN 'unknown' THEN 'ended_unknown' ELSE NEW.state END, 'operations.read',
			'print', NEW.id, data);
	END IF;
	PERFORM sec.speak_for(spoke);
	RETURN NULL;
END
$$;
CREATE TRIGGER tell AFTER INSERT ON app.prints
	FOR EACH ROW EXECUTE FUNCTION sec.tell_print();
CREATE TRIGGER tell_update AFTER UPDATE OF state ON app.prints
	FOR EACH ROW WHEN (OLD.state <> NEW.state AND NEW.state <> 'running') EXECUTE FUNCTION sec.tell_print();

-- A quarter, a half, three quarters: told once each, also when progress goes back.
ALTER TABLE app.prints ADD COLUMN milestone smallint NOT NULL DEFAULT 0 CHECK (milestone IN (0, 25, 50, 75));
CREATE FUNCTION app.milestone(job jsonb) RETURNS int
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE WHEN jsonb_typeof(job -> 'progress') = 'number' THEN least(75, floor((job ->> 'progress')::numeric / 25)::int * 25) END;
CREATE FUNCTION sec.tell_progress() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	spoke CONSTANT text := sec.speak_for(NEW.org_id::text);
	reached CONSTANT int := app.milestone(NEW.job);
	p app.prints;
BEGIN
	UPDATE app.prints AS x SET milestone = reached WHERE x.org_id = NEW.org_id AND x.id = NEW.print_id AND x.state = 'running'
		AND x.milestone < reached RETURNING x.* INTO p;
	IF FOUND THEN
		PERFORM sec.tell(NEW.org_id, 'print.progress', 'operations.read', 'print', p.id,
			sec.print_data(p) || jsonb_build_object('progress', reached, 'milestone', reached, 'remaining_s', NEW.job -> 'remaining_s'));
	END IF;
	PERFORM sec.speak_for(spoke);
	RETURN NULL;
END
$$;
CREATE TRIGGER tell_progress AFTER UPDATE OF job ON app.printer_status
	FOR EACH ROW WHEN (NEW.print_id IS NOT NULL AND app.milestone(NEW.job) > coalesce(app.milestone(OLD.job), 0))
	EXECUTE FUNCTION sec.tell_progress();

-- printer.error: one for each code that was not there before.
CREATE FUNCTION sec.tell_errors() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	spoke CONSTANT text := sec.speak_for(NEW.org_id::text);
	e jsonb;
BEGIN
	FOR e IN SELECT x FROM jsonb_array_elements(NEW.errors) AS x
			WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(OLD.errors) AS y WHERE y -> 'code' = x -> 'code') LIMIT 10 LOOP
		PERFORM sec.tell(NEW.org_id, 'printer.error', 'operations.read', 'printer', NEW.printer_id,
			jsonb_build_object('printer_id', NEW.printer_id, 'name', (SELECT p.name FROM app.printers AS p WHERE p.org_id = NEW.org_id
				AND p.id = NEW.printer_id)) || jsonb_build_object('code', e -> 'code', 'severity', e -> 'severity', 'message', e -> 'message',
				'url', e -> 'url'));
	END LOOP;
	PERFORM sec.speak_for(spoke);
	RETURN NULL;
END
$$;
CREATE TRIGGER tell_errors AFTER UPDATE OF errors ON app.printer_status
	FOR EACH ROW WHEN (NEW.errors <> '[]' AND OLD.errors <> NEW.errors) EXECUTE FUNCTION sec.tell_errors();

-- As before; files have a filename for a name.
CREATE OR REPLACE FUNCTION sec.audit() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
	is_now jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
	one jsonb := coalesce(is_now, was);
	verb text := sec.row_verb(was, is_now);
	changes jsonb := sec.row_changes(was, is_now);
BEGIN
	IF TG_OP = 'UPDATE' AND changes = '{}' THEN
		RETURN NULL;
	END IF;
	PERFORM sec.record((one ->> 'org_id')::uuid, verb, TG_ARGV[0], coalesce(one ->> 'id', one ->> 'org_id')::uuid, changes,
		CASE WHEN verb = 'updated' AND TG_NARGS > 2 THEN '' ELSE TG_ARGV[1] END,
		coalesce(one ->> 'name', one ->> 'display_name', one ->> 'filename'));
	RETURN NULL;
END
$$;

-- queue_item.blocked: no printer could ever take it, as things stand.
CREATE OR REPLACE FUNCTION sec.queue_tell_standing() RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	d record;
	standing jsonb;
	passing jsonb;
BEGIN
	FOR d IN SELECT x.id, x.told FROM app.queue_needs AS x WHERE x.org_id = app.org() AND (x.told_at > app.now() - '30 s'::interval) IS NOT TRUE
			AND EXISTS (SELECT FROM app.queue_items AS i WHERE i.org_id = x.org_id AND i.need_id = x.id AND i.state = 'queued')
			ORDER BY x.told_at NULLS FIRST LIMIT 50 FOR NO KEY UPDATE SKIP LOCKED LOOP
		passing := coalesce(passing, (SELECT jsonb_object_agg(p.id, sec.queue_readiness(p.id)) FROM app.printers AS p
			WHERE p.org_id = app.org() AND p.deleted_at IS NULL), '{}');
		standing := sec.queue_standing(d.id, passing);
		UPDATE app.queue_needs AS x SET told = standing, told_at = app.now() WHERE x.org_id = app.org() AND x.id = d.id;
		CONTINUE WHEN d.told IS NOT DISTINCT FROM standing;
		INSERT INTO app.queue_history (need_id, event, detail) VALUES (d.id, 'standing', standing);
		CONTINUE WHEN app.nobody_may(standing) IS NOT TRUE OR app.nobody_may(d.told);
		INSERT INTO app.outbox (type, capability, resource_type, resource_id, data)
			SELECT 'queue_item.blocked', 'operations.read', 'queue_item', i.id, jsonb_build_object('queue_item_id', i.id, 'name', i.name,
					'state', i.state, 'printer_id', NULL, 'generation', i.generation, 'reasons', standing -> 'reasons')
				FROM app.queue_items AS i WHERE i.org_id = app.org() AND i.need_id = d.id AND i.state = 'queued' ORDER BY i.id LIMIT 100;
	END LOOP;
END
$$;
CREATE FUNCTION app.nobody_may(standing jsonb) RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN (standing ->> 'eligible')::int + (standing ->> 'unknown')::int = 0;

GRANT EXECUTE ON FUNCTION app.event_title(text, jsonb), app.event_wanted(text[], text), app.my_capabilities(),
	app.event_payload(uuid, text, timestamptz, uuid, bigint, jsonb), app.event_age() TO soloprint_api;
-- Triggers' conditions are evaluated with the rights of who writes.
GRANT EXECUTE ON FUNCTION app.milestone(jsonb) TO soloprint_gateway;

COMMIT;
