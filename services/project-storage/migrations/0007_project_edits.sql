-- When files or name last changed; updated_at also moves with the conversation and orders the list. Empty for projects that were
-- last changed by the release before.
ALTER TABLE projects ADD COLUMN edited_at timestamptz;
