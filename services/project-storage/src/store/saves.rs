//! Saves: a revision with everything that belongs to it is written in one statement. Before its objects, the statement takes the shared lock
//! of the store, because an object that is there already is not written again: a sweep must not delete it at the same time.

use proto::{
    auth::Plan,
    id::{ProjectId, TurnId, UserId},
};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Connection, MAIN, StoreError, conflicts::branch_name, oid_or_none, signed, unsigned};
use crate::{
    git::{DiffStat, Object, Oid},
    model::{
        conflict::NewConflict,
        project::{Role, StoreId},
        revision::{Actor, Revision, Totals, Undoes},
    },
};

/// The constraint that a second save with the same idempotency key violates.
pub(crate) const REQUEST_KEY: &str = "save_requests_pkey";
/// The constraint that a second branch with the same name violates.
pub(crate) const REFS_KEY: &str = "refs_pkey";
/// The constraint that a second conflict with the same id violates.
pub(crate) const CONFLICTS_KEY: &str = "conflicts_pkey";
/// How long the branch of a conflict is kept.
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
    pub totals: Totals,
    /// Sorted by id and without duplicates; otherwise concurrent saves of a store could deadlock.
    pub objects: &'a [Object],
    pub request: Option<Request<'a>>,
    /// The owner's plan, if the owner saves.
    pub plan: Option<Plan>,
    /// The bytes that the owner's projects may store together.
    pub max_bytes: i64,
    /// The lease of objects that were written before. Without it nothing is written.
    pub pending: Option<Uuid>,
    /// What the revision undoes. Of the commit of a conflict: what the resolution undoes.
    pub undoes: Option<Undoes>,
    /// The version of the project's locks that the commit was checked with.
    pub lock_version: i32,
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
            totals: Some(self.totals),
            undoes: self.undoes.map(|undoes| undoes.revision),
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
            $new.undoes.as_ref().map(|undoes| undoes.revision.as_bytes()),
            $new.undoes.is_some_and(|undoes| undoes.is_redo),
            signed($new.totals.files),
            i64::try_from($new.totals.bytes).unwrap_or(i64::MAX),
            $($more,)*
        )
    };
}

/// Writes a revision to the main branch, if the head is `expected`, the locks are the same, the user may edit the project, the owner's account
/// has room, and the lease of objects that were written before has not ended. The lease ends with the revision.
/// Returns the number and the time of the revision, or `None` if nothing was written.
pub async fn advance(db: &mut Connection, new: &NewRevision<'_>) -> Result<Option<(u32, OffsetDateTime)>, StoreError> {
    let columns = Columns::new(new);
    let query = write_revision!(
        query,
        r#"WITH w AS (
               SELECT id FROM pending_writes WHERE id = $30 AND store_id = $7 AND expires_at > clock_timestamp() FOR UPDATE
           ), r AS (
               UPDATE refs SET oid = $3, seq = seq + 1
               WHERE project_id = $1 AND name = $4 AND oid = $5 AND lock_version = $31
                 AND EXISTS (SELECT 1 FROM members WHERE project_id = $1 AND user_id = $2 AND role >= $6)
                 AND ($30::uuid IS NULL OR EXISTS (SELECT 1 FROM w))
                 AND $28::bigint + account_bytes((SELECT owner_id FROM projects WHERE id = $1)) <= $29
               RETURNING seq, clock_timestamp() AS at
           ), g AS (
               SELECT pg_advisory_xact_lock_shared(hashtextextended('store ' || $7::uuid::text, 0)) FROM r
           ), o AS (
               INSERT INTO objects (store_id, oid, tag, size, data)
               SELECT $7, u.oid, u.tag, u.size, u.data
               FROM unnest($8::bytea[], $9::smallint[], $10::integer[], $11::bytea[]) AS u (oid, tag, size, data)
               WHERE EXISTS (SELECT 1 FROM g)
               ON CONFLICT DO NOTHING
               RETURNING octet_length(data) AS bytes
           ), h AS (
               INSERT INTO store_shares (store_id, owner_id, bytes)
               SELECT s.id, p.owner_id, n.bytes
               FROM stores s, projects p, (SELECT sum(bytes) AS bytes FROM o) n
               WHERE s.id = $7 AND p.id = $1 AND s.owner_id <> p.owner_id AND n.bytes > 0
               ON CONFLICT (store_id, owner_id) DO UPDATE SET bytes = store_shares.bytes + excluded.bytes
           ), l AS (
               INSERT INTO ref_log (project_id, name, seq, oid, tree, parents, actor, user_id, turn_id, message,
                                    added, modified, deleted, renamed, created_at, undoes, redo, files, bytes)
               SELECT $1, $4, r.seq, $3, $12, $13, $14, $2, $15, $16, $17, $18, $19, $20, r.at, $21, $22, $23, $24 FROM r
           ), p AS (
               UPDATE projects SET updated_at = r.at, edited_at = r.at, plan = coalesce($25, plan) FROM r WHERE id = $1
           ), k AS (
               INSERT INTO save_requests (user_id, request_id, project_id, fingerprint, revision)
               SELECT $2, $26, $1, $27, $3 FROM r WHERE $26::text IS NOT NULL
           ), d AS (DELETE FROM pending_writes USING r WHERE id = $30)
           SELECT seq, at AS "at!" FROM r"#,
        new,
        columns,
        [MAIN, new.expected.as_ref().map_or(&[][..], |oid| oid.as_bytes()), Role::Editor as i16],
        [
            new.plan.map(|plan| plan as i16),
            new.request.map(|request| request.id),
            new.request.map(|request| request.fingerprint),
            stored_bytes(new.objects),
            new.max_bytes,
            new.pending,
            new.lock_version
        ]
    );
    let row = chassis::postgres::query("save revision", query.fetch_optional(&mut *db)).await?;
    Ok(row.map(|row| (unsigned(row.seq), row.at)))
}

