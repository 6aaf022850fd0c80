-- Copies of revisions that anybody may make projects of. All versions of a template are in a store of its own.
CREATE TABLE templates (
    id uuid PRIMARY KEY,
    -- No project uses this store.
    store_id uuid NOT NULL UNIQUE REFERENCES stores (id),
    -- The nil id is Backlot itself.
    publisher_id uuid NOT NULL,
    -- The name of a template that ships with Backlot.
    starter text UNIQUE,
    -- The newest version.
    version integer NOT NULL,
    title text NOT NULL,
    description text NOT NULL,
    category text NOT NULL,
    tags text[] NOT NULL,
    -- 1 beginner, 2 intermediate, 3 advanced.
    difficulty smallint NOT NULL,
    picture text NOT NULL,
    recommended_agent text NOT NULL,
    -- Title, tags and description.
    words tsvector NOT NULL,
    featured boolean NOT NULL DEFAULT false,
    hidden boolean NOT NULL DEFAULT false,
    uses bigint NOT NULL DEFAULT 0,
    -- How many reviews there are, and the sum of their stars.
    ratings bigint NOT NULL DEFAULT 0,
    stars bigint NOT NULL DEFAULT 0,
    -- The order by rating: a thousandth of the average with five more ratings of three stars.
    score bigint NOT NULL GENERATED ALWAYS AS ((stars + 15) * 1000 / (ratings + 5)) STORED,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 80);
CREATE INDEX templates_uses_id_idx ON templates (uses, id);
CREATE INDEX templates_score_id_idx ON templates (score, id);
CREATE INDEX templates_created_at_id_idx ON templates (created_at, id);
CREATE INDEX templates_publisher_id_idx ON templates (publisher_id);
CREATE INDEX templates_words_idx ON templates USING gin (words);
CREATE INDEX templates_tags_idx ON templates USING gin (tags);

CREATE TABLE template_versions (
    template_id uuid NOT NULL REFERENCES templates (id) ON DELETE CASCADE,
    version integer NOT NULL,
    tree bytea NOT NULL,
    files integer NOT NULL,
    bytes bigint NOT NULL,
    -- A list of objects, as JSON.
    variables text NOT NULL,
    -- The paths of the files that have a placeholder, as JSON.
    filled text NOT NULL,
    -- SHA-256 of what a starter consists of.
    digest bytea,
    -- The request that published it, and SHA-256 of its content.
    publisher_id uuid NOT NULL,
    request_id text,
    fingerprint bytea,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (template_id, version),
    CONSTRAINT template_versions_request_key UNIQUE (publisher_id, request_id)
);

-- One review of each person.
CREATE TABLE template_reviews (
    template_id uuid NOT NULL REFERENCES templates (id) ON DELETE CASCADE,
    user_id uuid NOT NULL,
    stars smallint NOT NULL CHECK (stars BETWEEN 1 AND 5),
    text text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (template_id, user_id)
);
CREATE INDEX template_reviews_updated_at_idx ON template_reviews (template_id, updated_at, user_id);

-- One report of each person.
CREATE TABLE template_reports (
    template_id uuid NOT NULL REFERENCES templates (id) ON DELETE CASCADE,
    user_id uuid NOT NULL,
    reason text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (template_id, user_id)
);
CREATE INDEX template_reports_updated_at_idx ON template_reports (updated_at, template_id, user_id);
