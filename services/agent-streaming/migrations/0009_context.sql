-- The texts of a turn's prompt that depend on other services, by their SHA-256: every worker of the turn sends exactly these. They are deleted
-- when the turn ends.
CREATE TABLE prompt_parts (
    turn_id uuid NOT NULL,
    id text NOT NULL,
    content text NOT NULL,
    PRIMARY KEY (turn_id, id)
);

-- The first files that the turn has changed, for the plans of later turns. Absent for turns that the release before has committed.
ALTER TABLE turns ADD COLUMN files text[];

-- The files and folders that the request has put into the prompt and has kept out of it.
ALTER TABLE turns ADD COLUMN pinned_paths text[] NOT NULL DEFAULT '{}';
ALTER TABLE turns ADD COLUMN excluded_paths text[] NOT NULL DEFAULT '{}';
