-- Deploy soloprint:files to pg
-- requires: jobs
-- Files: what is stored (blobs, one per content and organisation), what people call it (files), bytes on their way in
-- (uploads), and how much of it an organisation may have.

BEGIN;
SET LOCAL ROLE soloprint_owner;

ALTER TABLE app.organizations
	ADD COLUMN storage_quota_bytes bigint NOT NULL DEFAULT 107374182400 CHECK (storage_quota_bytes >= 0),
	ADD COLUMN trash_days int NOT NULL DEFAULT 30 CHECK (trash_days BETWEEN 0 AND 3650);

GRANT SELECT (org_id, state, storage_quota_bytes, trash_days) ON app.organizations TO soloprint_courier;

-- stored: bytes of all blobs; reserved: bytes announced by uploads that are still open.
CREATE TABLE app.storage_usage (
	org_id uuid NOT NULL DEFAULT app.org(),
	stored_bytes bigint NOT NULL DEFAULT 0 CHECK (stored_bytes >= 0),
	reserved_bytes bigint NOT NULL DEFAULT 0 CHECK (reserved_bytes >= 0),
	CONSTRAINT storage_usage_pkey PRIMARY KEY (org_id),
	CONSTRAINT storage_usage_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id)
);
ALTER TABLE app.storage_usage ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.storage_usage
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT ON app.storage_usage TO soloprint_api, soloprint_courier;

-- The object's key in the store is made of its id alone: "c3/d4/<id>" of its last four hexadecimal digits.
CREATE TABLE app.blobs (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	sha256 bytea NOT NULL CHECK (octet_length(sha256) = 32),
	size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
	location text NOT NULL DEFAULT 'local' CHECK (location IN ('local', 's3')),
	created_at timestamptz NOT NULL DEFAULT app.now(),
	CONSTRAINT blobs_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT blobs_content_key UNIQUE (org_id, sha256),
	CONSTRAINT blobs_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id)
);
ALTER TABLE app.blobs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.blobs
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT ON app.blobs TO soloprint_api;
GRANT SELECT, UPDATE (location) ON app.blobs TO soloprint_courier;

-- Every object that belongs in the store, for sweeps and checks; no tenant content.
CREATE TABLE sec.blob_index (
	blob_id uuid PRIMARY KEY,
	org_id uuid NOT NULL,
	location text NOT NULL,
	since timestamptz NOT NULL DEFAULT app.now()
);
CREATE INDEX blob_index_location ON sec.blob_index (location, blob_id);
GRANT SELECT ON sec.blob_index TO soloprint_courier, soloprint_migrator;

-- Every upload that is open: what sweeps of the staging place leave alone.
CREATE TABLE sec.upload_index (
	file_id uuid PRIMARY KEY,
	org_id uuid NOT NULL
);
GRANT SELECT ON sec.upload_index TO soloprint_courier, soloprint_migrator;

