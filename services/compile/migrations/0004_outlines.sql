-- Outlines of files by the hash of content, extension and compiler. The body of a file without an outline is empty.
create table outlines (
    key     bytea       not null constraint outlines_key_key primary key,
    body    bytea       not null,
    used_at timestamptz not null
);
create index outlines_used_at_idx on outlines (used_at);
