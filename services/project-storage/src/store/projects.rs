//! Projects and their members.

use proto::{
    auth::Plan,
    id::{ProjectId, UserId},
    metadata::Metadata,
};
use sqlx::{PgExecutor, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Connection, MAIN, StoreError, oid_or_none, revisions::log_row, role, unsigned};
use crate::{
    git::Corruption,
    model::{
        filter::ProjectFilter,
        project::{ForkOrigin, ListKey, Member, Project, Role, StoreId, Target},
    },
};

/// A project's columns.
pub(super) struct ProjectRow {
    pub(super) id: Uuid,
    pub(super) store_id: Uuid,
    pub(super) owner_id: Uuid,
    pub(super) draft_id: Option<String>,
    pub(super) display_name: String,
    pub(super) plan: i16,
    pub(super) created_at: OffsetDateTime,
    pub(super) updated_at: OffsetDateTime,
    pub(super) edited_at: Option<OffsetDateTime>,
    pub(super) deleted_at: Option<OffsetDateTime>,
    pub(super) metadata: Json<Metadata>,
    pub(super) head: Vec<u8>,
    pub(super) head_seq: i32,
    pub(super) lock_version: i32,
    pub(super) fork_number: Option<i32>,
    pub(super) fork_revision: Option<Vec<u8>>,
    pub(super) fork_parent: Option<Uuid>,
}

/// Takes a project's columns out of a joined row.
macro_rules! project_row {
    ($row:ident) => {
        $crate::store::projects::ProjectRow {
            id: $row.id,
            store_id: $row.store_id,
            owner_id: $row.owner_id,
            draft_id: $row.draft_id,
            display_name: $row.display_name,
            plan: $row.plan,
            created_at: $row.created_at,
            updated_at: $row.updated_at,
            edited_at: $row.edited_at,
            deleted_at: $row.deleted_at,
            metadata: $row.metadata,
            head: $row.head,
            head_seq: $row.head_seq,
            lock_version: $row.lock_version,
            fork_number: $row.fork_number,
            fork_revision: $row.fork_revision,
            fork_parent: $row.fork_parent,
        }
    };
}
pub(super) use project_row;

impl ProjectRow {
    pub(super) fn project(self) -> Result<Project, Corruption> {
        let revision = self.fork_revision.map(|oid| oid_or_none(&oid)).transpose()?.flatten();
        let origin = |number| ForkOrigin { project: self.fork_parent.map(ProjectId), revision, number: unsigned(number) };
        Ok(Project {
            id: ProjectId(self.id),
            store: StoreId(self.store_id),
            owner: UserId(self.owner_id),
            draft: self.draft_id,
            name: self.display_name,
            plan: Plan::try_from(i32::from(self.plan)).unwrap_or(Plan::Free),
            created_at: self.created_at,
            updated_at: self.updated_at,
            edited_at: self.edited_at.unwrap_or(self.updated_at),
            deleted_at: self.deleted_at,
            metadata: self.metadata.0,
            head: oid_or_none(&self.head)?.map(|oid| (oid, unsigned(self.head_seq))),
            lock_version: self.lock_version,
            forked_from: self.fork_number.map(origin),
        })
    }
}

/// A project with its head, as one of its members sees it. A draft id finds a project of its owner only.
pub(crate) async fn find(db: impl PgExecutor<'_>, user: UserId, target: &Target) -> Result<Option<Member>, StoreError> {
    match target {
        Target::Id(id) => find_by_id(db, user, *id).await,
        Target::Draft(draft) => find_by_draft(db, user, draft).await,
    }
}

