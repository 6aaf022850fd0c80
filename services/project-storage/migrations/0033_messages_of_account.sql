-- See 0032.

CREATE INDEX messages_user_id_project_id_idx ON messages (user_id, project_id);
