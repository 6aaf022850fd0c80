-- Sessions that ended, in the order in which they ended. Writers hold an advisory lock from the insert to the commit, so that
-- a reader who has seen a cursor has seen every smaller one.

create table revocations (
    cursor     bigint      not null generated always as identity constraint revocations_cursor_key primary key,
    session_id uuid        not null,
    created_at timestamptz not null
);

create index revocations_created_at_idx on revocations (created_at);
