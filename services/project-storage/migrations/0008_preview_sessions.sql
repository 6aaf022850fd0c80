-- The session whose access token made a preview; NULL where the release before made it.
ALTER TABLE previews ADD COLUMN session_id uuid;
CREATE INDEX previews_session_id_idx ON previews (session_id) WHERE session_id IS NOT NULL;

-- Sessions that ended, as auth tells them, for a day: longer than a token that was made before can live. The last one stays, since it
-- says how far auth's log was read; a row without a session only says that.
CREATE TABLE ended_sessions (
    cursor bigint PRIMARY KEY,
    session_id uuid,
    ended_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ended_sessions_session_id_idx ON ended_sessions (session_id) WHERE session_id IS NOT NULL;