/// A project with its head by a condition on `$key`, as the user sees it.
macro_rules! find_member {
    ($db:ident, $user:ident, $condition:literal, $key:expr) => {{
        let query = sqlx::query!(
            r#"SELECT p.id, p.store_id, p.owner_id, p.draft_id, p.display_name, p.plan, p.created_at, p.updated_at, p.edited_at, p.deleted_at,
                  p.metadata AS "metadata: Json<Metadata>",
                  r.oid AS head, r.seq AS head_seq, r.lock_version, m.role,
                  f.number AS "fork_number?", f.revision AS "fork_revision?", n.project_id AS "fork_parent?",
                  l.name AS "name?", l.seq AS "seq?", l.oid AS "oid?", l.tree AS "tree?", l.parents AS "parents?", l.actor AS "actor?",
                  l.user_id AS "log_user?", l.turn_id AS "log_turn?", l.message AS "message?",
                  l.added AS "added?", l.modified AS "modified?",
                  l.deleted AS "deleted?", l.renamed AS "renamed?", l.files AS "files?", l.bytes AS "bytes?", l.created_at AS "logged_at?", l.undoes AS "undoes?"
           FROM projects p
           JOIN members m ON m.project_id = p.id AND m.user_id = $2
           JOIN refs r ON r.project_id = p.id AND r.name = $3
           LEFT JOIN ref_log l ON l.project_id = p.id AND l.name = r.name AND l.seq = r.seq
           LEFT JOIN lineage f ON f.project_id = p.id AND f.depth = 1
           LEFT JOIN members n ON n.project_id = f.ancestor_id AND n.user_id = $2
           WHERE "#
                + $condition,
            $key,
            $user.0,
            MAIN,
        );
        let Some(row) = chassis::postgres::query("select project", query.fetch_optional($db)).await? else { return Ok(None) };
        let role = role(row.role);
        let head = log_row!(row).revision()?;
        Ok(Some(Member { project: project_row!(row).project()?, role, head }))
    }};
}

async fn find_by_id(db: impl PgExecutor<'_>, user: UserId, id: ProjectId) -> Result<Option<Member>, StoreError> {
    find_member!(db, user, "p.id = $1", id.0)
}

async fn find_by_draft(db: impl PgExecutor<'_>, user: UserId, draft: &str) -> Result<Option<Member>, StoreError> {
    find_member!(db, user, "p.owner_id = $2 AND p.draft_id = $1", draft)
}

/// The result of the insertion of a project.
pub(crate) enum InsertResult {
    Inserted,
    /// The owner has a project with the same draft id.
    DraftTaken,
    /// The owner has as many projects as an account may have.
    AccountFull,
}

/// Inserts a project with its owner and without a revision, if the owner has fewer than `max` projects. Locks the account until the end
/// of the transaction, so that concurrent insertions of an owner count each other's projects.
pub(crate) async fn insert(db: &mut Connection, project: &Project, max: u32) -> Result<InsertResult, StoreError> {
    lock_account(db, project.owner).await?;
    let query = sqlx::query_scalar!(
        r#"WITH p AS (
               INSERT INTO projects (id, store_id, owner_id, draft_id, display_name, plan, created_at, updated_at, edited_at, metadata)
               SELECT $1, $2, $3, $4, $5, $6, $7, $7, $7, $11
               WHERE (SELECT count(*) FROM projects WHERE owner_id = $3) < $10
               ON CONFLICT (owner_id, draft_id) DO NOTHING
               RETURNING id
           ), s AS (INSERT INTO stores (id, created_at) SELECT $2, $7 FROM p ON CONFLICT (id) DO UPDATE SET unused_since = NULL),
           m AS (INSERT INTO members (project_id, user_id, role) SELECT id, $3, $8 FROM p),
           r AS (INSERT INTO refs (project_id, name, oid, seq) SELECT id, $9, '', 0 FROM p)
           SELECT id FROM p"#,
        project.id.0,
        project.store.0,
        project.owner.0,
        project.draft,
        project.name,
        project.plan as i16,
        project.created_at,
        Role::Owner as i16,
        MAIN,
        i64::from(max),
        Json(&project.metadata) as _,
    );
    if chassis::postgres::query("insert project", query.fetch_optional(&mut *db)).await?.is_some() {
        return Ok(InsertResult::Inserted);
    }
    let taken = is_draft_taken(db, project).await?;
    Ok(if taken { InsertResult::DraftTaken } else { InsertResult::AccountFull })
}

