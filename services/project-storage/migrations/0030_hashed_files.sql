-- The files of a site whose paths have a hash of the content, by address, so that an unknown address costs one statement. A publication writes
-- those of its deployment. Deployments that are older than this table have no rows: no release has made them.
CREATE TABLE hashed_files (
    project_id uuid NOT NULL,
    -- Base path and path, without `/` at the start.
    address text NOT NULL,
    -- The newest deployment that has it.
    number integer NOT NULL,
    -- The path in that deployment.
    path text NOT NULL,
    oid bytea NOT NULL,
    size integer NOT NULL,
    PRIMARY KEY (project_id, address),
    FOREIGN KEY (project_id, number) REFERENCES deployments (project_id, number) ON DELETE CASCADE
);
CREATE INDEX hashed_files_project_id_number_idx ON hashed_files (project_id, number);
