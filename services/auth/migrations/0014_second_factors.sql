-- Second factors: authenticator apps and recovery codes; and the sign-ins that wait for them.

-- An account has at most one authenticator app.
create table totp_secrets (
    id            uuid        not null constraint totp_secrets_id_key primary key,
    user_id       uuid        not null constraint totp_secrets_user_id_key unique
        constraint totp_secrets_user_id_fkey references users (id) on delete cascade,
    -- The secret of RFC 6238 in an envelope of `chassis::secret`, bound to this row and its account.
    sealed_secret bytea       not null,
    created_at    timestamptz not null,
    -- When a code confirmed it. Null: it is no factor yet.
    confirmed_at  timestamptz,
    -- The time step of the last accepted code. Codes up to it are refused.
    last_step     bigint      not null
);

-- A row is deleted when its code is used.
create table recovery_codes (
    -- SHA-256 of a code of 120 random bits, which is kept nowhere.
    code_hash  bytea       not null constraint recovery_codes_code_hash_key primary key,
    user_id    uuid        not null constraint recovery_codes_user_id_fkey references users (id) on delete cascade,
    created_at timestamptz not null
);

create index recovery_codes_user_id_idx on recovery_codes (user_id);

-- Sign-ins whose password was right, and which wait for the second factor. A row is deleted when its sign-in is completed.
create table pending_sign_ins (
    -- SHA-256 of the token, which only the client has.
    token_hash bytea       not null constraint pending_sign_ins_token_hash_key primary key,
    user_id    uuid        not null constraint pending_sign_ins_user_id_fkey references users (id) on delete cascade,
    -- Whether the first step was the password; else it was a provider.
    by_password boolean    not null,
    attempts   integer     not null,
    expires_at timestamptz not null
);

create index pending_sign_ins_user_id_idx on pending_sign_ins (user_id);
create index pending_sign_ins_expires_at_idx on pending_sign_ins (expires_at);
