-- See 0032.

CREATE INDEX labels_user_id_project_id_idx ON labels (user_id, project_id);
