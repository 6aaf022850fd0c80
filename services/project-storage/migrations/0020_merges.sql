-- Merges between the projects of a family.
--
-- The rows of `lineage` stay until the store is deleted, because merges of projects that exist need those of projects that are gone.
CREATE OR REPLACE FUNCTION trim_log() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    log uuid;
    kept integer := 0;
BEGIN
    IF OLD.name = 'refs/heads/main' THEN
        kept := forked_number(OLD.project_id);
    END IF;
    DELETE FROM ref_log WHERE project_id = OLD.project_id AND name = OLD.name AND seq > kept;
    IF OLD.name = 'refs/heads/main' THEN
        -- Logs of ancestors that are gone and were kept for this project.
        FOR log IN
            SELECT a.ancestor_id FROM lineage a
            WHERE a.project_id = OLD.project_id AND NOT EXISTS (SELECT 1 FROM projects p WHERE p.id = a.ancestor_id)
        LOOP
            kept := forked_number(log);
            DELETE FROM ref_log WHERE project_id = log AND name = 'refs/heads/main' AND seq > kept;
        END LOOP;
    END IF;
    RETURN NULL;
END
$$;

CREATE INDEX merged_store_id_log_id_idx ON merged (store_id, log_id, up_to);
DROP INDEX merged_store_id_idx;

-- The rows of `merged` that the resolution of a conflict will get.
CREATE TABLE pending_merges (
    conflict_id uuid NOT NULL REFERENCES conflicts (id) ON DELETE CASCADE,
    log_id uuid NOT NULL,
    up_to integer NOT NULL,
    oid bytea NOT NULL,
    tree bytea NOT NULL,
    PRIMARY KEY (conflict_id, log_id)
);
