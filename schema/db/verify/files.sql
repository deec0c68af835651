-- Verify soloprint:files on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT org_id, id, filename, stem, kind, content_type, size_bytes, sha256, blob_id, status, status_reason, analysis, metadata,
	thumbnails, model_id, revision, revision_status, tags, notes, source, uploaded_by, uploaded_at, created_at,
	updated_at, deleted_at, purge_after, version FROM app.files WHERE false;
SELECT org_id, id, sha256, size_bytes, location, created_at FROM app.blobs WHERE false;
SELECT org_id, file_id, size_bytes, part_bytes, sha256, location, state, expires_at, created_at FROM app.uploads WHERE false;
SELECT org_id, file_id, n, blob_id, content_type FROM app.file_thumbnails WHERE false;
SELECT org_id, stored_bytes, reserved_bytes FROM app.storage_usage WHERE false;
SELECT blob_id, org_id, location, since FROM sec.blob_index WHERE false;
SELECT file_id, org_id FROM sec.upload_index WHERE false;
SELECT _org_id, id, sha256, thumbnails, tags, usable_for, _etag FROM app.file_rows WHERE false;
SELECT 1 / (count(*) = 5)::int FROM pg_class WHERE oid IN ('app.files'::regclass, 'app.blobs'::regclass,
	'app.uploads'::regclass, 'app.file_thumbnails'::regclass, 'app.storage_usage'::regclass)
	AND relrowsecurity AND relforcerowsecurity;
SELECT 'sec.keep_blob(uuid, bytea, bigint, text)'::regprocedure, 'sec.purge_file(uuid, boolean)'::regprocedure,
	'app.commit_file(uuid, uuid, bytea, bigint, text)'::regprocedure, 'app.expire_upload(uuid)'::regprocedure,
	'app.enter_signed(uuid, inet, text)'::regprocedure, 'app.file_kind(text)'::regprocedure,
	'app.file_content_type(text)'::regprocedure, 'app.file_uses(text, text, timestamptz)'::regprocedure,
	'app.queue_blob_move(uuid, text)'::regprocedure, 'app.queue_blob_delete(uuid, text, interval)'::regprocedure,
	'app.blob_moved(uuid, text, timestamptz)'::regprocedure, 'sec.sweep_blobs(uuid[], text)'::regprocedure;

ROLLBACK;
