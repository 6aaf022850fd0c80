-- What a family of projects stores, so that an account's bytes are the sum over its projects. The trigger counts for every release that
-- writes, also for the one before, and for nobody twice: objects that are there already are not inserted.
ALTER TABLE stores ADD COLUMN bytes bigint NOT NULL DEFAULT 0;

CREATE FUNCTION count_objects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE stores s SET bytes = s.bytes + n.bytes
    FROM (SELECT store_id, sum(octet_length(data))::bigint AS bytes FROM new_objects GROUP BY store_id) n
    WHERE s.id = n.store_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER objects_counted AFTER INSERT ON objects
    REFERENCING NEW TABLE AS new_objects FOR EACH STATEMENT EXECUTE FUNCTION count_objects();

-- The lock that CREATE TRIGGER took keeps new objects out until this is committed.
UPDATE stores s SET bytes = o.bytes
FROM (SELECT store_id, sum(octet_length(data))::bigint AS bytes FROM objects GROUP BY store_id) o
WHERE s.id = o.store_id;
