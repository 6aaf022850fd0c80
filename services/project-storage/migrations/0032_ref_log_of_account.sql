-- For the deletion of an account: what has the id of a person in projects in which they have no role any more, and in the logs of purged
-- projects that forks still read. The deletion goes through it project by project. This index and those of the next eight migrations have a
-- transaction each: one that holds several tables would wait for requests that wait for it.

CREATE INDEX ref_log_user_id_project_id_idx ON ref_log (user_id, project_id);
