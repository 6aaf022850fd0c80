-- The agents that turns run with, by the hash of their files: a changed catalogue never changes a turn.
CREATE TABLE agents (
    version text PRIMARY KEY,
    definition jsonb NOT NULL,
    -- When a replica that has it said so last.
    stored_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What selection read of all agents, by the version of the catalogue: a decision can be made again.
CREATE TABLE catalogues (
    version text PRIMARY KEY,
    profiles jsonb NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Why the agent was selected, an encoded `AgentSelected`. Absent for turns that the release before has accepted.
ALTER TABLE turns ADD COLUMN selection bytea;
-- The agent, in `agents`. Absent for turns that the release before has accepted.
ALTER TABLE turns ADD COLUMN agent_version text;
