-- All tables are a cache: every row can be deleted, and is created again when it is needed.

-- Contents of files by their git ids.
create table contents (
    blob_id text        not null constraint contents_blob_id_key primary key,
    body    bytea       not null,
    used_at timestamptz not null
);
create index contents_used_at_idx on contents (used_at);

-- What the page has to know of a module. The key has path, content, options and release. A module of an inline script has the path and
-- the content of its page. `output` is the name of its code, or empty if it has none.
create table facts (
    key     text        not null constraint facts_key_key primary key,
    path    text        not null,
    blob_id text        not null,
    output  text        not null,
    body    bytea       not null,
    used_at timestamptz not null
);
create index facts_blob_id_idx on facts (blob_id, path);
create index facts_used_at_idx on facts (used_at);

-- Code, source maps and style sheets by their addresses below the base.
create table outputs (
    name    text        not null constraint outputs_name_key primary key,
    body    bytea       not null,
    used_at timestamptz not null
);
create index outputs_used_at_idx on outputs (used_at);

-- Answers by the hash of tree, options and compiler, each with the outputs that it names.
create table pages (
    key     bytea       not null constraint pages_key_key primary key,
    body    bytea       not null,
    outputs text[]      not null,
    used_at timestamptz not null
);
create index pages_used_at_idx on pages (used_at);
