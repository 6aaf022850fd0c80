-- What stays when a template is unpublished: what operators and other people have said about it, and which requests published it.

-- The store of the project that a version was published from. NULL for templates that ship with Backlot, and for versions of before.
ALTER TABLE template_versions ADD COLUMN source_store_id uuid;

-- Templates that were hidden or reported when they were unpublished. The next template that their publisher makes of the same project, or
-- of a fork of it, continues one of them.
CREATE TABLE unpublished_templates (
    id uuid PRIMARY KEY,
    publisher_id uuid NOT NULL,
    -- The stores of the projects that its versions were published from.
    source_store_ids uuid[] NOT NULL,
    hidden boolean NOT NULL,
    unpublished_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX unpublished_templates_publisher_id_idx ON unpublished_templates (publisher_id);

-- The idempotency keys of the publications of unpublished templates, for seven days.
CREATE TABLE unpublished_requests (
    publisher_id uuid NOT NULL,
    request_id text NOT NULL,
    fingerprint bytea NOT NULL,
    template_id uuid NOT NULL,
    unpublished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (publisher_id, request_id)
);
CREATE INDEX unpublished_requests_unpublished_at_idx ON unpublished_requests (unpublished_at);

-- Reports stay when their template is unpublished.
ALTER TABLE template_reports DROP CONSTRAINT template_reports_template_id_fkey;
