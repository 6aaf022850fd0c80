//! Conflicted turns: their branches, and how they were resolved.

use proto::id::{ProjectId, TurnId};
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{Connection, StoreError, revisions::log_row};
use crate::{
    git::Oid,
    model::{revision::Revision, turn::TurnState},
};

/// The state of a conflicted turn.
pub(crate) enum ConflictState {
    /// The turn's commit is on its branch.
    Open { turn_revision: Revision, expires_at: OffsetDateTime },
    Resolved {
        revision: Oid,
        /// SHA-256 of the user and the request that resolved it.
        key: Vec<u8>,
    },
}

/// The branch of a conflicted turn.
pub(super) fn branch_name(turn: TurnId) -> String {
    format!("refs/turns/{turn}")
}

/// A conflicted turn of a project; `None` if there is none, or its branch has expired.
pub(crate) async fn find(db: impl PgExecutor<'_>, project: ProjectId, turn: TurnId) -> Result<Option<ConflictState>, StoreError> {
    let query = sqlx::query!(
        r#"SELECT t.resolution, t.resolution_key, r.expires_at AS "expires_at?",
                  l.name AS "name?", l.seq AS "seq?", l.oid AS "oid?", l.tree AS "tree?", l.parents AS "parents?", l.actor AS "actor?",
                  l.user_id AS "log_user?", l.turn_id AS "log_turn?", l.message AS "message?",
                  l.added AS "added?", l.modified AS "modified?",
                  l.deleted AS "deleted?", l.renamed AS "renamed?", l.created_at AS "logged_at?"
           FROM turns t
           LEFT JOIN refs r ON r.project_id = t.project_id AND r.name = $3 AND r.expires_at > now()
           LEFT JOIN ref_log l ON l.project_id = r.project_id AND l.name = r.name AND l.seq = r.seq
           WHERE t.id = $2 AND t.project_id = $1 AND t.state = $4"#,
        project.0,
        turn.0,
        branch_name(turn),
        TurnState::Conflicted as i16,
    );
    let Some(row) = chassis::postgres::query("select conflict", query.fetch_optional(db)).await? else { return Ok(None) };
    if let Some((revision, key)) = row.resolution.zip(row.resolution_key) {
        return Ok(Some(ConflictState::Resolved { revision: Oid::from_bytes(&revision)?, key }));
    }
    let expires_at = row.expires_at;
    let turn_revision = log_row!(row).revision()?;
    Ok(turn_revision.zip(expires_at).map(|(turn_revision, expires_at)| ConflictState::Open { turn_revision, expires_at }))
}

/// Records how a conflict was resolved, and deletes its branch. Returns `false` if the branch was gone already, or has expired.
pub(crate) async fn resolve(db: &mut Connection, project: ProjectId, turn: TurnId, revision: Oid, key: &[u8]) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "WITH b AS (DELETE FROM refs WHERE project_id = $1 AND name = $3 AND expires_at > now() RETURNING project_id)
         UPDATE turns SET resolution = $4, resolution_key = $5 FROM b WHERE turns.id = $2 AND turns.project_id = b.project_id",
        project.0,
        turn.0,
        branch_name(turn),
        revision.as_bytes(),
        key,
    );
    Ok(chassis::postgres::query("resolve conflict", query.execute(&mut *db)).await?.rows_affected() == 1)
}
