-- The logs that a fork continues. A fork reads its own log after the number at the fork, and of each ancestor's log the part
-- after_number < seq <= number. The parts of one fork do not overlap. The rows are deleted with the fork.
CREATE TABLE lineage (
    project_id uuid NOT NULL,
    -- 1 is the parent.
    depth smallint NOT NULL CHECK (depth BETWEEN 1 AND 32),
    ancestor_id uuid NOT NULL,
    store_id uuid NOT NULL REFERENCES stores (id) ON DELETE CASCADE,
    after_number integer NOT NULL,
    number integer NOT NULL CHECK (number >= after_number),
    -- Of the parent: the revision at the fork, empty without files.
    revision bytea,
    PRIMARY KEY (project_id, depth),
    CHECK ((depth = 1) = (revision IS NOT NULL))
);
CREATE INDEX lineage_ancestor_id_idx ON lineage (ancestor_id, depth, project_id DESC);
CREATE INDEX lineage_store_id_idx ON lineage (store_id);

-- The parts of logs that a project reads, its own first.
CREATE FUNCTION log_segments(project uuid) RETURNS TABLE (log_id uuid, after_number integer, number integer) LANGUAGE sql STABLE AS $$
    SELECT project, coalesce((SELECT max(a.number) FROM lineage a WHERE a.project_id = project), 0), 2147483647
    UNION ALL
    SELECT a.ancestor_id, a.after_number, a.number FROM lineage a WHERE a.project_id = project AND a.number > a.after_number
$$;

-- A log outlives its project up to the highest number at which a fork that exists has left it. Triggers do the deletion, so that the
-- release before, which relied on the foreign key, keeps it as well.
CREATE FUNCTION forked_number(log uuid) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT coalesce(max(a.number), 0) FROM lineage a JOIN projects p ON p.id = a.project_id WHERE a.ancestor_id = log
$$;
CREATE FUNCTION trim_log() RETURNS trigger LANGUAGE plpgsql AS $$
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
        DELETE FROM lineage WHERE project_id = OLD.project_id;
    END IF;
    RETURN NULL;
END
$$;
ALTER TABLE ref_log DROP CONSTRAINT ref_log_project_id_name_fkey;
CREATE TRIGGER refs_deleted AFTER DELETE ON refs FOR EACH ROW EXECUTE FUNCTION trim_log();

-- Whose account counts a store that projects of more than one owner share; NULL for every owner of a project of the store. What the other
-- owners' projects have added counts for them.
ALTER TABLE stores ADD COLUMN owner_id uuid;
CREATE TABLE store_shares (
    store_id uuid NOT NULL REFERENCES stores (id) ON DELETE CASCADE,
    owner_id uuid NOT NULL,
    bytes bigint NOT NULL,
    PRIMARY KEY (store_id, owner_id)
);
CREATE INDEX store_shares_owner_id_idx ON store_shares (owner_id);
-- What counts for an account: of all stores, or of one. What the account has added counts also after its projects are gone.
CREATE FUNCTION account_bytes(account uuid, store uuid DEFAULT NULL) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(CASE
        WHEN s.owner_id IS NULL THEN s.bytes
        WHEN s.owner_id = account
            THEN greatest(0, s.bytes - (SELECT coalesce(sum(h.bytes), 0) FROM store_shares h WHERE h.store_id = s.id AND h.owner_id <> account))
        ELSE (SELECT coalesce(sum(h.bytes), 0) FROM store_shares h WHERE h.store_id = s.id AND h.owner_id = account)
    END), 0)::bigint
    FROM stores s
    WHERE s.id IN (
        SELECT p.store_id FROM projects p WHERE p.owner_id = account
        UNION
        SELECT h.store_id FROM store_shares h WHERE h.owner_id = account
    ) AND (store IS NULL OR s.id = store)
$$;

-- The lock lets the last of two deletions see what the other one did: that the store has no project any more, and which logs are kept.
CREATE FUNCTION lock_store() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM stores WHERE id = OLD.store_id FOR UPDATE;
    RETURN OLD;
END
$$;
CREATE TRIGGER projects_deleting BEFORE DELETE ON projects FOR EACH ROW EXECUTE FUNCTION lock_store();

CREATE FUNCTION leave_store() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE stores SET owner_id = (
        SELECT p.owner_id FROM projects p WHERE p.store_id = OLD.store_id ORDER BY p.created_at, p.id LIMIT 1)
    WHERE id = OLD.store_id AND owner_id = OLD.owner_id
        AND NOT EXISTS (SELECT 1 FROM projects p WHERE p.store_id = OLD.store_id AND p.owner_id = OLD.owner_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER projects_deleted AFTER DELETE ON projects FOR EACH ROW EXECUTE FUNCTION leave_store();

-- What a revision contains of the logs of other projects since a merge: everything up to a number. For merges of forks,
-- which do not exist yet.
CREATE TABLE merged (
    -- The log and the number of the revision.
    project_id uuid NOT NULL,
    number integer NOT NULL,
    -- The other log, up to this number, with the commit there and its tree.
    log_id uuid NOT NULL,
    up_to integer NOT NULL,
    oid bytea NOT NULL,
    tree bytea NOT NULL,
    store_id uuid NOT NULL REFERENCES stores (id) ON DELETE CASCADE,
    PRIMARY KEY (project_id, number, log_id)
);
CREATE INDEX merged_store_id_idx ON merged (store_id);
