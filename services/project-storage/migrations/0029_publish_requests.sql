-- The idempotency keys of publications, for seven days, with what they answer. They outlive their deployments and sites.
CREATE TABLE publish_requests (
    user_id uuid NOT NULL,
    request_id text NOT NULL,
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    -- SHA-256 of the request.
    fingerprint bytea NOT NULL,
    -- The site as the request left it.
    slug text NOT NULL,
    site_created_at timestamptz NOT NULL,
    -- The deployment that the request made.
    number integer NOT NULL,
    revision bytea NOT NULL,
    base_path text NOT NULL,
    files integer NOT NULL,
    bytes bigint NOT NULL,
    -- When it was published.
    created_at timestamptz NOT NULL,
    -- What the build found, as JSON.
    findings text NOT NULL,
    PRIMARY KEY (user_id, request_id)
);
CREATE INDEX publish_requests_project_id_idx ON publish_requests (project_id);
CREATE INDEX publish_requests_created_at_idx ON publish_requests USING brin (created_at);

INSERT INTO publish_requests
SELECT d.user_id, d.request_id, d.project_id, d.fingerprint, s.slug, s.created_at, d.number, d.revision, d.base_path, d.files, d.bytes,
       d.created_at, '[]'
FROM deployments d JOIN sites s ON s.project_id = d.project_id
WHERE d.request_id IS NOT NULL AND d.fingerprint IS NOT NULL;

-- No release has written them.
ALTER TABLE deployments DROP COLUMN request_id, DROP COLUMN fingerprint;
