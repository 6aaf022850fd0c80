-- API keys and the sign-ins of devices. A key has a row of `sessions`, so that whatever ends the sessions of an account ends its keys. That row has the kind
-- `refresh_token` and no secret: the release before lists and ends it as a program, and exchanges nothing for it.

create table api_keys (
    session_id uuid    not null constraint api_keys_session_id_key primary key
        constraint api_keys_session_id_fkey references sessions (id) on delete cascade,
    -- SHA-256 of the key; the key itself is kept nowhere.
    token_hash bytea   not null constraint api_keys_token_hash_key unique,
    -- The last characters of the key, by which its owner recognises it.
    last_four  text    not null,
    -- Every key may read.
    can_write  boolean not null,
    -- The projects that it is restricted to; null for all of the account.
    projects   uuid[]  constraint api_keys_projects_check check (cardinality(projects) between 1 and 20)
);

alter table mail_queue drop constraint mail_queue_kind_check;
alter table mail_queue add constraint mail_queue_kind_check
    check (kind in ('sign_up', 'verify', 'reset', 'password_changed', 'new_device', 'key_made'));

-- Sign-ins of devices (RFC 8628): a program shows a code, and a signed-in person enters it in a browser. A row is deleted when the program gets
-- its session.
create table device_sign_ins (
    id          uuid        not null constraint device_sign_ins_id_key primary key,
    -- SHA-256 of the code that the program has.
    device_hash bytea       not null constraint device_sign_ins_device_hash_key unique,
    -- HMAC-SHA-256 of the code that the person types: it is short, so a hash without a key would not hide it.
    user_hash   bytea       not null constraint device_sign_ins_user_hash_key unique,
    -- What the program calls itself.
    client_name text        not null,
    -- The /24 or /48 network of the program.
    network     text        not null,
    -- Who decided.
    user_id     uuid        constraint device_sign_ins_user_id_fkey references users (id) on delete cascade,
    -- Null: nobody has decided yet.
    is_approved boolean,
    created_at  timestamptz not null,
    expires_at  timestamptz not null,
    -- When the program asked last, and how many seconds it has to wait between two questions.
    polled_at   timestamptz,
    wait        integer     not null,
    constraint device_sign_ins_decision_check check ((user_id is null) = (is_approved is null))
);

create index device_sign_ins_expires_at_idx on device_sign_ins (expires_at);
create index device_sign_ins_user_id_idx on device_sign_ins (user_id) where user_id is not null;
