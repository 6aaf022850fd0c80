-- What npm would install, by the hash of package.json, lock file and registry.
create table resolutions (
    key     bytea       not null constraint resolutions_key_key primary key,
    body    bytea       not null,
    used_at timestamptz not null
);
create index resolutions_used_at_idx on resolutions (used_at);

-- Tarballs of packages by their published hash.
create table tarballs (
    integrity text        not null constraint tarballs_integrity_key primary key,
    body      bytea       not null,
    used_at   timestamptz not null
);
create index tarballs_used_at_idx on tarballs (used_at);

-- Bundles by the hash of packages, specifiers and compiler, each with its outputs. Projects with the same packages share them.
create table bundles (
    key     bytea       not null constraint bundles_key_key primary key,
    body    bytea       not null,
    outputs text[]      not null,
    used_at timestamptz not null
);
create index bundles_used_at_idx on bundles (used_at);
