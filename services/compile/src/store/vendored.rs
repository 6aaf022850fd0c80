//! Packages that an operator keeps.

use chassis::postgres::query;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::StoreError;

/// A version of a package.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) tags: Vec<String>,
    pub(crate) document: Vec<u8>,
    /// The hash and the bytes of its tarball.
    pub(crate) tarball: Option<(String, Vec<u8>)>,
}

/// A version without its tarball.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) tags: Vec<String>,
    pub(crate) document: Vec<u8>,
    pub(crate) sha512: Option<String>,
    /// The bytes of the tarball.
    pub(crate) bytes: i64,
}

/// The kept versions of a package.
pub(crate) async fn versions(db: impl PgExecutor<'_>, name: &str) -> Result<Vec<Document>, StoreError> {
    let select = sqlx::query_as!(
        Document,
        r#"select name, version, tags, document, sha512, coalesce(octet_length(tarball), 0)::bigint as "bytes!"
           from vendored_packages where name = $1"#,
        name,
    );
    query("select vendored versions", select.fetch_all(db)).await
}

/// Versions after the last one of the page before, in the order of name and version.
pub(crate) async fn page(db: impl PgExecutor<'_>, after: (&str, &str), limit: i64) -> Result<Vec<Document>, StoreError> {
    let select = sqlx::query_as!(
        Document,
        r#"select name, version, tags, document, sha512, coalesce(octet_length(tarball), 0)::bigint as "bytes!"
           from vendored_packages where (name collate "C", version collate "C") > ($1, $2)
           order by name collate "C", version collate "C" limit $3"#,
        after.0,
        after.1,
        limit,
    );
    query("list vendored packages", select.fetch_all(db)).await
}

/// The bytes of the tarball of a version that is kept; 0 if it has none.
pub(crate) async fn find(db: impl PgExecutor<'_>, name: &str, version: &str) -> Result<Option<i64>, StoreError> {
    let select = sqlx::query_scalar!(
        r#"select coalesce(octet_length(tarball), 0)::bigint as "bytes!" from vendored_packages where name = $1 and version = $2"#,
        name,
        version,
    );
    query("find vendored package", select.fetch_optional(db)).await
}

pub(crate) async fn tarball(db: impl PgExecutor<'_>, name: &str, version: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let select = sqlx::query_scalar!("select tarball from vendored_packages where name = $1 and version = $2", name, version);
    Ok(query("select vendored tarball", select.fetch_optional(db)).await?.flatten())
}

/// Keeps a version if all of them then have at most `limit` bytes. What is kept of it already stays; a tarball is added to a version
/// without one. Returns whether it is kept.
pub(crate) async fn put(db: impl PgExecutor<'_>, new: &Version, limit: i64, now: OffsetDateTime) -> Result<bool, StoreError> {
    let (sha512, tarball) = new.tarball.as_ref().map(|(hash, bytes)| (hash.as_str(), bytes.as_slice())).unzip();
    let insert = sqlx::query!(
        "insert into vendored_packages as kept (name, version, tags, document, sha512, tarball, added_at)
         select $1, $2, $3, $4, $5, $6, $7
         where (select coalesce(sum(octet_length(document) + coalesce(octet_length(tarball), 0)), 0) from vendored_packages)
               + octet_length($4::bytea) + coalesce(octet_length($6::bytea), 0) <= $8
         on conflict (name, version) do update set
           tags = array(select distinct tag from unnest(kept.tags || excluded.tags) as tag order by tag),
           document = case when kept.sha512 is null then excluded.document else kept.document end,
           sha512 = coalesce(kept.sha512, excluded.sha512),
           tarball = coalesce(kept.tarball, excluded.tarball)",
        new.name,
        new.version,
        &new.tags,
        &new.document,
        sha512,
        tarball,
        now,
        limit,
    );
    Ok(query("insert vendored package", insert.execute(db)).await?.rows_affected() == 1)
}

/// A bundle, and the bytes of its outputs.
#[derive(Debug)]
pub(crate) struct KeptBundle {
    pub(crate) key: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) bytes: i64,
}

/// Bundles after a key.
pub(crate) async fn bundles(db: impl PgExecutor<'_>, after: &[u8], limit: i64) -> Result<Vec<KeptBundle>, StoreError> {
    let select = sqlx::query_as!(
        KeptBundle,
        r#"select key, body,
             (select coalesce(sum(octet_length(o.body)), 0) from outputs o where o.name = any(b.outputs))::bigint as "bytes!"
           from bundles b where key > $1 order by key limit $2"#,
        after,
        limit,
    );
    query("list bundles", select.fetch_all(db)).await
}
