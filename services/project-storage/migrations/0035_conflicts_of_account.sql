-- See 0032.

CREATE INDEX conflicts_user_id_project_id_idx ON conflicts (user_id, project_id);
