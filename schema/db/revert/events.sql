-- Revert soloprint:events from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

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
		IF d.told IS DISTINCT FROM standing THEN
			INSERT INTO app.queue_history (need_id, event, detail) VALUES (d.id, 'standing', standing);
		END IF;
	END LOOP;
END
$$;
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
		coalesce(one ->> 'name', one ->> 'display_name'));
	RETURN NULL;
END
$$;
DROP TRIGGER index ON app.outbox;
DROP TRIGGER end_streams ON app.api_keys;
DROP TRIGGER end_streams_delete ON app.api_keys;
DROP TRIGGER index_expiry ON app.api_keys;
DROP TRIGGER index_expiry_update ON app.api_keys;
DROP TRIGGER end_streams ON app.organizations;
DROP TRIGGER tell ON app.prints;
DROP TRIGGER tell_update ON app.prints;
DROP TRIGGER tell_progress ON app.printer_status;
DROP TRIGGER tell_errors ON app.printer_status;
ALTER TABLE app.prints DROP COLUMN milestone;
DROP INDEX sec.key_index_expires;
ALTER TABLE sec.key_index DROP COLUMN expires_at;
DROP FUNCTION sec.print_data(app.prints);
DROP FUNCTION sec.tell(uuid, text, text, text, uuid, jsonb);
DROP TABLE app.events;
DROP TABLE app.event_types;
DROP TABLE sec.event_heads;
DROP TABLE sec.outbox_index;
DROP TABLE sec.publisher;
DROP TABLE sec.stream_queue;
DROP FUNCTION app.nobody_may(jsonb);
DROP FUNCTION sec.tell_errors();
DROP FUNCTION sec.tell_progress();
DROP FUNCTION app.milestone(jsonb);
DROP FUNCTION sec.tell_print();
DROP FUNCTION sec.speak_for(text);
DROP FUNCTION sec.end_org_streams();
DROP FUNCTION sec.index_key_expiry();
DROP FUNCTION sec.end_key_streams();
DROP FUNCTION sec.index_outbox();
DROP FUNCTION app.event_channels(uuid, text, uuid, uuid);
DROP FUNCTION app.my_capabilities();
DROP FUNCTION app.event_payload(uuid, text, timestamptz, uuid, bigint, jsonb);
DROP FUNCTION app.keep_events();
DROP FUNCTION app.event_age();
DROP FUNCTION app.event_wanted(text[], text);
DROP FUNCTION app.event_title(text, jsonb);
DROP TRIGGER append_only ON app.outbox;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.outbox
	FOR EACH ROW EXECUTE FUNCTION app.append_only();

COMMIT;
