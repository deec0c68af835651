-- Revert soloprint:files from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP FUNCTION sec.sweep_blobs(uuid[], text);
DROP FUNCTION app.blob_moved(uuid, text, timestamptz);
DROP FUNCTION app.queue_blob_delete(uuid, text, interval);
DROP FUNCTION app.queue_blob_move(uuid, text);
DROP FUNCTION sec.purge_file(uuid, boolean);
DROP FUNCTION app.expire_upload(uuid);
DROP FUNCTION app.commit_file(uuid, uuid, bytea, bigint, text);
DROP FUNCTION app.enter_signed(uuid, inet, text);
DROP VIEW app.file_rows;
DROP TABLE app.uploads;
DROP TABLE app.file_thumbnails;
DROP TABLE app.files;
DROP FUNCTION sec.tell_file();
DROP FUNCTION app.queue_purge();
DROP FUNCTION app.plan_purge();
DROP FUNCTION app.guard_file();
DROP FUNCTION app.file_uses(text, text, timestamptz);
DROP FUNCTION app.file_content_type(text);
DROP FUNCTION app.file_kind(text);
DROP FUNCTION sec.keep_blob(uuid, bytea, bigint, text);
DROP TABLE app.blobs;
DROP FUNCTION sec.track_upload();
DROP FUNCTION sec.track_blob();
DROP FUNCTION sec.charge_storage(uuid, bigint, bigint);
DROP TABLE sec.upload_index;
DROP TABLE sec.blob_index;
DROP TABLE app.storage_usage;
REVOKE SELECT (org_id, state, storage_quota_bytes, trash_days) ON app.organizations FROM soloprint_courier;
CREATE OR REPLACE FUNCTION app.bump_version() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
BEGIN
	IF to_jsonb(NEW) - 'has_secret' <> to_jsonb(OLD) - 'has_secret' THEN
		NEW.version := OLD.version + 1;
		NEW.updated_at := app.now();
	END IF;
	RETURN NEW;
END
$$;
ALTER TABLE app.organizations DROP COLUMN storage_quota_bytes, DROP COLUMN trash_days;

COMMIT;
