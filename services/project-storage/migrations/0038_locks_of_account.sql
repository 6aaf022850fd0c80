-- See 0032.

CREATE INDEX locks_user_id_project_id_idx ON locks (user_id, project_id);
