-- Lists of revisions by time and by author. The number follows, so that a page continues behind its last row.
CREATE INDEX ref_log_created_at_idx ON ref_log (project_id, name, created_at, seq);
CREATE INDEX ref_log_user_id_created_at_idx ON ref_log (project_id, name, user_id, created_at, seq);
