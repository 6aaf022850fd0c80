-- Files and folders that agents, or all members but admins, may not change.
CREATE TABLE locks (
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    path text COLLATE "C" NOT NULL,
    -- 1 agents, 2 everybody but admins.
    scope smallint NOT NULL CHECK (scope IN (1, 2)),
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (project_id, path)
);

-- How often the locks of the project changed. A commit that checked the locks moves the head only if they are the same; the number is in
-- the row of the head so that its update sees the present one. 0: no lock was ever set.
ALTER TABLE refs ADD COLUMN lock_version integer NOT NULL DEFAULT 0;
