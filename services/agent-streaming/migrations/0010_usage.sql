-- The turns of a person since a time, whose tokens are summed.
CREATE INDEX turns_user_id_created_at_idx ON turns (user_id, created_at);
