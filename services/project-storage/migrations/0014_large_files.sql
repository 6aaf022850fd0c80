-- The files of a revision and their bytes, so that limits and quotas never read a tree. NULL in rows of earlier releases.
ALTER TABLE ref_log ADD COLUMN files integer, ADD COLUMN bytes bigint;

-- The content of a large file in parts, not compressed. Its row in objects has encoding 2, its size, and this id (16 bytes) as data.
-- A blob has an id of its own here, because its object id is known only after its last part.
CREATE TABLE chunks (
    store_id uuid NOT NULL,
    id uuid NOT NULL,
    n integer NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (store_id, id, n)
);
ALTER TABLE chunks ALTER data SET STORAGE EXTERNAL;

-- Objects that are written before the revision that uses them. Until expires_at, which the writer renews, nothing of the store may be
-- swept. No release sweeps objects yet. A sweep has to do this: it locks the row in stores (FOR UPDATE), which a new row here locks as well (FOR KEY SHARE), then locks the rows of the
-- store here, and goes on only if none of them is valid. A revision checks its row in the statement that moves the head.
CREATE TABLE pending_writes (
    id uuid PRIMARY KEY,
    store_id uuid NOT NULL REFERENCES stores (id) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    -- The chunks of a blob without a row in objects; deleted with this row if it expires.
    blob uuid
);
CREATE INDEX pending_writes_store_id_idx ON pending_writes (store_id);
CREATE INDEX pending_writes_expires_at_idx ON pending_writes (expires_at);

-- Chunks count for the account as objects do.
CREATE TRIGGER chunks_counted AFTER INSERT ON chunks
    REFERENCING NEW TABLE AS new_objects FOR EACH STATEMENT EXECUTE FUNCTION count_objects();

CREATE FUNCTION uncount_chunks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE stores s SET bytes = s.bytes - o.bytes
    FROM (SELECT store_id, sum(octet_length(data))::bigint AS bytes FROM old_chunks GROUP BY store_id) o
    WHERE s.id = o.store_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER chunks_uncounted AFTER DELETE ON chunks
    REFERENCING OLD TABLE AS old_chunks FOR EACH STATEMENT EXECUTE FUNCTION uncount_chunks();

-- The chunks of a blob are deleted with its row in objects, whoever deletes it.
CREATE FUNCTION delete_chunks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM chunks c USING old_objects o
    WHERE c.store_id = o.store_id AND c.id = CASE WHEN o.tag >> 4 = 2 THEN encode(o.data, 'hex')::uuid END;
    RETURN NULL;
END
$$;
CREATE TRIGGER objects_deleted AFTER DELETE ON objects
    REFERENCING OLD TABLE AS old_objects FOR EACH STATEMENT EXECUTE FUNCTION delete_chunks();
