-- What a client stores with a turn: a map of strings. The constant default rewrites nothing.
ALTER TABLE turns ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}';

-- The entries of the turns that have a project, to list turns by them. The rows are written in the statement that stores the project of the turn.
CREATE TABLE turn_metadata (
    turn_id uuid NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    key text NOT NULL,
    value text NOT NULL,
    project_id uuid NOT NULL,
    user_id uuid NOT NULL,
    PRIMARY KEY (turn_id, key)
);
CREATE INDEX turn_metadata_entry_idx ON turn_metadata (project_id, user_id, key, value, turn_id);
