-- Passkeys (WebAuthn): second factors with which a person also signs in; and the exchanges with authenticators that are in progress.

create table passkeys (
    id              uuid        not null constraint passkeys_id_key primary key,
    user_id         uuid        not null constraint passkeys_user_id_fkey references users (id) on delete cascade,
    -- What the authenticator calls it.
    credential_id   bytea       not null constraint passkeys_credential_id_key unique,
    -- The name that the person gave to it.
    name            text        not null constraint passkeys_name_check check (length(name) between 1 and 80),
    -- The public key, the counter and the policy, as webauthn-rs stores them.
    credential      jsonb       not null,
    -- Whether it signs in without an address.
    is_discoverable boolean     not null,
    -- Whether the authenticator copies it to other devices of the person.
    is_backed_up    boolean     not null,
    created_at      timestamptz not null,
    last_used_at    timestamptz
);

create index passkeys_user_id_idx on passkeys (user_id);

-- A row is deleted when its answer arrives.
create table passkey_ceremonies (
    -- SHA-256 of the token, which only the client has.
    token_hash   bytea       not null constraint passkey_ceremonies_token_hash_key primary key,
    purpose      text        not null,
    -- The challenge and the policy, as webauthn-rs stores them.
    state        jsonb       not null,
    -- The session that registers a passkey or steps up.
    session_id   uuid        constraint passkey_ceremonies_session_id_fkey references sessions (id) on delete cascade,
    -- The sign-in whose second step it is.
    sign_in_hash bytea       constraint passkey_ceremonies_sign_in_hash_fkey references pending_sign_ins (token_hash) on delete cascade,
    expires_at   timestamptz not null
);

create index passkey_ceremonies_expires_at_idx on passkey_ceremonies (expires_at);
create index passkey_ceremonies_session_id_idx on passkey_ceremonies (session_id) where session_id is not null;
create index passkey_ceremonies_sign_in_hash_idx on passkey_ceremonies (sign_in_hash) where sign_in_hash is not null;
