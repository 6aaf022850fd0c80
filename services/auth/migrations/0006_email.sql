-- Proofs of e-mail addresses: when an address was proved, the tokens of links in mails, and the mails that have to be sent.

-- Null: nobody can sign in with a password before a reset sets one.
alter table users alter column password_hash drop not null;
-- When somebody proved that they receive mail at `email`. Null: nobody did.
alter table users add column verified_at timestamptz;

-- A row is deleted when its token is used.
create table email_tokens (
    -- SHA-256 of the token, which only the mail has.
    token_hash     bytea       not null constraint email_tokens_token_hash_key primary key,
    -- Each purpose is one step, and one RPC accepts it.
    purpose        text        not null constraint email_tokens_purpose_check check (purpose in ('sign_up', 'verify', 'reset')),
    -- Null for a sign-up: its account may not exist yet.
    user_id        uuid        constraint email_tokens_user_id_fkey references users (id) on delete cascade,
    -- The address that the mail went to. If the account has another one by then, the token proves nothing.
    email          text        not null,
    email_identity text        not null,
    -- What the sign-up asked for.
    password_hash  text,
    display_name   text,
    expires_at     timestamptz not null
);

create index email_tokens_user_id_idx on email_tokens (user_id);
create index email_tokens_email_identity_idx on email_tokens (email_identity);
create index email_tokens_expires_at_idx on email_tokens (expires_at);

-- A row has no token and no text of a mail: both are made when the mail is sent. A mail that was sent keeps its row without its content for
-- a day, so that the mails of one recipient can be counted.
create table mail_queue (
    id            uuid        not null constraint mail_queue_id_key primary key,
    kind          text        not null
        constraint mail_queue_kind_check check (kind in ('sign_up', 'verify', 'reset', 'password_changed', 'new_device')),
    -- Whose account it is about; null if the account has to be found by `email`.
    user_id       uuid        constraint mail_queue_user_id_fkey references users (id) on delete cascade,
    -- SHA-256 of the identity of the address.
    recipient     bytea       not null,
    -- The address as it was typed at a sign-up or for a reset.
    email         text,
    -- What a sign-up asked for.
    password_hash text,
    display_name  text,
    -- The network of a sign-in.
    network       text,
    created_at    timestamptz not null,
    attempts      integer     not null,
    -- When the next attempt may begin; an attempt in work moves it by its lease. Null after the mail was sent.
    due_at        timestamptz,
    sent_at       timestamptz
);

create index mail_queue_due_at_idx on mail_queue (due_at) where due_at is not null;
create index mail_queue_recipient_idx on mail_queue (recipient, kind, sent_at) where sent_at is not null;
create index mail_queue_user_id_idx on mail_queue (user_id);
create index mail_queue_created_at_idx on mail_queue (created_at);
