-- Accounts of other providers with which a person signs in, sign-ins that are in progress at a provider, and invites to sign up.

-- The key of a person at a provider is issuer and subject. An address proves nothing here: its owner may change.
create table identities (
    id           uuid        not null constraint identities_id_key primary key,
    user_id      uuid        not null constraint identities_user_id_fkey references users (id) on delete cascade,
    -- The name of the provider in the settings, as it was then.
    provider     text        not null constraint identities_provider_check check (length(provider) between 1 and 32),
    issuer       text        not null constraint identities_issuer_check check (length(issuer) between 1 and 500),
    subject      text        not null constraint identities_subject_check check (length(subject) between 1 and 255),
    -- How the person recognises it: an address or a name at the provider.
    label        text        not null constraint identities_label_check check (length(label) <= 254),
    created_at   timestamptz not null,
    last_used_at timestamptz not null,
    constraint identities_issuer_subject_key unique (issuer, subject)
);

create index identities_user_id_idx on identities (user_id);

-- A row is deleted when its state comes back.
create table provider_flows (
    -- SHA-256 of the parameter `state`.
    state_hash   bytea       not null constraint provider_flows_state_hash_key primary key,
    -- SHA-256 of the secret in the cookie of the browser. The nonce and the PKCE verifier follow from the secret.
    browser_hash bytea       not null,
    provider     text        not null,
    -- The session that links an identity; null for a sign-in.
    session_id   uuid        constraint provider_flows_session_id_fkey references sessions (id) on delete cascade,
    -- The name of the page to go to afterwards.
    return_to    text        not null,
    -- SHA-256 of the token of an invite.
    invite_hash  bytea,
    expires_at   timestamptz not null
);

create index provider_flows_expires_at_idx on provider_flows (expires_at);
create index provider_flows_session_id_idx on provider_flows (session_id) where session_id is not null;

create table invites (
    id             uuid        not null constraint invites_id_key primary key,
    -- SHA-256 of the token; the token itself is kept nowhere.
    token_hash     bytea       not null constraint invites_token_hash_key unique,
    -- Who may use it; null: whoever has it.
    email          text,
    email_identity text,
    -- The name of the operator who made it.
    created_by     text        not null constraint invites_created_by_check check (length(created_by) between 1 and 80),
    created_at     timestamptz not null,
    expires_at     timestamptz not null,
    -- Either of them ends it.
    used_at        timestamptz,
    revoked_at     timestamptz,
    used_by        uuid        constraint invites_used_by_fkey references users (id) on delete set null,
    constraint invites_email_check check ((email is null) = (email_identity is null))
);

create index invites_used_by_idx on invites (used_by) where used_by is not null;