/// The bytes that all projects of a project's owner store.
pub(crate) async fn account_bytes(db: &mut Connection, project: ProjectId) -> Result<i64, StoreError> {
    let query = sqlx::query_scalar!(
        r#"SELECT coalesce((SELECT account_bytes(p.owner_id) FROM projects p WHERE p.id = $1), 0) AS "bytes!""#,
        project.0,
    );
    chassis::postgres::query("select account bytes", query.fetch_one(&mut *db)).await
}

/// Stores a conflict, and its commit on a branch of its own, if the head is `expected` and the user may edit the project. Returns the
/// time of the commit, or `None` if nothing was written.
pub(crate) async fn create_branch(
    db: &mut Connection,
    conflict: &NewConflict<'_>,
    new: &NewRevision<'_>,
) -> Result<Option<OffsetDateTime>, StoreError> {
    let columns = Columns::new(new);
    let (base, base_tree) = conflict.base.unzip();
    let query = write_revision!(
        query_scalar,
        r#"WITH h AS (
               SELECT oid FROM refs
               WHERE project_id = $1 AND name = $6 AND oid = $7
                 AND EXISTS (SELECT 1 FROM members WHERE project_id = $1 AND user_id = $2 AND role >= $8)
               FOR SHARE
           ), r AS (
               INSERT INTO refs (project_id, name, oid, seq, expires_at)
               SELECT $1, $4, $3, 1, now() + make_interval(days => $5) FROM h
               RETURNING seq, clock_timestamp() AS at, expires_at
           ), g AS (
               SELECT pg_advisory_xact_lock_shared(hashtextextended('store ' || $9::uuid::text, 0)) FROM r
           ), o AS (
               INSERT INTO objects (store_id, oid, tag, size, data)
               SELECT $9, u.oid, u.tag, u.size, u.data
               FROM unnest($10::bytea[], $11::smallint[], $12::integer[], $13::bytea[]) AS u (oid, tag, size, data)
               WHERE EXISTS (SELECT 1 FROM g)
               ON CONFLICT DO NOTHING
               RETURNING octet_length(data) AS bytes
           ), b AS (
               INSERT INTO store_shares (store_id, owner_id, bytes)
               SELECT s.id, p.owner_id, n.bytes
               FROM stores s, projects p, (SELECT sum(bytes) AS bytes FROM o) n
               WHERE s.id = $9 AND p.id = $1 AND s.owner_id <> p.owner_id AND n.bytes > 0
               ON CONFLICT (store_id, owner_id) DO UPDATE SET bytes = store_shares.bytes + excluded.bytes
           ), l AS (
               INSERT INTO ref_log (project_id, name, seq, oid, tree, parents, actor, user_id, turn_id, message,
                                    added, modified, deleted, renamed, created_at, files, bytes)
               SELECT $1, $4, r.seq, $3, $14, $15, $16, $2, $17, $18, $19, $20, $21, $22, r.at, $25, $26 FROM r
           ), c AS (
               INSERT INTO conflicts (id, project_id, kind, base, base_tree, ours, theirs, paths, user_id, fingerprint, undoes, redo,
                                      created_at, expires_at)
               SELECT $27, $1, $28, $29, $30, nullif($7, ''::bytea), $3, $31, $2, $32, $23, $24, r.at, r.expires_at FROM r
           )
           SELECT at AS "at!" FROM r"#,
        new,
        columns,
        [branch_name(conflict.id), BRANCH_DAYS, MAIN, new.expected.as_ref().map_or(&[][..], |oid| oid.as_bytes()), Role::Editor as i16],
        [
            conflict.id.0,
            conflict.kind as i16,
            base.as_ref().map(Oid::as_bytes),
            base_tree.as_ref().map(Oid::as_bytes),
            conflict.paths,
            conflict.fingerprint
        ]
    );
    chassis::postgres::query("insert branch", query.fetch_optional(&mut *db)).await
}

