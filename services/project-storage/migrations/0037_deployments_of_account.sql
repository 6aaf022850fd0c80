-- See 0032.

CREATE INDEX deployments_user_id_project_id_idx ON deployments (user_id, project_id);
