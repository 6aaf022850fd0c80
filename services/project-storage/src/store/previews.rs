//! The origins of previews, and the grants of sessions to see them. A capability is identified by its hash.

use proto::id::{ProjectId, SessionId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{MAIN, StoreError, oid_or_none, signed, unsigned};
use crate::{
    git::Oid,
    model::{
        preview::Shown,
        project::{Role, StoreId},
    },
};

/// A grant to store.
pub(crate) struct NewGrant<'a> {
    /// The hash of the capability of this generation.
    pub(crate) hash: &'a [u8],
    pub(crate) generation: u32,
    pub(crate) project: ProjectId,
    pub(crate) user: UserId,
    /// The session that creates it.
    pub(crate) session: SessionId,
    pub(crate) shown: Shown,
    pub(crate) now: OffsetDateTime,
    pub(crate) expires_at: OffsetDateTime,
}

/// What a capability gives access to.
pub(crate) struct Preview {
    /// The person of the grant.
    pub(crate) user: UserId,
    pub(crate) project: ProjectId,
    pub(crate) store: StoreId,
    /// The session of the grant; `None` where the release before made it.
    pub(crate) session: Option<SessionId>,
    /// The fixed revision, or the head, with its tree; `None` in a project without files.
    pub(crate) revision_and_tree: Option<(Oid, Oid)>,
    /// The last use, accurate to a minute.
    pub(crate) used_at: OffsetDateTime,
}

/// The generation of a person's origin in a project. The first call makes the origin.
pub(crate) async fn generation(db: impl PgExecutor<'_>, project: ProjectId, user: UserId) -> Result<u32, StoreError> {
    let query = sqlx::query_scalar!(
        "INSERT INTO preview_origins (project_id, user_id) VALUES ($1, $2)
         ON CONFLICT (project_id, user_id) DO UPDATE SET generation = preview_origins.generation RETURNING generation",
        project.0,
        user.0,
    );
    Ok(unsigned(chassis::postgres::query("select preview origin", query.fetch_one(db)).await?))
}

/// Stores the grant of a session, in place of an earlier one. One that leaves unchanged what is shown only lengthens a valid one, and otherwise is
/// older than all others, since the newest one says what is shown. Returns `false` if the origin has another generation now, if the session
/// has ended, or if the person is no member any more: the end of a membership waits for the lock on its row, and then ends the grant.
pub(crate) async fn grant(db: impl PgExecutor<'_>, new: &NewGrant<'_>) -> Result<bool, StoreError> {
    let (revision, is_unchanged) = match new.shown {
        Shown::Revision(revision) => (revision, false),
        Shown::Unchanged => (None, true),
    };
    let query = sqlx::query!(
        "WITH m AS (
             SELECT 1 FROM members WHERE project_id = $2 AND user_id = $3 FOR KEY SHARE
         ), o AS (
             UPDATE preview_origins SET hash = $1 WHERE project_id = $2 AND user_id = $3 AND generation = $8 AND EXISTS (SELECT 1 FROM m)
                 AND NOT EXISTS (SELECT 1 FROM ended_sessions WHERE session_id = $7)
             RETURNING generation
         )
         INSERT INTO previews (hash, project_id, user_id, revision, touched_at, expires_at, session_id, generation, granted_at)
         SELECT $1, $2, $3, $4, $5, $6, $7, o.generation, CASE WHEN $9 THEN '-infinity' ELSE clock_timestamp() END FROM o
         ON CONFLICT (hash, session_id) DO UPDATE SET touched_at = excluded.touched_at, expires_at = excluded.expires_at,
             revision = CASE WHEN $9 AND previews.expires_at > $5 THEN previews.revision ELSE excluded.revision END,
             granted_at = CASE WHEN $9 AND previews.expires_at > $5 THEN previews.granted_at ELSE excluded.granted_at END",
        new.hash,
        new.project.0,
        new.user.0,
        revision.as_ref().map(Oid::as_bytes) as Option<&[u8]>,
        new.now,
        new.expires_at,
        new.session.0,
        signed(new.generation),
        is_unchanged,
    );
    Ok(chassis::postgres::query("insert preview", query.execute(db)).await?.rows_affected() == 1)
}

/// Whether a session has ended.
pub(crate) async fn has_ended(db: impl PgExecutor<'_>, session: SessionId) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM ended_sessions WHERE session_id = $1) AS "ended!""#, session.0);
    chassis::postgres::query("select ended session", query.fetch_one(db)).await
}

