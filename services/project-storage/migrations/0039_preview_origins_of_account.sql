-- See 0032.

CREATE INDEX preview_origins_user_id_project_id_idx ON preview_origins (user_id, project_id);
