-- A deleted project has no members, so that every permission check finds that it is absent. former_members has them, and
-- deleted_draft_id its draft id, which another project may get meanwhile.
ALTER TABLE projects ADD COLUMN deleted_at timestamptz, ADD COLUMN deleted_draft_id text;
CREATE INDEX projects_deleted_at_idx ON projects (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE former_members (
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id uuid NOT NULL,
    role smallint NOT NULL CHECK (role BETWEEN 1 AND 4),
    PRIMARY KEY (project_id, user_id)
);

-- What was deleted for ever, until every other service that keeps data of it has deleted that as well.
CREATE TABLE deletions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- 1 message, 2 project.
    kind smallint NOT NULL CHECK (kind IN (1, 2)),
    project_id uuid NOT NULL,
    -- The message and its turn; NULL for a project.
    turn_id uuid,
    message_id uuid,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The services that have not acknowledged it.
    waiting_for text[] NOT NULL,
    -- When the last of them did.
    done_at timestamptz
);
CREATE INDEX deletions_waiting_idx ON deletions (id) WHERE done_at IS NULL;
CREATE INDEX deletions_done_at_idx ON deletions (done_at) WHERE done_at IS NOT NULL;
