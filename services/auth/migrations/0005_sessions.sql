-- What a person sees of their sessions, and the sessions of programs with refresh tokens.

alter table sessions
    add column kind         text not null default 'sign_in' constraint sessions_kind_check check (kind in ('sign_in', 'refresh_token')),
    -- The name that the person gave to the session of a program.
    add column display_name text not null default '',
    -- Browser and system of the sign-in in plain words.
    add column device       text not null default '',
    -- The /24 or /48 network of the sign-in.
    add column network      text not null default '',
    -- A session of refresh tokens has no secret of its own.
    alter column token_hash drop not null;

create table refresh_tokens (
    id             uuid        not null constraint refresh_tokens_id_key primary key,
    session_id     uuid        not null constraint refresh_tokens_session_id_fkey references sessions (id) on delete cascade,
    -- The token that was exchanged for this one; null for the first one of a session. Each has one successor.
    parent_id      uuid        constraint refresh_tokens_parent_id_key unique,
    -- SHA-256 of the token; the token itself is kept nowhere.
    token_hash     bytea       not null constraint refresh_tokens_token_hash_key unique,
    created_at     timestamptz not null,
    -- When it was exchanged for the first time.
    used_at        timestamptz,
    -- The token and the seed together yield the next token, so that a repeated exchange gives the same one.
    seed           bytea,
    -- When the access token that came with it was used for the first time.
    access_used_at timestamptz,
    constraint refresh_tokens_seed_check check ((used_at is null) = (seed is null))
);

create index refresh_tokens_session_id_idx on refresh_tokens (session_id);
create index refresh_tokens_used_at_idx on refresh_tokens (used_at) where used_at is not null;
