-- The next turn of the project, before every other one that waits: it was asked for with IF_ACTIVE_INTERRUPT.
ALTER TABLE turns ADD COLUMN goes_first boolean NOT NULL DEFAULT false;
-- The client's own id of the user's message.
ALTER TABLE turns ADD COLUMN client_message_id text NOT NULL DEFAULT '';
-- The turn whose messages and all later ones BeginTurn hides.
ALTER TABLE turns ADD COLUMN replaces_turn_id uuid;
-- Owners that were lost since the last finished step.
ALTER TABLE turns ADD COLUMN recoveries integer NOT NULL DEFAULT 0;
-- With ON_DISCONNECT_CANCEL: until when the turn goes on without a word from a replica that somebody follows it at.
ALTER TABLE turns ADD COLUMN follow_until timestamptz;

CREATE INDEX turns_project_id_idx ON turns (project_id, id DESC) WHERE project_id IS NOT NULL;
CREATE INDEX turns_user_id_draft_id_idx ON turns (user_id, draft_id) WHERE draft_id IS NOT NULL;
CREATE INDEX turns_user_id_client_message_id_idx ON turns (user_id, client_message_id) WHERE client_message_id <> '';
CREATE INDEX turns_follow_until_idx ON turns (follow_until) WHERE follow_until IS NOT NULL AND ended_at IS NULL;