/// Whether the owner has a project with the draft id of a new one.
pub(super) async fn is_draft_taken(db: &mut Connection, project: &Project) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM projects WHERE owner_id = $1 AND draft_id = $2) AS "taken!""#,
        project.owner.0,
        project.draft,
    );
    chassis::postgres::query("select draft", query.fetch_one(&mut *db)).await
}

/// Locks an account until the end of the transaction: no other transaction inserts a project of it.
pub(crate) async fn lock_account(db: &mut Connection, owner: UserId) -> Result<(), StoreError> {
    let lock = sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('account ' || $1::uuid::text, 0))", owner.0);
    chassis::postgres::query("lock account", lock.execute(&mut *db)).await?;
    Ok(())
}

/// The owner's projects after a key, the last changed first. Their names are not compared.
pub(crate) async fn page(
    db: impl PgExecutor<'_>,
    owner: UserId,
    filter: &ProjectFilter,
    after: Option<ListKey>,
    limit: i64,
) -> Result<Vec<Project>, StoreError> {
    let (changed, id) = super::key_columns(after);
    let only: Option<Vec<Uuid>> = filter.only.as_ref().map(|only| only.iter().map(|id| id.0).collect());
    let query = sqlx::query!(
        r#"SELECT p.id, p.store_id, p.owner_id, p.draft_id, p.display_name, p.plan, p.created_at, p.updated_at, p.edited_at, p.deleted_at,
                  p.metadata AS "metadata: Json<Metadata>",
                  r.oid AS head, r.seq AS head_seq, r.lock_version,
                  f.number AS "fork_number?", f.revision AS "fork_revision?", n.project_id AS "fork_parent?"
           FROM projects p
           JOIN refs r ON r.project_id = p.id AND r.name = $5
           LEFT JOIN lineage f ON f.project_id = p.id AND f.depth = 1
           LEFT JOIN members n ON n.project_id = f.ancestor_id AND n.user_id = $1
           WHERE p.owner_id = $1 AND (p.updated_at, p.id) < ($2, $3) AND (p.deleted_at IS NOT NULL) = $6 AND p.metadata @> $7
             AND ($8::uuid[] IS NULL OR p.id = ANY ($8))
           ORDER BY p.updated_at DESC, p.id DESC
           LIMIT $4"#,
        owner.0,
        changed,
        id,
        limit,
        MAIN,
        filter.deleted,
        Json(&filter.metadata) as _,
        only.as_deref(),
    );
    let rows = chassis::postgres::query("select projects", query.fetch_all(db)).await?;
    Ok(rows.into_iter().map(|row| project_row!(row).project()).collect::<Result<_, _>>()?)
}

/// Sets the name, the metadata, or both. Returns `false` if the user is no admin of the project.
pub(crate) async fn update(
    db: impl PgExecutor<'_>,
    id: ProjectId,
    user: UserId,
    name: Option<&str>,
    metadata: Option<&Metadata>,
) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "UPDATE projects SET display_name = coalesce($3, display_name), metadata = coalesce($5, metadata), updated_at = clock_timestamp(), edited_at = clock_timestamp()
         WHERE id = $1 AND EXISTS (SELECT 1 FROM members WHERE project_id = $1 AND user_id = $2 AND role >= $4)",
        id.0,
        user.0,
        name,
        Role::Admin as i16,
        metadata.map(Json) as _,
    );
    Ok(chassis::postgres::query("update project", query.execute(db)).await?.rows_affected() == 1)
}

/// Stores that a project's conversation changed, and the present plan of its owner if it is given.
pub(crate) async fn touch(db: &mut Connection, id: ProjectId, plan: Option<Plan>) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "UPDATE projects SET updated_at = clock_timestamp(), plan = coalesce($2, plan) WHERE id = $1",
        id.0,
        plan.map(|plan| plan as i16),
    );
    chassis::postgres::query("update project", query.execute(&mut *db)).await?;
    Ok(())
}

