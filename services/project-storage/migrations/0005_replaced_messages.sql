-- Which turn replaced a message; pages leave it out.
ALTER TABLE messages ADD COLUMN hidden_by uuid;
-- A page stays one range however much of the conversation was replaced.
CREATE INDEX messages_visible_idx ON messages (project_id, id) WHERE hidden_by IS NULL;
