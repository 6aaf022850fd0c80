//! The stored keys of model providers.

use chassis::postgres::query;
use proto::id::{ProjectId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Pool, StoreError, inconsistent};
use crate::{
    model::provider::Kind,
    own_keys::{KeyOwner, StoredKey},
};

/// A row of `provider_keys`.
struct Row {
    id: Uuid,
    user_id: Uuid,
    project_id: Option<Uuid>,
    provider: String,
    display_name: String,
    base_url: String,
    last_four: String,
    sealed: Vec<u8>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    used_at: Option<OffsetDateTime>,
}

impl TryFrom<Row> for StoredKey {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            owner: owner(row.user_id, row.project_id),
            stored_by: UserId(row.user_id),
            kind: Kind::parse(&row.provider).ok_or_else(|| inconsistent("provider_keys.provider"))?,
            display_name: row.display_name,
            base_url: row.base_url,
            last_four: row.last_four,
            sealed: row.sealed,
            created_at: row.created_at,
            updated_at: row.updated_at,
            used_at: row.used_at,
        })
    }
}

fn owner(user: Uuid, project: Option<Uuid>) -> KeyOwner {
    project.map_or(KeyOwner::Person(UserId(user)), |project| KeyOwner::Project(ProjectId(project)))
}

/// The columns of an owner: one of them is absent.
fn columns(owner: KeyOwner) -> (Option<Uuid>, Option<Uuid>) {
    match owner {
        KeyOwner::Person(user) => (Some(user.0), None),
        KeyOwner::Project(project) => (None, Some(project.0)),
    }
}

/// Stores a key. Returns `false` if its owner has one for the provider already.
pub(crate) async fn insert(db: &Pool, key: &StoredKey) -> Result<bool, StoreError> {
    let insert = sqlx::query!(
        "INSERT INTO provider_keys (id, user_id, project_id, provider, display_name, base_url, last_four, sealed, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
        key.id,
        key.stored_by.0,
        columns(key.owner).1,
        key.kind.name(),
        key.display_name,
        key.base_url,
        key.last_four,
        key.sealed,
        key.created_at,
        key.updated_at,
    );
    Ok(query("insert provider key", insert.execute(db)).await?.rows_affected() == 1)
}

/// The keys of an owner, sorted by provider.
pub(crate) async fn list(db: &Pool, owner: KeyOwner) -> Result<Vec<StoredKey>, StoreError> {
    let (user, project) = columns(owner);
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, user_id, project_id, provider, display_name, base_url, last_four, sealed, created_at, updated_at, used_at
        FROM provider_keys WHERE (project_id IS NULL AND user_id = $1) OR project_id = $2 ORDER BY provider",
        user,
        project,
    );
    query("select provider keys", rows.fetch_all(db)).await?.into_iter().map(StoredKey::try_from).collect()
}

/// A key of any owner.
pub(crate) async fn find(db: &Pool, id: Uuid) -> Result<Option<StoredKey>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, user_id, project_id, provider, display_name, base_url, last_four, sealed, created_at, updated_at, used_at
        FROM provider_keys WHERE id = $1",
        id,
    );
    query("select provider key", row.fetch_optional(db)).await?.map(StoredKey::try_from).transpose()
}

/// The keys that a turn of the person may use: those of the project first.
pub(crate) async fn usable(db: &Pool, user: UserId, project: Option<ProjectId>) -> Result<Vec<(Uuid, Kind)>, StoreError> {
    let rows = sqlx::query!(
        "SELECT id, provider FROM provider_keys WHERE (project_id IS NULL AND user_id = $1) OR project_id = $2 ORDER BY project_id IS NULL",
        user.0,
        project.map(|id| id.0),
    );
    let rows = query("select usable provider keys", rows.fetch_all(db)).await?;
    rows.into_iter().map(|row| Ok((row.id, Kind::parse(&row.provider).ok_or_else(|| inconsistent("provider_keys.provider"))?))).collect()
}

/// Changes a key whose sealed value is still `before`. Returns `false` if it was changed or deleted in the meantime.
pub(crate) async fn update(db: &Pool, key: &StoredKey, before: &[u8]) -> Result<bool, StoreError> {
    let update = sqlx::query!(
        "UPDATE provider_keys SET display_name = $3, base_url = $4, last_four = $5, sealed = $6, updated_at = $7
        WHERE id = $1 AND sealed = $2",
        key.id,
        before,
        key.display_name,
        key.base_url,
        key.last_four,
        key.sealed,
        key.updated_at,
    );
    Ok(query("update provider key", update.execute(db)).await?.rows_affected() == 1)
}

/// Deletes a key. Returns `false` if it is gone already.
pub(crate) async fn delete(db: &Pool, id: Uuid) -> Result<bool, StoreError> {
    let delete = sqlx::query!("DELETE FROM provider_keys WHERE id = $1", id);
    Ok(query("delete provider key", delete.execute(db)).await?.rows_affected() == 1)
}

