-- A turn: one request of a person to an agent on one project. Whoever holds `epoch` drives it; the lease says until when.
CREATE TABLE turns (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    -- Absent until project-storage has begun the turn.
    project_id uuid,
    draft_id text,
    idempotency_key text,
    -- SHA-256 of the request without its key.
    fingerprint bytea NOT NULL,
    prompt text NOT NULL,
    agent text NOT NULL,
    -- As in agent.selected.
    agent_rule text NOT NULL,
    model text NOT NULL,
    -- The revision that was asked for; empty means the head.
    asked_revision text NOT NULL,
    reject_if_active boolean NOT NULL,
    state text NOT NULL DEFAULT 'accepted' CHECK (
        state IN ('accepted', 'queued', 'running', 'committing', 'completed', 'failed', 'cancelled', 'conflicted')
    ),
    epoch bigint NOT NULL DEFAULT 0,
    -- Absent: nobody drives the turn.
    lease_expires_at timestamptz,
    base_revision text NOT NULL DEFAULT '',
    revision text NOT NULL DEFAULT '',
    failure_reason text NOT NULL DEFAULT '',
    -- As of the last change of this row; a running turn's log is ahead of it.
    last_seq integer NOT NULL DEFAULT 0,
    -- The newest `Usage`, encoded.
    usage bytea NOT NULL DEFAULT '',
    -- Outbox: EndTurn has to be sent to project-storage, and when to try next.
    end_due text CHECK (end_due IN ('failed', 'cancelled')),
    end_retry_at timestamptz,
    -- The trace of the request that started the turn.
    trace_id text NOT NULL,
    traceparent text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    ended_at timestamptz,
    CHECK ((ended_at IS NULL) = (state IN ('accepted', 'queued', 'running', 'committing')))
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX turns_user_id_idempotency_key_key ON turns (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- The slot: one turn of a project runs at a time.
CREATE UNIQUE INDEX turns_slot_key ON turns (project_id) WHERE state IN ('running', 'committing');
-- What a claim looks through, the oldest first; and who else is open on a project.
CREATE INDEX turns_open_idx ON turns (id) WHERE ended_at IS NULL;
CREATE INDEX turns_project_id_open_idx ON turns (project_id, id) WHERE ended_at IS NULL;
CREATE INDEX turns_end_due_idx ON turns (end_retry_at) WHERE end_due IS NOT NULL;

-- What a committing turn sends, encoded `CommitTurnRequest`; gone when the turn has ended.
CREATE TABLE turn_change_sets (
    turn_id uuid PRIMARY KEY,
    request bytea NOT NULL
);

-- The log. `payload` is an encoded `TurnEvent` without `seq` and `turn_id`. One partition per day of the turn's id, made
-- and removed by the service.
CREATE TABLE turn_events (
    turn_id uuid NOT NULL,
    seq integer NOT NULL CHECK (seq > 0),
    payload bytea NOT NULL,
    PRIMARY KEY (turn_id, seq)
) PARTITION BY RANGE (turn_id);
