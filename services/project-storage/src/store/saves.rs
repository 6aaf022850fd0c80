//! Saves: a revision with everything that belongs to it is written in one statement.

use proto::{
    auth::Plan,
    id::{ProjectId, TurnId, UserId},
};
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{Connection, MAIN, StoreError, conflicts::branch_name, oid_or_none, signed, unsigned};
use crate::{
    git::{DiffStat, Object, Oid},
    model::{
        project::{Role, StoreId},
        revision::{Actor, Revision},
    },
};

/// The constraint that a second save with the same idempotency key violates.
pub(crate) const REQUEST_KEY: &str = "save_requests_pkey";
/// How long the branch of a conflicted turn is kept.
const BRANCH_DAYS: i32 = 30;

/// A commit with everything that is written with it.
pub struct NewRevision<'a> {
    pub project: ProjectId,
    pub store: StoreId,
    /// The present head; `None` before the first commit.
    pub expected: Option<Oid>,
    pub oid: Oid,
    pub tree: Oid,
    pub parents: &'a [Oid],
    pub actor: Actor,
    pub user: UserId,
    pub turn: Option<TurnId>,
    pub message: &'a str,
    pub stat: DiffStat,
    /// Sorted by id and without duplicates; otherwise concurrent saves of a store could deadlock.
    pub objects: &'a [Object],
    pub request: Option<Request<'a>>,
    /// The owner's plan, if the owner saves.
    pub plan: Option<Plan>,
    /// The bytes that the owner's projects may store together.
    pub max_bytes: i64,
}

impl NewRevision<'_> {
    /// The written revision.
    pub(crate) fn revision(&self, number: u32, created_at: OffsetDateTime) -> Revision {
        Revision {
            id: self.oid,
            number,
            tree: self.tree,
            parents: self.parents.to_vec(),
            message: self.message.to_owned(),
            actor: self.actor,
            user: self.user,
            turn: self.turn,
            created_at,
            stat: self.stat,
        }
    }
}

/// The id of a request and SHA-256 of its content.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub id: &'a str,
    pub fingerprint: &'a [u8],
}

/// The lists of a revision as arrays of columns.
struct Columns<'a> {
    parents: Vec<&'a [u8]>,
    oids: Vec<&'a [u8]>,
    tags: Vec<i16>,
    sizes: Vec<i32>,
    data: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn new(new: &NewRevision<'a>) -> Self {
        Self {
            parents: new.parents.iter().map(Oid::as_bytes).collect(),
            oids: new.objects.iter().map(|object| object.oid.as_bytes()).collect(),
            tags: new.objects.iter().map(|object| object.tag).collect(),
            sizes: new.objects.iter().map(|object| object.size).collect(),
            data: new.objects.iter().map(|object| &*object.data).collect(),
        }
    }
}

/// A checked statement that writes a revision to a branch. The parameters of a revision are the same in each; `$ref` are those of the
/// branch, `$more` the further ones.
macro_rules! write_revision {
    ($query:ident, $sql:literal, $new:ident, $columns:ident, [$($ref:expr),*], [$($more:expr),*]) => {
        sqlx::$query!(
            $sql,
            $new.project.0,
            $new.user.0,
            $new.oid.as_bytes(),
            $($ref,)*
            $new.store.0,
            $columns.oids.as_slice() as _,
            &$columns.tags,
            &$columns.sizes,
            $columns.data.as_slice() as _,
            $new.tree.as_bytes(),
            $columns.parents.as_slice() as _,
            $new.actor as i16,
            $new.turn.map(|turn| turn.0),
            $new.message,
            signed($new.stat.added),
            signed($new.stat.modified),
            signed($new.stat.deleted),
            signed($new.stat.renamed),
            $($more,)*
        )
    };
}

/// Writes a revision to the main branch, if the head is `expected`, the user may edit the project, and the owner's account has room.
/// Returns the number and the time of the revision, or `None` if nothing was written.
pub async fn advance(db: &mut Connection, new: &NewRevision<'_>) -> Result<Option<(u32, OffsetDateTime)>, StoreError> {
    let columns = Columns::new(new);
    let query = write_revision!(
        query,
        r#"WITH r AS (
               UPDATE refs SET oid = $3, seq = seq + 1
               WHERE project_id = $1 AND name = $4 AND oid = $5
                 AND EXISTS (SELECT 1 FROM members WHERE project_id = $1 AND user_id = $2 AND role >= $6)
                 AND $24::bigint + (SELECT coalesce(sum(s.bytes), 0)::bigint FROM stores s WHERE s.id IN (
                     SELECT p.store_id FROM projects p WHERE p.owner_id = (SELECT owner_id FROM projects WHERE id = $1))) <= $25
               RETURNING seq, clock_timestamp() AS at
           ), o AS (
               INSERT INTO objects (store_id, oid, tag, size, data)
               SELECT $7, u.oid, u.tag, u.size, u.data
               FROM unnest($8::bytea[], $9::smallint[], $10::integer[], $11::bytea[]) AS u (oid, tag, size, data)
               WHERE EXISTS (SELECT 1 FROM r)
               ON CONFLICT DO NOTHING
           ), l AS (
               INSERT INTO ref_log (project_id, name, seq, oid, tree, parents, actor, user_id, turn_id, message,
                                    added, modified, deleted, renamed, created_at)
               SELECT $1, $4, r.seq, $3, $12, $13, $14, $2, $15, $16, $17, $18, $19, $20, r.at FROM r
           ), p AS (
               UPDATE projects SET updated_at = r.at, edited_at = r.at, plan = coalesce($21, plan) FROM r WHERE id = $1
           ), k AS (
               INSERT INTO save_requests (user_id, request_id, project_id, fingerprint, revision)
               SELECT $2, $22, $1, $23, $3 FROM r WHERE $22::text IS NOT NULL
           )
           SELECT seq, at AS "at!" FROM r"#,
        new,
        columns,
        [MAIN, new.expected.as_ref().map_or(&[][..], |oid| oid.as_bytes()), Role::Editor as i16],
        [
            new.plan.map(|plan| plan as i16),
            new.request.map(|request| request.id),
            new.request.map(|request| request.fingerprint),
            stored_bytes(new.objects),
            new.max_bytes
        ]
    );
    let row = chassis::postgres::query("save revision", query.fetch_optional(&mut *db)).await?;
    Ok(row.map(|row| (unsigned(row.seq), row.at)))
}

