-- What is said about a template stays, whichever replica deletes it: during an upgrade, one of the release before does not know these tables.
-- The row of the template is locked when the trigger runs, so that it sees every report.
CREATE FUNCTION keep_marks_of_template() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO unpublished_requests (publisher_id, request_id, fingerprint, template_id)
    SELECT publisher_id, request_id, fingerprint, template_id FROM template_versions
    WHERE template_id = old.id AND request_id IS NOT NULL
    ON CONFLICT DO NOTHING;
    IF old.hidden OR EXISTS (SELECT 1 FROM template_reports r WHERE r.template_id = old.id) THEN
        INSERT INTO unpublished_templates (id, publisher_id, source_store_ids, hidden)
        VALUES (
            old.id, old.publisher_id,
            ARRAY(SELECT DISTINCT v.source_store_id FROM template_versions v WHERE v.template_id = old.id AND v.source_store_id IS NOT NULL),
            old.hidden
        )
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN old;
END
$$;
CREATE TRIGGER keep_marks_of_template BEFORE DELETE ON templates FOR EACH ROW EXECUTE FUNCTION keep_marks_of_template();
