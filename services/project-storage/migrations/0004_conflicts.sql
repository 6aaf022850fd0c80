-- How a conflicted turn was resolved: the revision, and SHA-256 of the request, so that its repeat is known.
ALTER TABLE turns ADD COLUMN resolution bytea, ADD COLUMN resolution_key bytea;