-- status: pending_upload (announced), uploaded (complete and verified), analyzing, ready, failed (its bytes could not be
-- had), expired (never uploaded). analysis: {state: pending|parsed|unparsable, reason}.
CREATE TABLE app.files (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	filename text NOT NULL CHECK (char_length(filename) BETWEEN 1 AND 255),
	stem text NOT NULL GENERATED ALWAYS AS (lower(regexp_replace(filename, '((\.gcode)?\.3mf|\.[^.]*)$', '', 'i'))) STORED,
	kind text NOT NULL CHECK (kind IN ('gcode', 'bgcode', 'gcode_3mf', '3mf', 'stl', 'step', 'obj', 'other')),
	content_type text NOT NULL CHECK (char_length(content_type) BETWEEN 1 AND 255),
	size_bytes bigint CHECK (size_bytes >= 0),
	sha256 bytea CHECK (octet_length(sha256) = 32),
	blob_id uuid,
	status text NOT NULL DEFAULT 'pending_upload'
		CHECK (status IN ('pending_upload', 'uploaded', 'analyzing', 'ready', 'failed', 'expired')),
	status_reason jsonb CHECK (jsonb_typeof(status_reason) = 'object'),
	analysis jsonb NOT NULL DEFAULT '{"state": "pending", "reason": null}' CHECK (jsonb_typeof(analysis) = 'object'),
	metadata jsonb CHECK (jsonb_typeof(metadata) = 'object'),
	thumbnails jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(thumbnails) = 'array'),
	model_id uuid,
	revision int CHECK (revision >= 1),
	revision_status text NOT NULL DEFAULT 'needs_test'
		CHECK (revision_status IN ('needs_test', 'known_good', 'failed', 'archived')),
	tags text[] NOT NULL DEFAULT '{}',
	notes text CHECK (char_length(notes) <= 20000),
	source text NOT NULL DEFAULT 'upload' CHECK (source IN ('upload', 'url', 'ingest', 'octoprint')),
	uploaded_by uuid DEFAULT app.principal(),
	uploaded_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT app.now(),
	updated_at timestamptz NOT NULL DEFAULT app.now(),
	deleted_at timestamptz,
	purge_after timestamptz,
	version int NOT NULL DEFAULT 1,
	CONSTRAINT files_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT files_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id),
	CONSTRAINT files_blob_fkey FOREIGN KEY (org_id, blob_id) REFERENCES app.blobs (org_id, id),
	CONSTRAINT files_uploaded_by_fkey FOREIGN KEY (org_id, uploaded_by) REFERENCES app.principals (org_id, id),
	CONSTRAINT files_trash_check CHECK (deleted_at IS NULL OR purge_after IS NOT NULL),
	CONSTRAINT files_stored_check CHECK (status NOT IN ('uploaded', 'analyzing', 'ready')
		OR (blob_id IS NOT NULL AND sha256 IS NOT NULL AND size_bytes IS NOT NULL))
);
CREATE INDEX files_created ON app.files (org_id, created_at, id);
CREATE INDEX files_updated ON app.files (org_id, updated_at, id);
CREATE INDEX files_name ON app.files (org_id, filename, id);
CREATE INDEX files_size ON app.files (org_id, coalesce(size_bytes, 0), id);
CREATE INDEX files_blob ON app.files (org_id, blob_id);
CREATE INDEX files_model ON app.files (org_id, model_id, revision);
CREATE INDEX files_kind_created ON app.files (org_id, kind, created_at, id);
CREATE INDEX files_status_created ON app.files (org_id, status, created_at, id);
CREATE INDEX files_uploader_created ON app.files (org_id, uploaded_by, created_at, id);
ALTER TABLE app.files ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.files
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT, UPDATE (filename, kind, content_type, size_bytes, sha256, blob_id, status, status_reason, analysis, metadata,
		thumbnails, model_id, revision, revision_status, tags, notes, uploaded_at, deleted_at, purge_after)
	ON app.files TO soloprint_api, soloprint_courier;
GRANT INSERT (org_id, id, filename, kind, content_type, size_bytes, sha256, blob_id, status, status_reason, analysis, metadata,
		thumbnails, model_id, revision, tags, notes, source, uploaded_at)
	ON app.files TO soloprint_api;

CREATE TABLE app.file_thumbnails (
	org_id uuid NOT NULL DEFAULT app.org(),
	file_id uuid NOT NULL,
	n int NOT NULL CHECK (n >= 0),
	blob_id uuid NOT NULL,
	content_type text NOT NULL CHECK (content_type IN ('image/png', 'image/jpeg', 'image/x-qoi')),
	CONSTRAINT file_thumbnails_pkey PRIMARY KEY (org_id, file_id, n),
	CONSTRAINT file_thumbnails_file_fkey FOREIGN KEY (org_id, file_id) REFERENCES app.files (org_id, id) ON DELETE CASCADE,
	CONSTRAINT file_thumbnails_blob_fkey FOREIGN KEY (org_id, blob_id) REFERENCES app.blobs (org_id, id)
);
CREATE INDEX file_thumbnails_blob ON app.file_thumbnails (org_id, blob_id);
ALTER TABLE app.file_thumbnails ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.file_thumbnails
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT, INSERT, DELETE ON app.file_thumbnails TO soloprint_api, soloprint_courier;