/// The bytes of encoded objects.
pub(crate) fn stored_bytes(objects: &[Object]) -> i64 {
    objects.iter().map(|object| i64::try_from(object.data.len()).unwrap_or(i64::MAX)).fold(0, i64::saturating_add)
}

/// How a request with an idempotency key ended. The database stores the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    Committed = 1,
    /// Nothing differed from the head.
    Unchanged = 2,
    /// The request made a conflict.
    Conflicted = 3,
}

/// A request that was made with an idempotency key.
pub(crate) struct RecordedSave {
    pub(crate) project: ProjectId,
    pub(crate) fingerprint: Vec<u8>,
    /// The revision that it answered; of a conflict, the head.
    pub(crate) revision: Option<Oid>,
    pub(crate) outcome: RequestOutcome,
}

/// The save of an idempotency key; `None` if the key is unused.
pub(crate) async fn find_recorded(db: impl PgExecutor<'_>, user: UserId, request_id: &str) -> Result<Option<RecordedSave>, StoreError> {
    let query = sqlx::query!(
        "SELECT project_id, fingerprint, revision, outcome FROM save_requests WHERE user_id = $1 AND request_id = $2",
        user.0,
        request_id,
    );
    let row = chassis::postgres::query("select save request", query.fetch_optional(db)).await?;
    row.map(|row| {
        let known = [RequestOutcome::Unchanged, RequestOutcome::Conflicted];
        let outcome = known.into_iter().find(|outcome| *outcome as i16 == row.outcome).unwrap_or(RequestOutcome::Committed);
        let revision = oid_or_none(&row.revision)?;
        Ok(RecordedSave { project: ProjectId(row.project_id), fingerprint: row.fingerprint, revision, outcome })
    })
    .transpose()
}

/// Records the idempotency key of a request that made no revision. Returns `false` if the key was used meanwhile.
pub(crate) async fn record(
    db: &mut Connection,
    user: UserId,
    project: ProjectId,
    request: Request<'_>,
    (outcome, head): (RequestOutcome, Option<Oid>),
) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "INSERT INTO save_requests (user_id, request_id, project_id, fingerprint, revision, outcome) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT DO NOTHING",
        user.0,
        request.id,
        project.0,
        request.fingerprint,
        head.as_ref().map_or(&[][..], |oid| oid.as_bytes()),
        outcome as i16,
    );
    Ok(chassis::postgres::query("insert save request", query.execute(&mut *db)).await?.rows_affected() == 1)
}
