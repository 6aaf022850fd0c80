-- No statement rewrites a table: the new columns have no default or a constant one. The two indexes hold few columns; their tables cannot be
-- written while they are built, which takes about a second for some million rows.

-- What a client stores with a project: a map of strings.
ALTER TABLE projects ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}';

-- The projects of a person, for a search in all their conversations.
CREATE INDEX members_user_id_project_id_idx ON members (user_id, project_id);

ALTER TABLE messages
    -- When its author changed the text.
    ADD COLUMN edited_at timestamptz,
    -- When it was deleted. The row stays, without the text.
    ADD COLUMN deleted_at timestamptz,
    -- What an answer did beside its text. Nothing writes it yet.
    ADD COLUMN parts jsonb,
    -- How many people found an answer helpful, or not.
    ADD COLUMN helpful integer NOT NULL DEFAULT 0,
    ADD COLUMN not_helpful integer NOT NULL DEFAULT 0;

-- Texts of edited messages that an open turn may read again: a turn reads the conversation as it was when the turn began.
CREATE TABLE message_versions (
    project_id uuid NOT NULL,
    message_id uuid NOT NULL,
    -- When another text took its place.
    replaced_at timestamptz NOT NULL,
    text text NOT NULL,
    PRIMARY KEY (project_id, message_id, replaced_at),
    FOREIGN KEY (project_id, message_id) REFERENCES messages (project_id, id) ON DELETE CASCADE
);

-- The turns that are running in a project.
CREATE INDEX turns_open_idx ON turns (project_id, created_at) WHERE state = 1;

-- What a person thinks of an answer.
CREATE TABLE reactions (
    project_id uuid NOT NULL,
    message_id uuid NOT NULL,
    user_id uuid NOT NULL,
    helpful boolean NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (project_id, message_id, user_id),
    FOREIGN KEY (project_id, message_id) REFERENCES messages (project_id, id) ON DELETE CASCADE
);