/// Deletes the keys of a project.
pub(crate) async fn delete_of_project(db: impl PgExecutor<'_>, project: ProjectId) -> Result<(), StoreError> {
    let delete = sqlx::query!("DELETE FROM provider_keys WHERE project_id = $1", project.0);
    query("delete provider keys of project", delete.execute(db)).await.map(drop)
}

/// Deletes the keys of a person, and those that they stored for projects: all, or those from before a time.
pub(crate) async fn delete_of_user(db: impl PgExecutor<'_>, user: UserId, before: Option<OffsetDateTime>) -> Result<(), StoreError> {
    let delete =
        sqlx::query!("DELETE FROM provider_keys WHERE user_id = $1 AND ($2::timestamptz IS NULL OR created_at < $2)", user.0, before,);
    query("delete provider keys of user", delete.execute(db)).await.map(drop)
}

/// Records the use of a key and returns its owner, its provider and its sealed value, if it belongs to the project or, without a project, to the
/// person.
pub(crate) async fn record_use(
    db: &Pool,
    id: Uuid,
    user: UserId,
    project: Option<ProjectId>,
) -> Result<Option<(KeyOwner, Kind, Vec<u8>)>, StoreError> {
    let row = sqlx::query!(
        "UPDATE provider_keys SET used_at = clock_timestamp() WHERE id = $1 AND ((project_id IS NULL AND user_id = $2) OR project_id = $3)
        RETURNING user_id, project_id, provider, sealed",
        id,
        user.0,
        project.map(|id| id.0),
    );
    let Some(row) = query("use provider key", row.fetch_optional(db)).await? else { return Ok(None) };
    let kind = Kind::parse(&row.provider).ok_or_else(|| inconsistent("provider_keys.provider"))?;
    Ok(Some((owner(row.user_id, row.project_id), kind, row.sealed)))
}

/// A page of keys after an id whose sealed values do not begin with `head`, sorted by id.
pub(crate) async fn sealed_otherwise(
    db: &Pool,
    head: &[u8],
    after: Uuid,
    limit: i64,
) -> Result<Vec<(Uuid, KeyOwner, Vec<u8>)>, StoreError> {
    let rows = sqlx::query!(
        "SELECT id, user_id, project_id, sealed FROM provider_keys
        WHERE id > $2 AND substring(sealed FROM 1 FOR octet_length($1::bytea)) <> $1::bytea ORDER BY id LIMIT $3",
        head,
        after,
        limit,
    );
    let rows = query("select provider keys to seal", rows.fetch_all(db)).await?;
    Ok(rows.into_iter().map(|row| (row.id, owner(row.user_id, row.project_id), row.sealed)).collect())
}

/// Replaces a sealed value, unless it was changed in the meantime.
pub(crate) async fn replace_sealed(db: &Pool, id: Uuid, old: &[u8], new: &[u8]) -> Result<(), StoreError> {
    let update = sqlx::query!("UPDATE provider_keys SET sealed = $3 WHERE id = $1 AND sealed = $2", id, old, new);
    query("seal provider key again", update.execute(db)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::database;

    #[tokio::test]
    async fn keys_from_before_a_time_are_deleted_alone() {
        let database = database().await;
        let (user, other) = (UserId::generate(), UserId::generate());
        let key = |owner: UserId, kind| StoredKey {
            id: Uuid::now_v7(),
            owner: KeyOwner::Person(owner),
            stored_by: owner,
            kind,
            display_name: String::new(),
            base_url: String::new(),
            last_four: "abcd".into(),
            sealed: vec![1],
            created_at: chassis::clock::now(),
            updated_at: chassis::clock::now(),
            used_at: None,
        };
        for (owner, kind) in [(user, Kind::Anthropic), (user, Kind::OpenAi), (other, Kind::OpenAi)] {
            assert!(insert(&database.pool, &key(owner, kind)).await.unwrap());
        }
        sqlx::query("UPDATE provider_keys SET created_at = now() - interval '1 hour' WHERE provider = 'openai'")
            .execute(&database.pool)
            .await
            .unwrap();
        let before = chassis::clock::now() - time::Duration::minutes(30);
        delete_of_user(&database.pool, user, Some(before)).await.unwrap();
        let left = list(&database.pool, KeyOwner::Person(user)).await.unwrap();
        assert_eq!(left.iter().map(|key| key.kind).collect::<Vec<_>>(), [Kind::Anthropic]);
        delete_of_user(&database.pool, user, None).await.unwrap();
        assert!(list(&database.pool, KeyOwner::Person(user)).await.unwrap().is_empty());
        assert_eq!(list(&database.pool, KeyOwner::Person(other)).await.unwrap().len(), 1);
    }
}