-- Bytes that a client may send, until expires_at. sha256: as declared, checked at the end, never looked up.
CREATE TABLE app.uploads (
	org_id uuid NOT NULL DEFAULT app.org(),
	file_id uuid NOT NULL,
	size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
	part_bytes bigint NOT NULL CHECK (part_bytes > 0),
	sha256 bytea CHECK (octet_length(sha256) = 32),
	location text NOT NULL DEFAULT 'local' CHECK (location IN ('local', 's3')),
	state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'completing')),
	expires_at timestamptz NOT NULL,
	created_at timestamptz NOT NULL DEFAULT app.now(),
	CONSTRAINT uploads_pkey PRIMARY KEY (org_id, file_id),
	CONSTRAINT uploads_file_fkey FOREIGN KEY (org_id, file_id) REFERENCES app.files (org_id, id) ON DELETE CASCADE
);
ALTER TABLE app.uploads ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.uploads
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT, INSERT (org_id, file_id, size_bytes, part_bytes, sha256, location, expires_at), UPDATE (state), DELETE
	ON app.uploads TO soloprint_api;
GRANT SELECT, UPDATE (state), DELETE ON app.uploads TO soloprint_courier;

-- Adds to what an organisation uses. SLP40: more than it may have.
CREATE FUNCTION sec.charge_storage(org uuid, stored bigint, reserved bigint) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	total bigint;
BEGIN
	INSERT INTO app.storage_usage AS u (org_id, stored_bytes, reserved_bytes)
		VALUES (org, greatest(stored, 0), greatest(reserved, 0))
		ON CONFLICT ON CONSTRAINT storage_usage_pkey DO UPDATE SET stored_bytes = u.stored_bytes + charge_storage.stored,
			reserved_bytes = u.reserved_bytes + charge_storage.reserved
		RETURNING u.stored_bytes + u.reserved_bytes INTO total;
	IF stored + reserved > 0
			AND total > (SELECT o.storage_quota_bytes FROM app.organizations AS o WHERE o.org_id = org) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP40', MESSAGE = 'the organization''s storage is full';
	END IF;
END
$$;

CREATE FUNCTION sec.track_blob() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO sec.blob_index (blob_id, org_id, location) VALUES (NEW.id, NEW.org_id, NEW.location);
		PERFORM sec.charge_storage(NEW.org_id, NEW.size_bytes, 0);
	ELSIF TG_OP = 'UPDATE' THEN
		UPDATE sec.blob_index AS i SET location = NEW.location, since = app.now() WHERE i.blob_id = NEW.id;
	ELSE
		DELETE FROM sec.blob_index AS i WHERE i.blob_id = OLD.id;
		PERFORM sec.charge_storage(OLD.org_id, -OLD.size_bytes, 0);
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER track AFTER INSERT OR UPDATE OF location OR DELETE ON app.blobs
	FOR EACH ROW EXECUTE FUNCTION sec.track_blob();

CREATE FUNCTION sec.track_upload() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO sec.upload_index (file_id, org_id) VALUES (NEW.file_id, NEW.org_id);
		PERFORM sec.charge_storage(NEW.org_id, 0, NEW.size_bytes);
	ELSE
		DELETE FROM sec.upload_index AS i WHERE i.file_id = OLD.file_id;
		PERFORM sec.charge_storage(OLD.org_id, 0, -OLD.size_bytes);
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER track AFTER INSERT OR DELETE ON app.uploads
	FOR EACH ROW EXECUTE FUNCTION sec.track_upload();

