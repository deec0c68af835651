-- Revert soloprint:files from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP TABLE app.uploads;
DROP TABLE app.file_thumbnails;
DROP TABLE app.files;
DROP FUNCTION sec.tell_file();
DROP FUNCTION app.guard_file_status();
DROP TABLE app.blobs;
DROP FUNCTION sec.track_upload();
DROP FUNCTION sec.track_blob();
DROP FUNCTION sec.charge_storage(uuid, bigint, bigint);
DROP TABLE sec.blob_index;
DROP TABLE app.storage_usage;
ALTER TABLE app.organizations DROP COLUMN storage_quota_bytes, DROP COLUMN trash_days;

COMMIT;
