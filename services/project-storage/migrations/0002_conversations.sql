-- The one conversation of a project. Ids are UUIDv7: their order is the order of the conversation.
CREATE TABLE messages (
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    turn_id uuid NOT NULL,
    -- 1 person, 2 agent.
    role smallint NOT NULL,
    text text NOT NULL,
    partial boolean NOT NULL DEFAULT false,
    -- The revision that came with an answer.
    revision bytea,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, id)
);

-- What an agent may work on, and how it ended. A turn that was ended before it began has no project.
CREATE TABLE turns (
    id uuid PRIMARY KEY,
    project_id uuid REFERENCES projects (id) ON DELETE CASCADE,
    user_id uuid,
    -- 1 open, 2 committed, 3 unchanged, 4 conflicted, 5 failed, 6 cancelled.
    state smallint NOT NULL CHECK (state BETWEEN 1 AND 6),
    -- SHA-256 of the arguments of BeginTurn.
    fingerprint bytea,
    -- The user's message.
    message_id uuid,
    -- SHA-256 of the change set.
    digest bytea,
    revision bytea,
    conflict_paths text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    CHECK (state IN (5, 6) OR project_id IS NOT NULL)
);
CREATE INDEX turns_project_id_idx ON turns (project_id);
