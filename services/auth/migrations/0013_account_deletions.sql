-- Deleted accounts whose data the other services still have to delete.

create table account_deletions (
    id          bigint      not null generated always as identity constraint account_deletions_id_key primary key,
    -- No foreign key: the account is gone.
    user_id     uuid        not null constraint account_deletions_user_id_key unique,
    created_at  timestamptz not null,
    -- The services that have not acknowledged it. The row goes with the last one.
    waiting_for text[]      not null constraint account_deletions_waiting_for_check check (waiting_for <> '{}')
);

-- A release skips the kinds that it does not know, so a new kind needs no migration.
alter table mail_queue drop constraint mail_queue_kind_check;
alter table mail_queue add constraint mail_queue_kind_check check (kind ~ '^[a-z_]+$' and length(kind) <= 64);

-- For the export of what there is of a person.
create index audit_events_user_id_created_at_id_idx on audit_events (user_id, created_at, id) where user_id is not null;