-- Content that is kept: the blob of these bytes, which is `id` unless the organisation has them already. The object of
-- `id` must be on disk before. Storage usage is locked before blobs, always.
CREATE FUNCTION sec.keep_blob(id uuid, sha256 bytea, size_bytes bigint, location text) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	org uuid := app.org();
	kept uuid;
BEGIN
	PERFORM FROM app.storage_usage AS u WHERE u.org_id = org FOR UPDATE;
	LOOP
		INSERT INTO app.blobs AS b (org_id, id, sha256, size_bytes, location)
			VALUES (org, keep_blob.id, keep_blob.sha256, keep_blob.size_bytes, keep_blob.location)
			ON CONFLICT ON CONSTRAINT blobs_content_key DO NOTHING RETURNING b.id INTO kept;
		EXIT WHEN FOUND;
		SELECT b.id INTO kept FROM app.blobs AS b WHERE b.org_id = org AND b.sha256 = keep_blob.sha256 FOR KEY SHARE;
		EXIT WHEN FOUND;
	END LOOP;
	RETURN kept;
END
$$;
GRANT EXECUTE ON FUNCTION sec.keep_blob(uuid, bytea, bigint, text) TO soloprint_api, soloprint_courier;

-- What a name promises; the content decides later.
CREATE FUNCTION app.file_kind(filename text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE
		WHEN filename ~* '\.gcode\.3mf$' THEN 'gcode_3mf'
		WHEN filename ~* '\.3mf$' THEN '3mf'
		WHEN filename ~* '\.(bgcode|bgc)$' THEN 'bgcode'
		WHEN filename ~* '\.(gcode|gco|gc|g|nc)$' THEN 'gcode'
		WHEN filename ~* '\.stl$' THEN 'stl'
		WHEN filename ~* '\.(step|stp)$' THEN 'step'
		WHEN filename ~* '\.obj$' THEN 'obj'
		ELSE 'other' END;
CREATE FUNCTION app.file_content_type(kind text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE kind WHEN 'gcode' THEN 'text/x.gcode' WHEN 'stl' THEN 'model/stl' WHEN 'step' THEN 'model/step'
		WHEN 'obj' THEN 'model/obj' WHEN '3mf' THEN 'model/3mf' WHEN 'gcode_3mf' THEN 'model/3mf'
		ELSE 'application/octet-stream' END;
-- What can be done with a file of this kind, once it is ready and not in the trash.
CREATE FUNCTION app.file_uses(kind text, status text, deleted_at timestamptz) RETURNS text[]
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE WHEN status <> 'ready' OR deleted_at IS NOT NULL THEN '{}'::text[]
		WHEN kind IN ('gcode', 'bgcode', 'gcode_3mf') THEN '{queue}'::text[]
		WHEN kind IN ('3mf', 'stl', 'step', 'obj') THEN '{slice}'::text[]
		ELSE '{}'::text[] END;
GRANT EXECUTE ON FUNCTION app.file_kind(text), app.file_content_type(text), app.file_uses(text, text, timestamptz)
	TO soloprint_api, soloprint_courier;

-- The legal ways from one status to another; stored content stays as it is.
CREATE FUNCTION app.guard_file() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
BEGIN
	IF OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN (('pending_upload', 'uploaded'),
			('pending_upload', 'analyzing'), ('pending_upload', 'ready'), ('pending_upload', 'failed'),
			('pending_upload', 'expired'), ('uploaded', 'analyzing'), ('uploaded', 'ready'), ('analyzing', 'uploaded'),
			('analyzing', 'ready'), ('ready', 'analyzing')) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP41', MESSAGE = format('a file cannot go from %s to %s', OLD.status, NEW.status);
	ELSIF OLD.blob_id IS NOT NULL
			AND (OLD.blob_id, OLD.sha256, OLD.size_bytes) IS DISTINCT FROM (NEW.blob_id, NEW.sha256, NEW.size_bytes) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP41', MESSAGE = 'a file''s content does not change';
	END IF;
	RETURN NEW;
END
$$;
-- As before; generated columns, which BEFORE triggers see as NULL, are has_secret and stem.
CREATE OR REPLACE FUNCTION app.bump_version() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
BEGIN
	IF to_jsonb(NEW) - '{has_secret,stem}'::text[] <> to_jsonb(OLD) - '{has_secret,stem}'::text[] THEN
		NEW.version := OLD.version + 1;
		NEW.updated_at := app.now();
	END IF;
	RETURN NEW;
END
$$;
-- When a file that is in the trash, or never came, goes for good.
CREATE FUNCTION app.plan_purge() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
BEGIN
	IF NEW.deleted_at IS NULL AND NEW.status NOT IN ('failed', 'expired') THEN
		NEW.purge_after := NULL;
	ELSIF OLD.purge_after IS NULL OR (OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL) THEN
		NEW.purge_after := app.now() + make_interval(days => (SELECT o.trash_days FROM app.organizations AS o
			WHERE o.org_id = NEW.org_id));
	END IF;
	RETURN NEW;
END
$$;
CREATE FUNCTION app.queue_purge() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
BEGIN
	INSERT INTO app.jobs (kind, params, resource_type, resource_id, run_after)
		VALUES ('file.purge', jsonb_build_object('file_id', NEW.id), 'file', NEW.id, NEW.purge_after);
	RETURN NULL;
END
$$;
GRANT EXECUTE ON FUNCTION app.guard_file(), app.plan_purge(), app.queue_purge() TO soloprint_api, soloprint_courier;
CREATE TRIGGER a_guard BEFORE UPDATE OF status, blob_id, sha256, size_bytes ON app.files
	FOR EACH ROW EXECUTE FUNCTION app.guard_file();
CREATE TRIGGER b_plan_purge BEFORE UPDATE OF status, deleted_at ON app.files
	FOR EACH ROW WHEN ((OLD.status, OLD.deleted_at) IS DISTINCT FROM (NEW.status, NEW.deleted_at))
	EXECUTE FUNCTION app.plan_purge();
CREATE TRIGGER bump_version BEFORE UPDATE ON app.files
	FOR EACH ROW EXECUTE FUNCTION app.bump_version();
CREATE TRIGGER queue_purge AFTER UPDATE ON app.files
	FOR EACH ROW WHEN (OLD.purge_after IS DISTINCT FROM NEW.purge_after AND NEW.purge_after IS NOT NULL)
	EXECUTE FUNCTION app.queue_purge();
CREATE TRIGGER audit AFTER INSERT OR DELETE ON app.files
	FOR EACH ROW EXECUTE FUNCTION sec.audit('file', 'operations.read', 'quiet');
CREATE TRIGGER audit_update AFTER UPDATE ON app.files
	FOR EACH ROW WHEN (OLD.version <> NEW.version) EXECUTE FUNCTION sec.audit('file', 'operations.read', 'quiet');

-- Events of a file's life: file.ready and file.failed.
CREATE FUNCTION sec.tell_file() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	INSERT INTO app.outbox (org_id, type, capability, resource_type, resource_id, data)
		VALUES (NEW.org_id, 'file.' || NEW.status, 'operations.read', 'file', NEW.id,
			jsonb_build_object('file_id', NEW.id, 'filename', NEW.filename, 'kind', NEW.kind, 'size_bytes', NEW.size_bytes,
				'model_id', NEW.model_id, 'reason', NEW.status_reason));
	RETURN NULL;
END
$$;
CREATE TRIGGER tell AFTER UPDATE OF status ON app.files
	FOR EACH ROW WHEN (OLD.status <> NEW.status AND NEW.status IN ('ready', 'failed')) EXECUTE FUNCTION sec.tell_file();
CREATE TRIGGER tell_new AFTER INSERT ON app.files
	FOR EACH ROW WHEN (NEW.status = 'ready') EXECUTE FUNCTION sec.tell_file();

-- A file as the API shows it.
CREATE VIEW app.file_rows WITH (security_invoker = true) AS
	SELECT f.org_id AS _org_id, f.id, f.filename, f.kind, f.content_type, f.size_bytes, encode(f.sha256, 'hex') AS sha256,
		f.status, f.status_reason, f.analysis, f.metadata,
		coalesce((SELECT jsonb_agg(t.one || jsonb_build_object('url', format('/v1/files/%s/thumbnails/%s', f.id, t.one ->> 'n'))
			ORDER BY t.n) FROM jsonb_array_elements(f.thumbnails) WITH ORDINALITY AS t (one, n)), '[]') AS thumbnails,
		f.model_id, f.revision, f.revision_status, to_jsonb(f.tags) AS tags, f.tags AS _tags, f.notes, f.source, f.uploaded_by,
		f.uploaded_at, to_jsonb(app.file_uses(f.kind, f.status, f.deleted_at)) AS usable_for,
		app.file_uses(f.kind, f.status, f.deleted_at) AS _uses, f.deleted_at, f.purge_after, f.version, f.created_at,
		f.updated_at, '"' || f.version || '"' AS _etag
	FROM app.files AS f;
GRANT SELECT ON app.file_rows TO soloprint_api;

-- For a request whose URL is signed: the transaction speaks for the organisation that the signature names.
CREATE FUNCTION app.enter_signed(org uuid, remote_addr inet, request_id text) RETURNS void
	LANGUAGE plpgsql
	AS $$
DECLARE
	org_state text;
	done text := set_config('app.org_id', org::text, true);
BEGIN
	SELECT o.state INTO org_state FROM app.organizations AS o WHERE o.org_id = org;
	IF org_state IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP10', MESSAGE = 'no such organisation';
	ELSIF org_state <> 'active' THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP06', MESSAGE = 'organisation suspended';
	END IF;
	done := set_config('app.request_id', coalesce(enter_signed.request_id, ''), true);
	done := set_config('app.remote_addr', coalesce(host(enter_signed.remote_addr), ''), true);
END
$$;
GRANT EXECUTE ON FUNCTION app.enter_signed(uuid, inet, text) TO soloprint_api;

-- A file's announced bytes have come and were verified; the object of `blob_id` is on disk. Gives the blob that the file
-- now has, NULL when it is not waiting for bytes any more. What comes next is its analysis.
CREATE FUNCTION app.commit_file(file_id uuid, blob_id uuid, sha256 bytea, size_bytes bigint, location text) RETURNS uuid
	LANGUAGE plpgsql
	AS $$
DECLARE
	kept uuid;
BEGIN
	PERFORM FROM app.files AS f WHERE f.org_id = app.org() AND f.id = commit_file.file_id AND f.status = 'pending_upload'
		FOR UPDATE;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	DELETE FROM app.uploads AS u WHERE u.org_id = app.org() AND u.file_id = commit_file.file_id;
	kept := sec.keep_blob(commit_file.blob_id, commit_file.sha256, commit_file.size_bytes, commit_file.location);
	UPDATE app.files AS f SET blob_id = kept, sha256 = commit_file.sha256, size_bytes = commit_file.size_bytes,
			status = 'uploaded', status_reason = NULL, uploaded_at = app.now()
		WHERE f.org_id = app.org() AND f.id = commit_file.file_id;
	INSERT INTO app.jobs (kind, params, resource_type, resource_id)
		VALUES ('file.analyze', jsonb_build_object('file_id', commit_file.file_id), 'file', commit_file.file_id);
	RETURN kept;
END
$$;

-- The upload is given up when its time is over and nobody puts it together right now. False: there is nothing more to
-- come of it, and nothing to keep.
CREATE FUNCTION app.expire_upload(file_id uuid) RETURNS boolean
	LANGUAGE plpgsql
	AS $$
DECLARE
	up app.uploads;
BEGIN
	PERFORM FROM app.files AS f WHERE f.org_id = app.org() AND f.id = expire_upload.file_id FOR UPDATE;
	SELECT * INTO up FROM app.uploads AS u WHERE u.org_id = app.org() AND u.file_id = expire_upload.file_id;
	IF NOT FOUND THEN
		RETURN false;
	ELSIF up.state = 'completing' THEN
		RETURN true;
	ELSIF up.expires_at > app.now() THEN
		INSERT INTO app.jobs (kind, params, resource_type, resource_id, run_after)
			VALUES ('file.expire', jsonb_build_object('file_id', up.file_id, 'location', up.location), 'file', up.file_id,
				up.expires_at);
		RETURN true;
	END IF;
	DELETE FROM app.uploads AS u WHERE u.org_id = app.org() AND u.file_id = expire_upload.file_id;
	UPDATE app.files AS f SET status = 'expired',
			status_reason = '{"code": "upload_expired", "message": "The upload was not completed in time."}'
		WHERE f.org_id = app.org() AND f.id = expire_upload.file_id AND f.status = 'pending_upload';
	RETURN false;
END
$$;
GRANT EXECUTE ON FUNCTION app.commit_file(uuid, uuid, bytea, bigint, text) TO soloprint_api, soloprint_courier;
GRANT EXECUTE ON FUNCTION app.expire_upload(uuid) TO soloprint_courier;

-- Removes a file for good, with what nothing else refers to; the objects themselves are removed by jobs. only_due: only
-- when its time has come. False: there was nothing to remove.
CREATE FUNCTION sec.purge_file(file_id uuid, only_due boolean) RETURNS boolean
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	org uuid := app.org();
	doomed app.files;
	content uuid[];
BEGIN
	SELECT * INTO doomed FROM app.files AS f WHERE f.org_id = org AND f.id = purge_file.file_id FOR UPDATE;
	IF NOT FOUND OR (only_due AND (doomed.purge_after <= app.now()) IS NOT TRUE) THEN
		RETURN false;
	END IF;
	PERFORM FROM app.storage_usage AS s WHERE s.org_id = org FOR UPDATE;
	content := ARRAY(SELECT t.blob_id FROM app.file_thumbnails AS t WHERE t.org_id = org AND t.file_id = doomed.id
		UNION SELECT doomed.blob_id);
	INSERT INTO app.jobs (kind, params, resource_type, resource_id)
		SELECT 'file.expire', jsonb_build_object('file_id', u.file_id, 'location', u.location), 'file', u.file_id
		FROM app.uploads AS u
		WHERE u.org_id = org AND u.file_id = doomed.id;
	DELETE FROM app.files AS f WHERE f.org_id = org AND f.id = doomed.id;
	PERFORM FROM app.blobs AS b WHERE b.org_id = org AND b.id = ANY (content) ORDER BY b.id FOR UPDATE;
	WITH gone AS (
		DELETE FROM app.blobs AS b WHERE b.org_id = org AND b.id = ANY (content)
			AND NOT EXISTS (SELECT FROM app.files AS f WHERE f.org_id = org AND f.blob_id = b.id)
			AND NOT EXISTS (SELECT FROM app.file_thumbnails AS t WHERE t.org_id = org AND t.blob_id = b.id)
			RETURNING b.id, b.location)
		INSERT INTO app.jobs (kind, params, resource_type, resource_id, max_attempts)
			SELECT 'blob.delete', jsonb_build_object('blob_id', g.id, 'location', g.location), 'blob', g.id, 20 FROM gone AS g;
	RETURN true;
END
$$;
GRANT EXECUTE ON FUNCTION sec.purge_file(uuid, boolean) TO soloprint_api, soloprint_courier;

-- Has the blob's object brought to another location. False: it is there, or waits for it, or is gone.
CREATE FUNCTION app.queue_blob_move(blob uuid, target text DEFAULT 's3') RETURNS boolean
	LANGUAGE plpgsql
	AS $$
BEGIN
	INSERT INTO app.jobs (kind, params, resource_type, resource_id, max_attempts)
		SELECT 'blob.move', jsonb_build_object('blob_id', b.id, 'to', target), 'blob', b.id, 20 FROM app.blobs AS b
		WHERE b.org_id = app.org() AND b.id = blob AND b.location <> target
		AND NOT EXISTS (SELECT FROM app.jobs AS j WHERE j.org_id = app.org() AND j.resource_id = blob
			AND j.kind = 'blob.move' AND j.state IN ('queued', 'running') AND j.cancel_requested_at IS NULL);
	RETURN FOUND;
END
$$;
GRANT EXECUTE ON FUNCTION app.queue_blob_move(uuid, text) TO soloprint_api, soloprint_courier;

-- An object that no blob claims, or will claim when the job runs, is removed.
CREATE FUNCTION app.queue_blob_delete(blob uuid, location text, grace interval) RETURNS void
	LANGUAGE sql
	BEGIN ATOMIC
		INSERT INTO app.jobs (kind, params, resource_type, resource_id, run_after, max_attempts)
			VALUES ('blob.delete', jsonb_build_object('blob_id', blob, 'location', queue_blob_delete.location), 'blob', blob,
				app.now() + grace, 20);
	END;
GRANT EXECUTE ON FUNCTION app.queue_blob_delete(uuid, text, interval) TO soloprint_courier;

-- The object is also at `target`, as it was checked from `since` on: moved, there (already), gone (the blob is), or busy:
-- an object of this blob was or is being removed meanwhile, perhaps this one. What is not claimed any more is removed,
-- after readers had an hour to finish.
CREATE FUNCTION app.blob_moved(blob uuid, target text, since timestamptz) RETURNS text
	LANGUAGE plpgsql
	AS $$
DECLARE
	was text;
BEGIN
	SELECT b.location INTO was FROM app.blobs AS b WHERE b.org_id = app.org() AND b.id = blob FOR UPDATE;
	IF NOT FOUND THEN
		PERFORM app.queue_blob_delete(blob, target, '0');
		RETURN 'gone';
	ELSIF was = target THEN
		RETURN 'there';
	ELSIF EXISTS (SELECT FROM app.jobs AS j WHERE j.org_id = app.org() AND j.resource_id = blob
			AND j.kind = 'blob.delete' AND (j.finished_at IS NULL OR j.finished_at >= since)) THEN
		RETURN 'busy';
	END IF;
	UPDATE app.blobs AS b SET location = target WHERE b.org_id = app.org() AND b.id = blob;
	PERFORM app.queue_blob_delete(blob, was, '1 hour');
	RETURN 'moved';
END
$$;
GRANT EXECUTE ON FUNCTION app.blob_moved(uuid, text, timestamptz) TO soloprint_courier;

-- Of objects found at a location, those that no blob knows. Objects of blobs that have been elsewhere for long are left
-- to jobs, which look again.
CREATE FUNCTION sec.sweep_blobs(ids uuid[], location text) RETURNS SETOF uuid
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	i sec.blob_index;
	done text;
BEGIN
	FOR i IN SELECT * FROM sec.blob_index AS x WHERE x.blob_id = ANY (ids) AND x.location <> sweep_blobs.location
			AND x.since < app.now() - interval '2 hours' LOOP
		done := set_config('app.org_id', i.org_id::text, true);
		IF NOT EXISTS (SELECT FROM app.jobs AS j WHERE j.org_id = i.org_id AND j.resource_id = i.blob_id
				AND j.kind = 'blob.delete' AND j.finished_at IS NULL) THEN
			PERFORM app.queue_blob_delete(i.blob_id, sweep_blobs.location, '0');
		END IF;
	END LOOP;
	done := set_config('app.org_id', '', true);
	RETURN QUERY SELECT u.id FROM unnest(ids) AS u (id) WHERE NOT EXISTS (SELECT FROM sec.blob_index AS x
		WHERE x.blob_id = u.id);
END
$$;
GRANT EXECUTE ON FUNCTION sec.sweep_blobs(uuid[], text) TO soloprint_courier;

COMMIT;
