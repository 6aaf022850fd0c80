-- Sweeps: an object that nothing of its store reaches any more is deleted. See background/garbage.rs.

-- That objects of a store may have become unreachable. A sweep of the store takes its rows.
CREATE TABLE sweep_requests (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    store_id uuid NOT NULL REFERENCES stores (id) ON DELETE CASCADE,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX sweep_requests_store_id_idx ON sweep_requests (store_id, requested_at);

-- The branch of a conflict that nobody has resolved in time. The one of a resolved conflict stays reachable.
CREATE FUNCTION request_sweep_of_branch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sweep_requests (store_id) SELECT store_id FROM projects WHERE id = OLD.project_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER refs_expired AFTER DELETE ON refs FOR EACH ROW
    WHEN (OLD.expires_at < now()) EXECUTE FUNCTION request_sweep_of_branch();

-- A purged project of a store that other projects share.
CREATE FUNCTION request_sweep_of_project() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sweep_requests (store_id) SELECT OLD.store_id WHERE EXISTS (SELECT 1 FROM projects WHERE store_id = OLD.store_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER projects_purged AFTER DELETE ON projects FOR EACH ROW EXECUTE FUNCTION request_sweep_of_project();

-- The sweep of a store. It continues where it was, whoever continues it.
CREATE TABLE store_sweeps (
    id uuid PRIMARY KEY,
    store_id uuid NOT NULL UNIQUE REFERENCES stores (id) ON DELETE CASCADE,
    -- Until then only the process that renews it works on the sweep.
    claimed_until timestamptz NOT NULL,
    -- Whether the objects that the logs of the store name are marked.
    logs_marked boolean NOT NULL DEFAULT false,
    -- Bytes that it has deleted.
    bytes bigint NOT NULL DEFAULT 0
);

-- The objects that a sweep found reachable. Those that are not walked may name others that are not marked yet.
CREATE TABLE sweep_marks (
    sweep_id uuid NOT NULL,
    oid bytea NOT NULL,
    walked boolean NOT NULL,
    PRIMARY KEY (sweep_id, oid)
);
CREATE INDEX sweep_marks_unwalked_idx ON sweep_marks (sweep_id, oid) WHERE NOT walked;

-- What a store keeps, besides the logs of its projects and of their ancestors: all other columns with the id of an object. A migration
-- that adds such a column replaces this function. Only stores with a project are swept.
CREATE FUNCTION store_roots(store uuid) RETURNS SETOF bytea LANGUAGE sql STABLE AS $$
    SELECT r.oid FROM projects p JOIN refs r ON r.project_id = p.id WHERE p.store_id = store AND r.oid <> ''
    UNION ALL
    SELECT o.oid FROM projects p JOIN conflicts c ON c.project_id = p.id, unnest(ARRAY[c.base, c.base_tree, c.ours, c.theirs]) AS o (oid)
    WHERE p.store_id = store AND o.oid IS NOT NULL
    UNION ALL
    -- The commit of a conflicted turn is shown also when its branch has ended.
    SELECT t.revision FROM projects p JOIN turns t ON t.project_id = p.id AND t.state = 4
    WHERE p.store_id = store AND t.revision IS NOT NULL
    UNION ALL
    SELECT o.oid FROM merged m, unnest(ARRAY[m.oid, m.tree]) AS o (oid) WHERE m.store_id = store
    UNION ALL
    SELECT o.oid FROM projects p JOIN conflicts c ON c.project_id = p.id JOIN pending_merges m ON m.conflict_id = c.id,
                      unnest(ARRAY[m.oid, m.tree]) AS o (oid)
    WHERE p.store_id = store
    UNION ALL
    SELECT v.tree FROM templates t JOIN template_versions v ON v.template_id = t.id WHERE t.store_id = store
$$;
CREATE INDEX turns_conflicted_idx ON turns (project_id) WHERE state = 4;

-- The bytes of a store follow its objects. The chunks of a blob are deleted with its row, as before, and counted by their own trigger.
CREATE FUNCTION uncount_objects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE stores s SET bytes = s.bytes - o.bytes
    FROM (SELECT store_id, sum(octet_length(data))::bigint AS bytes FROM old_objects GROUP BY store_id) o
    WHERE s.id = o.store_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER objects_uncounted AFTER DELETE ON objects
    REFERENCING OLD TABLE AS old_objects FOR EACH STATEMENT EXECUTE FUNCTION uncount_objects();

-- Whose share of the store grows with what is written under the lease, and by how much it has grown; NULL for the account that has the
-- store.
ALTER TABLE pending_writes ADD COLUMN owner_id uuid, ADD COLUMN bytes bigint NOT NULL DEFAULT 0;
-- What was written under leases that ended without a revision. A sweep that deletes it takes it from the share.
ALTER TABLE store_shares ADD COLUMN unused bigint NOT NULL DEFAULT 0;
