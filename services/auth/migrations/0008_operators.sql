-- What an operator does with accounts, and the audit log.

-- A disabled account cannot sign in and has no sessions. The release before does not read the column.
alter table users add column disabled_at timestamptz;

-- Sessions whose access tokens are out of date, such as after a change of the plan. Their cursors are in one sequence with those of
-- `revocations`, under the same lock. They are in a table of their own, because the release before takes each row there for an end.
create table session_changes (
    cursor     bigint      not null default nextval('revocations_cursor_seq') constraint session_changes_cursor_key primary key,
    session_id uuid        not null,
    created_at timestamptz not null
);

-- Who did what to which account. Rows are only added. No foreign key: an event outlives its account.
create table audit_events (
    id         uuid        not null constraint audit_events_id_key primary key,
    created_at timestamptz not null,
    kind       text        not null constraint audit_events_kind_check check (kind ~ '^[a-z_]+\.[a-z_]+$' and length(kind) <= 64),
    actor_kind text        not null constraint audit_events_actor_kind_check check (actor_kind in ('user', 'operator', 'system')),
    -- The id of a user or the name of an operator.
    actor_id   text        constraint audit_events_actor_id_check check (length(actor_id) <= 80),
    user_id    uuid,
    -- The network of the client: /24 of an IPv4 address, /48 of an IPv6 address.
    network    text        constraint audit_events_network_check check (length(network) <= 64),
    trace_id   text        constraint audit_events_trace_id_check check (length(trace_id) <= 64),
    details    jsonb       not null constraint audit_events_details_check check (octet_length(details::text) <= 32768)
);

create index audit_events_created_at_id_idx on audit_events (created_at, id);

create function refuse_change_of_audit_events() returns trigger language plpgsql as $$
begin
    raise exception 'audit_events can only be appended to' using errcode = 'insufficient_privilege';
end
$$;

-- For everybody, also for the owner of the table and for a session with `session_replication_role = replica`.
create trigger audit_events_append_only before update or delete or truncate on audit_events
    for each statement execute function refuse_change_of_audit_events();
alter table audit_events enable always trigger audit_events_append_only;
