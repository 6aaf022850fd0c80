-- The skills that turns run with, by the hash of their files: a changed folder never changes a turn.
CREATE TABLE skills (
    version text PRIMARY KEY,
    definition jsonb NOT NULL,
    -- When a replica that has it said so last.
    stored_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Sets of skills, by the hash of the versions of all skills in it.
CREATE TABLE skill_sets (
    version text PRIMARY KEY,
    skills text[] NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The set of the turn, in `skill_sets`, and the names of its tools. Both are absent for turns that the release before has accepted.
ALTER TABLE turns ADD COLUMN skills text;
ALTER TABLE turns ADD COLUMN tools text[];
