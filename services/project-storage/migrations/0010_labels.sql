-- Names that people give to revisions. A name stands for one revision of a project.
CREATE TABLE labels (
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name text COLLATE "C" NOT NULL,
    oid bytea NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, name)
);
CREATE INDEX labels_project_id_oid_idx ON labels (project_id, oid);
