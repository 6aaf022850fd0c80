-- The origin at which a person sees the previews of a project. Its name is derived from project, person and generation, so that what a page
-- has stored in the browser is still there with the next revision.
CREATE TABLE preview_origins (
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id uuid NOT NULL,
    -- Raised when the origin is revoked.
    generation integer NOT NULL DEFAULT 1,
    -- SHA-256 of the capability of this generation; NULL if none was given out.
    hash bytea,
    PRIMARY KEY (project_id, user_id)
);
CREATE UNIQUE INDEX preview_origins_hash_idx ON preview_origins (hash) WHERE hash IS NOT NULL;

-- A row is now a grant of one session: what the origin shows, and until when. Several sessions of a person have the same capability.
ALTER TABLE previews
    -- NULL where the release before made it: its capability is random and has no origin.
    ADD COLUMN generation integer,
    ADD COLUMN granted_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE previews DROP CONSTRAINT previews_pkey;
CREATE UNIQUE INDEX previews_hash_session_id_idx ON previews (hash, session_id);
