-- See 0032.

CREATE INDEX reactions_user_id_project_id_idx ON reactions (user_id, project_id);