/// The bytes that all projects of a project's owner store.
pub(crate) async fn account_bytes(db: &mut Connection, project: ProjectId) -> Result<i64, StoreError> {
    let query = sqlx::query_scalar!(
        r#"SELECT coalesce(sum(s.bytes), 0)::bigint AS "bytes!" FROM stores s WHERE s.id IN (
               SELECT p.store_id FROM projects p WHERE p.owner_id = (SELECT owner_id FROM projects WHERE id = $1))"#,
        project.0,
    );
    chassis::postgres::query("select account bytes", query.fetch_one(&mut *db)).await
}

/// Writes the revision of a conflicted turn to a branch of its own. Returns its time.
pub(crate) async fn create_branch(db: &mut Connection, turn: TurnId, new: &NewRevision<'_>) -> Result<OffsetDateTime, StoreError> {
    let columns = Columns::new(new);
    let query = write_revision!(
        query_scalar,
        r#"WITH r AS (
               INSERT INTO refs (project_id, name, oid, seq, expires_at)
               VALUES ($1, $4, $3, 1, now() + make_interval(days => $5))
               RETURNING seq, clock_timestamp() AS at
           ), o AS (
               INSERT INTO objects (store_id, oid, tag, size, data)
               SELECT $6, u.oid, u.tag, u.size, u.data
               FROM unnest($7::bytea[], $8::smallint[], $9::integer[], $10::bytea[]) AS u (oid, tag, size, data)
               ON CONFLICT DO NOTHING
           ), l AS (
               INSERT INTO ref_log (project_id, name, seq, oid, tree, parents, actor, user_id, turn_id, message,
                                    added, modified, deleted, renamed, created_at)
               SELECT $1, $4, r.seq, $3, $11, $12, $13, $2, $14, $15, $16, $17, $18, $19, r.at FROM r
           )
           SELECT at AS "at!" FROM r"#,
        new,
        columns,
        [branch_name(turn), BRANCH_DAYS],
        []
    );
    chassis::postgres::query("insert branch", query.fetch_one(&mut *db)).await
}

/// The bytes of encoded objects.
pub(crate) fn stored_bytes(objects: &[Object]) -> i64 {
    objects.iter().map(|object| i64::try_from(object.data.len()).unwrap_or(i64::MAX)).fold(0, i64::saturating_add)
}

/// A save that was made with an idempotency key.
pub(crate) struct RecordedSave {
    pub(crate) project: ProjectId,
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) revision: Option<Oid>,
}

/// The save of an idempotency key; `None` if the key is unused.
pub(crate) async fn find_recorded(db: impl PgExecutor<'_>, user: UserId, request_id: &str) -> Result<Option<RecordedSave>, StoreError> {
    let query = sqlx::query!(
        "SELECT project_id, fingerprint, revision FROM save_requests WHERE user_id = $1 AND request_id = $2",
        user.0,
        request_id,
    );
    let row = chassis::postgres::query("select save request", query.fetch_optional(db)).await?;
    row.map(|row| {
        Ok(RecordedSave { project: ProjectId(row.project_id), fingerprint: row.fingerprint, revision: oid_or_none(&row.revision)? })
    })
    .transpose()
}

/// Records the idempotency key of a save that changed nothing. Returns `false` if the key was used meanwhile.
pub(crate) async fn record_unchanged(
    db: &mut Connection,
    user: UserId,
    project: ProjectId,
    request: Request<'_>,
    revision: Option<Oid>,
) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "INSERT INTO save_requests (user_id, request_id, project_id, fingerprint, revision) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
        user.0,
        request.id,
        project.0,
        request.fingerprint,
        revision.as_ref().map_or(&[][..], |oid| oid.as_bytes()),
    );
    Ok(chassis::postgres::query("insert save request", query.execute(&mut *db)).await?.rows_affected() == 1)
}
