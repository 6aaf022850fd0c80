-- The same sum as before. A function in SQL is planned at each call, and every save calls this one: the plan took a quarter of the time
-- of its statement or more. PL/pgSQL keeps the plan for the session.
CREATE OR REPLACE FUNCTION account_bytes(account uuid, store uuid DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
        SELECT coalesce(sum(CASE
            WHEN s.owner_id IS NULL THEN s.bytes
            WHEN s.owner_id = account
                THEN greatest(0, s.bytes - (SELECT coalesce(sum(h.bytes), 0) FROM store_shares h WHERE h.store_id = s.id AND h.owner_id <> account))
            ELSE (SELECT coalesce(sum(h.bytes), 0) FROM store_shares h WHERE h.store_id = s.id AND h.owner_id = account)
        END), 0)::bigint
        FROM stores s
        WHERE s.id IN (
            SELECT p.store_id FROM projects p WHERE p.owner_id = account
            UNION
            SELECT h.store_id FROM store_shares h WHERE h.owner_id = account
        ) AND (store IS NULL OR s.id = store)
    );
END
$$;