/// Locks the main branch and the project's row, so that nothing that its ETag covers can change.
pub(crate) async fn lock(db: &mut Connection, id: ProjectId) -> Result<(), StoreError> {
    // In the order of a turn's commit: refs, project.
    let head = sqlx::query!("SELECT oid FROM refs WHERE project_id = $1 AND name = $2 FOR UPDATE", id.0, MAIN);
    chassis::postgres::query("lock head", head.fetch_optional(&mut *db)).await?;
    let project = sqlx::query!("SELECT id FROM projects WHERE id = $1 FOR UPDATE", id.0);
    chassis::postgres::query("lock project", project.fetch_optional(&mut *db)).await?;
    Ok(())
}

/// Locks a project with its turns and all its branches.
pub(crate) async fn lock_all(db: &mut Connection, id: ProjectId) -> Result<(), StoreError> {
    // In the order of a turn's commit: turns, refs, project.
    // The leases of uploads first: a revision with uploaded contents locks its lease, then the head.
    let leases = sqlx::query!(
        "SELECT w.id FROM pending_writes w JOIN projects p ON p.store_id = w.store_id WHERE p.id = $1 ORDER BY w.id FOR UPDATE OF w",
        id.0
    );
    chassis::postgres::query("lock pending writes", leases.fetch_all(&mut *db)).await?;
    let turns = sqlx::query!("SELECT id FROM turns WHERE project_id = $1 ORDER BY id FOR UPDATE", id.0);
    chassis::postgres::query("lock turns", turns.fetch_all(&mut *db)).await?;
    // The main branch first: a resolution moves it, and then deletes the branch of its conflict.
    let refs = sqlx::query!("SELECT name FROM refs WHERE project_id = $1 ORDER BY name <> $2, name FOR UPDATE", id.0, MAIN);
    chassis::postgres::query("lock refs", refs.fetch_all(&mut *db)).await?;
    lock(db, id).await
}

/// The store of a project, whether it is deleted or not.
pub(crate) async fn store_of(db: &mut Connection, id: ProjectId) -> Result<Option<StoreId>, StoreError> {
    let query = sqlx::query_scalar!("SELECT store_id FROM projects WHERE id = $1", id.0);
    Ok(chassis::postgres::query("select store of project", query.fetch_optional(&mut *db)).await?.map(StoreId))
}

/// Keeps a project from being purged until the end of the transaction. Returns `false` if it does not exist.
pub(crate) async fn keep(db: &mut Connection, id: ProjectId) -> Result<bool, StoreError> {
    let query = sqlx::query!("SELECT id FROM projects WHERE id = $1 FOR KEY SHARE", id.0);
    Ok(chassis::postgres::query("keep project", query.fetch_optional(&mut *db)).await?.is_some())
}

/// Deletes a locked project, and its store if no other project uses it.
pub(crate) async fn delete(db: &mut Connection, id: ProjectId, store: StoreId) -> Result<(), StoreError> {
    let project = sqlx::query!("DELETE FROM projects WHERE id = $1", id.0);
    chassis::postgres::query("purge project", project.execute(&mut *db)).await?;
    let stores =
        sqlx::query!("DELETE FROM stores s WHERE s.id = $1 AND NOT EXISTS (SELECT 1 FROM projects p WHERE p.store_id = s.id)", store.0);
    if chassis::postgres::query("delete store", stores.execute(&mut *db)).await?.rows_affected() == 1 {
        let objects = sqlx::query!("DELETE FROM objects WHERE store_id = $1", store.0);
        chassis::postgres::query("delete objects", objects.execute(&mut *db)).await?;
        // Those of uploads that were not finished, which no object names.
        let chunks = sqlx::query!("DELETE FROM chunks WHERE store_id = $1", store.0);
        chassis::postgres::query("delete chunks", chunks.execute(&mut *db)).await?;
    }
    Ok(())
}
