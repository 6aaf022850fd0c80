-- A member who is removed loses the previews for good, also if the person becomes a member again within their hour. Whoever deletes the row, and
-- whichever replica: during an upgrade, one of the release before does not know this.
CREATE FUNCTION end_grants_of_member() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM previews WHERE project_id = old.project_id AND user_id = old.user_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER end_grants_of_member AFTER DELETE ON members FOR EACH ROW EXECUTE FUNCTION end_grants_of_member();
