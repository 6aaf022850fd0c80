-- Since when a store has neither a project nor a template: an import that makes a project writes to it before, or its template was
-- unpublished. If no lease of it is valid, it is deleted with everything in it. NULL for every other store.
ALTER TABLE stores ADD COLUMN unused_since timestamptz;
CREATE INDEX stores_unused_since_idx ON stores (unused_since) WHERE unused_since IS NOT NULL;
