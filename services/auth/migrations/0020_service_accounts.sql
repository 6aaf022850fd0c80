-- Service accounts: accounts of programs, which belong to a person.

-- Whose service account it is. Null: the account of a person. Without a rule for deletions: each account that goes needs an entry of
-- `account_deletions`, which the release before does not write for service accounts.
alter table users add column owner_id uuid constraint users_owner_id_fkey references users (id);

-- Nobody signs in to a service account. The address is empty, because the release before reads it. Its keys have capital letters, which no address
-- that somebody types has after it was folded.
alter table users add constraint users_service_account_check check (
    owner_id is null
    or (password_hash is null and verified_at is null and email = '' and email_key = 'SERVICE ' || id::text and email_identity is not distinct from email_key)
);

create index users_owner_id_idx on users (owner_id) where owner_id is not null;
