-- A family of projects that share objects: a project and, later, its forks. Objects are kept per store, so that deleting the
-- last project of a store needs no search for what is still used, and so that no project learns what another one holds.
CREATE TABLE stores (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE projects (
    id uuid PRIMARY KEY,
    store_id uuid NOT NULL REFERENCES stores (id),
    owner_id uuid NOT NULL,
    -- Made by the client before the project existed.
    draft_id text,
    display_name text NOT NULL,
    -- The owner's plan as last seen (backlot.auth.v1.Plan); it sets the limits.
    plan smallint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- When files, name or conversation last changed; the order of the list.
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT projects_owner_id_draft_id_key UNIQUE (owner_id, draft_id)
) WITH (fillfactor = 80);

CREATE INDEX projects_owner_id_updated_at_id_idx ON projects (owner_id, updated_at DESC, id DESC);
CREATE INDEX projects_store_id_idx ON projects (store_id);

-- Who may do what: 1 viewer, 2 editor, 3 admin, 4 owner. Every permission check reads this table.
CREATE TABLE members (
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id uuid NOT NULL,
    role smallint NOT NULL CHECK (role BETWEEN 1 AND 4),
    PRIMARY KEY (project_id, user_id)
);

-- Git objects. No foreign key: it would be checked once per row of every save; a store is deleted with its objects.
CREATE TABLE objects (
    store_id uuid NOT NULL,
    -- SHA-1 over kind, size and content.
    oid bytea NOT NULL,
    -- Git's kind (1 commit, 2 tree, 3 blob) in the low four bits, the encoding (0 raw, 1 zlib) above them.
    tag smallint NOT NULL,
    -- Bytes before encoding.
    size integer NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (store_id, oid)
);
-- Compressed already.
ALTER TABLE objects ALTER data SET STORAGE EXTERNAL;

-- Where a project stands: refs/heads/main, and refs/turns/<turn id> for what a conflicted turn made.
CREATE TABLE refs (
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name text NOT NULL,
    -- Empty while there is no commit, so that the first save is a compare-and-swap like any other.
    oid bytea NOT NULL CHECK (octet_length(oid) IN (0, 20)),
    seq integer NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (project_id, name)
) WITH (fillfactor = 50);
CREATE INDEX refs_expires_at_idx ON refs (expires_at) WHERE expires_at IS NOT NULL;

-- One row per revision. An object id opens nothing unless it stands here for the project asked for.
CREATE TABLE ref_log (
    project_id uuid NOT NULL,
    name text NOT NULL,
    seq integer NOT NULL,
    oid bytea NOT NULL,
    -- The commit's tree, so that reading a revision does not read the commit first.
    tree bytea NOT NULL,
    parents bytea[] NOT NULL,
    -- 1 person, 2 agent.
    actor smallint NOT NULL,
    user_id uuid NOT NULL,
    turn_id uuid,
    message text NOT NULL,
    added integer NOT NULL,
    modified integer NOT NULL,
    deleted integer NOT NULL,
    renamed integer NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (project_id, name, seq),
    FOREIGN KEY (project_id, name) REFERENCES refs (project_id, name) ON DELETE CASCADE
);
CREATE INDEX ref_log_project_id_oid_idx ON ref_log (project_id, oid);

-- What a save with a request id did, for a repeat of it.
CREATE TABLE save_requests (
    user_id uuid NOT NULL,
    request_id text NOT NULL,
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    -- SHA-256 of the request.
    fingerprint bytea NOT NULL,
    -- The revision it answered; empty in a project without files.
    revision bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, request_id)
);
CREATE INDEX save_requests_project_id_idx ON save_requests (project_id);
CREATE INDEX save_requests_created_at_idx ON save_requests USING brin (created_at);
