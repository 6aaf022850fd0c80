//! Facts of modules, and their code.

use chassis::postgres::query;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::StoreError;

/// Facts that one release made, as they are stored, one list per column.
#[derive(Debug, Default)]
pub(crate) struct FactRows {
    /// That of all of them.
    pub(crate) release: Vec<u8>,
    pub(crate) keys: Vec<String>,
    pub(crate) paths: Vec<String>,
    pub(crate) blob_ids: Vec<String>,
    pub(crate) outputs: Vec<String>,
    pub(crate) bodies: Vec<Vec<u8>>,
}

/// Facts that are kept.
#[derive(Debug, Clone)]
pub(crate) struct FactRow {
    pub(crate) key: String,
    /// The file that they belong to.
    pub(crate) path: String,
    /// The address of the code, or empty.
    pub(crate) output: String,
    /// Encoded.
    pub(crate) body: Vec<u8>,
    pub(crate) used_at: OffsetDateTime,
}

/// The facts that a release made of files whose code is kept, for pairs of path and content.
pub(crate) async fn facts(db: impl PgExecutor<'_>, release: &[u8], paths: &[String], ids: &[String]) -> Result<Vec<FactRow>, StoreError> {
    let select = sqlx::query_as!(
        FactRow,
        "select f.key, f.path, f.output, f.body, f.used_at from unnest($1::text[], $2::text[]) as file (path, id) join facts f on f.blob_id = file.id and f.path = file.path
         where f.release = $3 and (f.output = '' or exists (select from outputs o where o.name = f.output))",
        paths,
        ids,
        release,
    );
    query("select facts", select.fetch_all(db)).await
}

pub(crate) async fn put_facts(db: impl PgExecutor<'_>, rows: &FactRows, now: OffsetDateTime) -> Result<(), StoreError> {
    let insert = sqlx::query!(
        "insert into facts (key, path, blob_id, output, body, used_at, release)
         select key, path, id, output, body, $6, $7
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[]) as new (key, path, id, output, body)
         order by key on conflict (key) do nothing",
        &rows.keys,
        &rows.paths,
        &rows.blob_ids,
        &rows.outputs,
        &rows.bodies,
        now,
        rows.release.as_slice(),
    );
    query("insert facts", insert.execute(db)).await?;
    Ok(())
}

/// Records the use of facts whose last use is before `old`.
pub(crate) async fn touch_facts(
    db: impl PgExecutor<'_>,
    keys: &[String],
    now: OffsetDateTime,
    old: OffsetDateTime,
) -> Result<(), StoreError> {
    let update = sqlx::query!(
        "update facts set used_at = $2 where key in
           (select key from facts where key = any($1) and used_at < $3 order by key for update)",
        keys,
        now,
        old,
    );
    query("update facts", update.execute(db)).await?;
    Ok(())
}

pub(crate) async fn output(db: impl PgExecutor<'_>, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let select = sqlx::query_scalar!("select body from outputs where name = $1", name);
    query("select outputs", select.fetch_optional(db)).await
}

/// The bytes of outputs together.
pub(crate) async fn bytes(db: impl PgExecutor<'_>, names: &[String]) -> Result<i64, StoreError> {
    let select =
        sqlx::query_scalar!(r#"select coalesce(sum(octet_length(body)), 0)::bigint as "bytes!" from outputs where name = any($1)"#, names,);
    query("select output sizes", select.fetch_one(db)).await
}

pub(crate) async fn put_outputs(
    db: impl PgExecutor<'_>,
    names: &[String],
    bodies: &[Vec<u8>],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let insert = sqlx::query!(
        "insert into outputs (name, body, used_at) select name, body, $3 from unnest($1::text[], $2::bytea[]) as new (name, body)
         order by name on conflict (name) do nothing",
        names,
        bodies,
        now,
    );
    query("insert outputs", insert.execute(db)).await?;
    Ok(())
}

/// Records the use of outputs whose last use is before `old`.
pub(crate) async fn touch_outputs(
    db: impl PgExecutor<'_>,
    names: &[String],
    now: OffsetDateTime,
    old: OffsetDateTime,
) -> Result<(), StoreError> {
    let update = sqlx::query!(
        "update outputs set used_at = $2 where name in
           (select name from outputs where name = any($1) and used_at < $3 order by name for update)",
        names,
        now,
        old,
    );
    query("update outputs", update.execute(db)).await?;
    Ok(())
}

/// How many of the outputs are kept. They are locked, so that a sweep does not delete them before the commit.
pub(crate) async fn lock_outputs(db: impl PgExecutor<'_>, names: &[String]) -> Result<usize, StoreError> {
    let select = sqlx::query_scalar!("select name from outputs where name = any($1) order by name for key share", names);
    Ok(query("lock outputs", select.fetch_all(db)).await?.len())
}
