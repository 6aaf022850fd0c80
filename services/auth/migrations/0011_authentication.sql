-- When and how the person of a session proved last who they are. The release before writes neither: then it was at the start of the
-- session, in an unknown way.

alter table sessions
    add column authenticated_at timestamptz,
    -- RFC 8176.
    add column amr              text[] not null default '{}'
        constraint sessions_amr_check check (cardinality(amr) <= 8 and array_position(amr, null) is null);
