-- Published sites: deployments of built files, one of which a site serves. The files are objects of the project's store.

-- The site of a project.
CREATE TABLE sites (
    project_id uuid PRIMARY KEY REFERENCES projects (id) ON DELETE CASCADE,
    -- In the address of the site.
    slug text NOT NULL,
    -- The number of the deployment that is served.
    active integer NOT NULL,
    -- The number of the newest deployment. A site does not use a number again.
    newest integer NOT NULL,
    created_at timestamptz NOT NULL,
    -- When the slug or the served deployment last changed.
    updated_at timestamptz NOT NULL,
    CONSTRAINT sites_slug_key UNIQUE (slug)
);

CREATE TABLE deployments (
    project_id uuid NOT NULL REFERENCES sites (project_id) ON DELETE CASCADE,
    number integer NOT NULL,
    -- The revision that was built.
    revision bytea NOT NULL,
    -- All files of the deployment.
    tree bytea NOT NULL,
    -- Those whose paths have a hash of the content.
    hashed bytea NOT NULL,
    base_path text NOT NULL,
    files integer NOT NULL,
    bytes bigint NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    -- The id of the request, if it had one, and its SHA-256, for a repeat.
    request_id text,
    fingerprint bytea,
    PRIMARY KEY (project_id, number),
    CONSTRAINT deployments_user_id_request_id_key UNIQUE (user_id, request_id)
);

-- The files of a deleted deployment may be unreachable.
CREATE FUNCTION request_sweep_of_deployments() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sweep_requests (store_id)
    SELECT DISTINCT p.store_id FROM old_deployments d JOIN projects p ON p.id = d.project_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER deployments_deleted AFTER DELETE ON deployments
    REFERENCING OLD TABLE AS old_deployments FOR EACH STATEMENT EXECUTE FUNCTION request_sweep_of_deployments();

-- As before, and the trees of deployments.
CREATE OR REPLACE FUNCTION store_roots(store uuid) RETURNS SETOF bytea LANGUAGE sql STABLE AS $$
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
    UNION ALL
    SELECT o.oid FROM projects p JOIN deployments d ON d.project_id = p.id, unnest(ARRAY[d.tree, d.hashed]) AS o (oid)
    WHERE p.store_id = store
$$;
