-- For the deletion of an account: what the person has said about templates, and their roles in deleted projects.

CREATE INDEX template_reviews_user_id_idx ON template_reviews (user_id);
CREATE INDEX template_reports_user_id_idx ON template_reports (user_id);
CREATE INDEX former_members_user_id_idx ON former_members (user_id);