/// Revokes a capability of the project with all its grants, if it is the user's or the user is an admin: the origin has another capability
/// from now on. Returns `false` if there is no such capability.
pub(crate) async fn revoke(db: impl PgExecutor<'_>, hash: &[u8], project: ProjectId, user: UserId) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar!(
        r#"WITH a AS (
             SELECT EXISTS (SELECT 1 FROM members WHERE project_id = $2 AND user_id = $3 AND role >= $4) AS is_admin
         ), o AS (
             UPDATE preview_origins o SET generation = o.generation + 1, hash = NULL FROM a
             WHERE o.hash = $1 AND o.project_id = $2 AND (a.is_admin OR o.user_id = $3) RETURNING 1
         ), d AS (
             DELETE FROM previews v USING a WHERE v.hash = $1 AND v.project_id = $2 AND (a.is_admin OR v.user_id = $3) RETURNING 1
         )
         SELECT (EXISTS (SELECT 1 FROM o) OR EXISTS (SELECT 1 FROM d)) AS "revoked!""#,
        hash,
        project.0,
        user.0,
        Role::Admin as i16,
    );
    chassis::postgres::query("delete preview", query.fetch_one(db)).await
}

/// The newest grant of a capability that is valid, whose creator may read the project and whose session has not ended. With `revision`, the
/// tree is that of this revision of the project.
pub(crate) async fn find(
    db: impl PgExecutor<'_>,
    hash: &[u8],
    revision: Option<Oid>,
    now: OffsetDateTime,
) -> Result<Option<Preview>, StoreError> {
    let query = sqlx::query!(
        r#"SELECT v.user_id, v.session_id, p.store_id, v.revision, v.touched_at, l.oid AS "oid?", l.tree AS "tree?", v.project_id
           FROM previews v
           JOIN projects p ON p.id = v.project_id
           JOIN members m ON m.project_id = v.project_id AND m.user_id = v.user_id
           JOIN refs r ON r.project_id = v.project_id AND r.name = $3
           LEFT JOIN LATERAL (
               SELECT g.oid, g.tree FROM log_segments(v.project_id) s
               JOIN ref_log g ON g.project_id = s.log_id AND g.oid = coalesce($4, v.revision, r.oid)
               WHERE g.project_id = v.project_id OR g.name = $3 AND g.seq > s.after_number AND g.seq <= s.number
               LIMIT 1
           ) l ON true
           WHERE v.hash = $1 AND v.expires_at > $2
             AND NOT EXISTS (SELECT 1 FROM ended_sessions e WHERE e.session_id = v.session_id)
             -- A grant that was stored while its origin was revoked.
             AND (v.generation IS NULL OR EXISTS (
                 SELECT 1 FROM preview_origins o
                 WHERE o.project_id = v.project_id AND o.user_id = v.user_id AND o.generation = v.generation
             ))
           ORDER BY v.granted_at DESC
           LIMIT 1"#,
        hash,
        now,
        MAIN,
        revision.as_ref().map(Oid::as_bytes) as Option<&[u8]>,
    );
    let Some(row) = chassis::postgres::query("select preview", query.fetch_optional(db)).await? else { return Ok(None) };
    let oid = |bytes: Option<Vec<u8>>| bytes.map_or(Ok(None), |bytes| oid_or_none(&bytes));
    Ok(Some(Preview {
        user: UserId(row.user_id),
        project: ProjectId(row.project_id),
        store: StoreId(row.store_id),
        session: row.session_id.map(SessionId),
        revision_and_tree: oid(row.oid)?.zip(oid(row.tree)?),
        used_at: row.touched_at,
    }))
}

/// Stores a use of a grant with the new end of its validity.
pub(crate) async fn touch(
    db: impl PgExecutor<'_>,
    (hash, session): (&[u8], Option<SessionId>),
    now: OffsetDateTime,
    expires_at: OffsetDateTime,
) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "UPDATE previews SET touched_at = $2, expires_at = $3 WHERE hash = $1 AND session_id IS NOT DISTINCT FROM $4",
        hash,
        now,
        expires_at,
        session.map(|session| session.0),
    );
    chassis::postgres::query("update preview", query.execute(db)).await?;
    Ok(())
}
