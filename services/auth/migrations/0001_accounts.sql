-- People, their browser sessions, and the addresses they have signed in from.

create table users (
    id            uuid        not null constraint users_id_key primary key,
    -- As given, with a lower-case domain.
    email         text        not null,
    -- The whole address in lower case: two spellings of one address are one account.
    email_key     text        not null constraint users_email_key_key unique,
    display_name  text        not null,
    plan          text        not null constraint users_plan_check check (plan in ('free', 'pro', 'team', 'enterprise')),
    -- PHC string.
    password_hash text        not null,
    created_at    timestamptz not null
);

create table sessions (
    id           uuid        not null constraint sessions_id_key primary key,
    user_id      uuid        not null constraint sessions_user_id_fkey references users (id) on delete cascade,
    -- SHA-256 of the secret; the secret itself is kept nowhere.
    token_hash   bytea       not null constraint sessions_token_hash_key unique,
    created_at   timestamptz not null,
    -- Has no index on purpose: with room on the page a touch then rewrites only the row.
    last_used_at timestamptz not null,
    expires_at   timestamptz not null
) with (fillfactor = 80);

create index sessions_user_id_idx on sessions (user_id);
create index sessions_expires_at_idx on sessions (expires_at);

-- A failed sign-in from one of these does not count against the account.
create table user_addresses (
    user_id      uuid        not null constraint user_addresses_user_id_fkey references users (id) on delete cascade,
    -- An IPv4 address, or the /64 network of an IPv6 address.
    address      text        not null,
    signed_in_at timestamptz not null,
    constraint user_addresses_user_id_address_key primary key (user_id, address)
);

create index user_addresses_signed_in_at_idx on user_addresses (signed_in_at);
