-- See 0032.

CREATE INDEX turns_user_id_project_id_idx ON turns (user_id, project_id) WHERE user_id IS NOT NULL;
