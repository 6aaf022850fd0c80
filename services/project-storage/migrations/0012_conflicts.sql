-- Merges that a person has to resolve: of a turn, of the revert of a revision, and of a fork that is merged back. What could not be merged
-- is the only commit of the branch refs/conflicts/<id>.
CREATE TABLE conflicts (
    -- Of a turn: its id.
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    -- 1 turn, 2 revert, 3 merge back.
    kind smallint NOT NULL CHECK (kind BETWEEN 1 AND 3),
    -- The commit that both sides began with, and its tree; NULL is a project without files.
    base bytea,
    base_tree bytea,
    -- The head when the conflict arose; NULL is a project without files, or a conflict from the release before.
    ours bytea,
    -- The commit that could not be merged.
    theirs bytea NOT NULL,
    -- The paths in conflict when it arose.
    paths text[] NOT NULL,
    user_id uuid NOT NULL,
    -- SHA-256 of the request, if it had an idempotency key.
    fingerprint bytea,
    -- What the resolution undoes, as in ref_log.
    undoes bytea,
    redo boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    -- When the branch ends.
    expires_at timestamptz NOT NULL,
    -- The revision that resolved it, and SHA-256 of the user and the request, so that its repeat is known.
    resolution bytea,
    resolution_key bytea
);
CREATE INDEX conflicts_open_idx ON conflicts (project_id, created_at DESC, id DESC) WHERE resolution IS NULL;
CREATE INDEX conflicts_expires_at_idx ON conflicts (expires_at) WHERE resolution IS NULL;
CREATE INDEX conflicts_project_id_idx ON conflicts (project_id);

-- The revision that this one undoes: an undo names a change, and a redo (`redo`) names an undo.
ALTER TABLE ref_log ADD COLUMN undoes bytea, ADD COLUMN redo boolean NOT NULL DEFAULT false;
-- What one person has done in a project, the newest first.
CREATE INDEX ref_log_project_id_user_id_idx ON ref_log (project_id, user_id, name, seq);

-- How a request ended: 1 with its revision, 2 without a change, 3 with a conflict, whose id follows from the request.
ALTER TABLE save_requests ADD COLUMN outcome smallint NOT NULL DEFAULT 1;

-- The conflict of a turn whose branch has the name of the releases before, refs/turns/<turn id>.
CREATE FUNCTION insert_turn_conflict(turn turns) RETURNS void LANGUAGE sql AS $$
    INSERT INTO conflicts (id, project_id, kind, base, base_tree, theirs, paths, user_id, created_at, expires_at)
    SELECT turn.id, turn.project_id, 1, b.oid, b.tree, l.oid, turn.conflict_paths, l.user_id, l.created_at, r.expires_at
    FROM refs r
    JOIN ref_log l ON l.project_id = r.project_id AND l.name = r.name AND l.seq = r.seq
    LEFT JOIN LATERAL (
        SELECT g.oid, g.tree FROM ref_log g WHERE g.project_id = r.project_id AND g.oid = l.parents[1] LIMIT 1
    ) b ON true
    WHERE r.project_id = turn.project_id AND r.name = 'refs/turns/' || turn.id
    ON CONFLICT DO NOTHING
$$;

-- The release before may run beside this one: what it does to the rows of turns is done to their conflicts. Its branches keep their names
-- until they end.
CREATE FUNCTION follow_turn_conflict() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.resolution IS NULL THEN
        PERFORM insert_turn_conflict(NEW);
    ELSE
        UPDATE conflicts SET resolution = NEW.resolution, resolution_key = NEW.resolution_key WHERE id = NEW.id AND resolution IS NULL;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER turns_conflicted AFTER UPDATE ON turns FOR EACH ROW
    WHEN (NEW.state = 4 AND (OLD.state <> 4 OR OLD.resolution IS DISTINCT FROM NEW.resolution))
    EXECUTE FUNCTION follow_turn_conflict();

SELECT insert_turn_conflict(t) FROM turns t WHERE t.state = 4 AND t.resolution IS NULL;
-- The branch of a resolved conflict is gone, and with it its base.
INSERT INTO conflicts (id, project_id, kind, theirs, paths, user_id, created_at, expires_at, resolution, resolution_key)
SELECT id, project_id, 1, revision, conflict_paths, user_id, coalesce(ended_at, created_at), coalesce(ended_at, created_at) + interval '30 days',
       resolution, resolution_key
FROM turns WHERE state = 4 AND resolution IS NOT NULL AND revision IS NOT NULL AND user_id IS NOT NULL;
