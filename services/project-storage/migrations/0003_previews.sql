-- Capabilities to look at a project's files, for the rights of the person who made them.
CREATE TABLE previews (
    -- SHA-256 of the capability.
    hash bytea PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id uuid NOT NULL,
    -- NULL follows the head.
    revision bytea,
    touched_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX previews_project_id_idx ON previews (project_id);
CREATE INDEX previews_expires_at_idx ON previews (expires_at);
