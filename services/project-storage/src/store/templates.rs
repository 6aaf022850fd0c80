//! Templates and their versions.

use proto::id::{TemplateId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Connection, StoreError, from_json, json, saves::Request, signed, unsigned, unused_stores};
use crate::{
    git::Oid,
    model::{
        project::StoreId,
        template::{Details, Difficulty, Filter, Key, Order, Template, Variable, Version, VersionInfo, time_of},
    },
};

/// The constraint that a second publication with the same idempotency key violates.
pub(crate) const REQUEST_KEY: &str = "template_versions_request_key";

/// Takes a template's columns out of a row.
macro_rules! template_row {
    ($row:ident) => {
        Template {
            id: TemplateId($row.id),
            store: StoreId($row.store_id),
            publisher: UserId($row.publisher_id),
            version: unsigned($row.version),
            details: Details {
                title: $row.title,
                description: $row.description,
                category: $row.category,
                tags: $row.tags,
                difficulty: Difficulty::of_number($row.difficulty),
                picture: $row.picture,
                recommended_agent: $row.recommended_agent,
            },
            featured: $row.featured,
            hidden: $row.hidden,
            uses: $row.uses,
            ratings: $row.ratings,
            stars: $row.stars,
            score: $row.score,
            created_at: $row.created_at,
            updated_at: $row.updated_at,
        }
    };
}

/// A template by a condition on `$1`, perhaps with a lock.
macro_rules! find_template {
    ($db:ident, $condition:literal, $key:expr) => {{
        let query = sqlx::query!(
            r#"SELECT id, store_id, publisher_id, version, title, description, category, tags, difficulty, picture, recommended_agent,
                   featured, hidden, uses, ratings, stars, score AS "score!", created_at, updated_at
               FROM templates WHERE "#
                + $condition,
            $key,
        );
        let row = chassis::postgres::query("select template", query.fetch_optional($db)).await?;
        Ok(row.map(|row| template_row!(row)))
    }};
}

/// A template by its id.
pub(crate) async fn find(db: impl PgExecutor<'_>, id: TemplateId) -> Result<Option<Template>, StoreError> {
    find_template!(db, "id = $1", id.0)
}

/// As [`find`], and keeps the template from being unpublished until the end of the transaction. An advisory lock, because with row locks the
/// counts of two uses and a deletion that waits could lock each other out.
pub(crate) async fn keep(db: &mut Connection, id: TemplateId) -> Result<Option<Template>, StoreError> {
    let lock = sqlx::query!("SELECT pg_advisory_xact_lock_shared(hashtextextended('template ' || $1::uuid::text, 0))", id.0);
    chassis::postgres::query("keep template", lock.execute(&mut *db)).await?;
    find(&mut *db, id).await
}

/// As [`find`], and locks the template for a change.
pub(crate) async fn lock(db: impl PgExecutor<'_>, id: TemplateId) -> Result<Option<Template>, StoreError> {
    find_template!(db, "id = $1 FOR NO KEY UPDATE", id.0)
}

/// Lets only one publication write to the store of a template, until the end of the transaction.
pub(crate) async fn lock_versions(db: &mut Connection, id: TemplateId) -> Result<(), StoreError> {
    let lock = sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('versions of template ' || $1::uuid::text, 0))", id.0);
    chassis::postgres::query("lock template versions", lock.execute(&mut *db)).await?;
    Ok(())
}

/// As [`find`], and locks the template for its deletion.
pub(crate) async fn lock_all(db: &mut Connection, id: TemplateId) -> Result<Option<Template>, StoreError> {
    let lock = sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('template ' || $1::uuid::text, 0))", id.0);
    chassis::postgres::query("lock template", lock.execute(&mut *db)).await?;
    self::lock(&mut *db, id).await
}

/// A template that ships with Backlot, by its name; locked for a change.
pub(crate) async fn find_starter(db: impl PgExecutor<'_>, starter: &str) -> Result<Option<Template>, StoreError> {
    find_template!(db, "starter = $1 FOR NO KEY UPDATE", starter)
}

/// A page of templates in the order of `$key`, the highest first.
macro_rules! page {
    ($db:ident, $filter:ident, $limit:ident, $key:literal, $value:expr, $id:expr) => {{
        let query = sqlx::query!(
            r#"SELECT id, store_id, publisher_id, version, title, description, category, tags, difficulty, picture, recommended_agent,
                   featured, hidden, uses, ratings, stars, score AS "score!", created_at, updated_at
               FROM templates
               WHERE ($1 = '' OR words @@ websearch_to_tsquery('simple', $1)) AND ($2 = '' OR category = $2)
                 AND ($3 = '' OR tags @> ARRAY[$3]) AND ($4::smallint IS NULL OR difficulty = $4) AND (NOT $5 OR featured)
                 AND (CASE WHEN $6::uuid IS NULL THEN NOT hidden ELSE publisher_id = $6 END) AND "#
                + $key,
            $filter.query,
            $filter.category,
            $filter.tag,
            $filter.difficulty.map(|difficulty| difficulty as i16),
            $filter.featured,
            $filter.publisher.map(|publisher| publisher.0),
            $value,
            $id,
            $limit,
        );
        let rows = chassis::postgres::query("select templates", query.fetch_all($db)).await?;
        Ok(rows.into_iter().map(|row| template_row!(row)).collect())
    }};
}

/// The templates of a filter after a key.
pub(crate) async fn page(db: impl PgExecutor<'_>, filter: &Filter, after: Option<Key>, limit: i64) -> Result<Vec<Template>, StoreError> {
    let (value, id) = after.unwrap_or((i64::MAX, Uuid::max()));
    match filter.order {
        Order::Uses => page!(db, filter, limit, "(uses, id) < ($7, $8) ORDER BY uses DESC, id DESC LIMIT $9", value, id),
        Order::Rating => page!(db, filter, limit, "(score, id) < ($7, $8) ORDER BY score DESC, id DESC LIMIT $9", value, id),
        Order::Newest => {
            let time = if after.is_none() { latest() } else { time_of(value) };
            page!(db, filter, limit, "(created_at, id) < ($7, $8) ORDER BY created_at DESC, id DESC LIMIT $9", time, id)
        }
    }
}

/// The last day of 9999, after which no template was published.
pub(super) fn latest() -> OffsetDateTime {
    time_of(253_402_214_400 * 1_000_000)
}

/// How many templates a user has published.
pub(crate) async fn count(db: &mut Connection, publisher: UserId) -> Result<i64, StoreError> {
    let query = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM templates WHERE publisher_id = $1"#, publisher.0);
    chassis::postgres::query("count templates", query.fetch_one(&mut *db)).await
}

/// The bytes that the projects and the templates of a user store.
pub(crate) async fn account_bytes(db: &mut Connection, user: UserId) -> Result<i64, StoreError> {
    let query = sqlx::query_scalar!(
        r#"SELECT account_bytes($1) + coalesce(sum(s.bytes), 0)::bigint AS "bytes!"
           FROM templates t JOIN stores s ON s.id = t.store_id WHERE t.publisher_id = $1"#,
        user.0,
    );
    chassis::postgres::query("select bytes with templates", query.fetch_one(&mut *db)).await
}

/// A template to insert, or its next version.
pub(crate) struct NewVersion<'a> {
    pub(crate) template: TemplateId,
    pub(crate) store: StoreId,
    /// The store of the project that is published.
    pub(crate) source: Option<StoreId>,
    /// Whether the version hides the template. Otherwise a template that is hidden stays so.
    pub(crate) hidden: bool,
    pub(crate) publisher: UserId,
    /// The name of a template that ships with Backlot.
    pub(crate) starter: Option<&'a str>,
    pub(crate) version: u32,
    pub(crate) details: &'a Details,
    pub(crate) tree: Oid,
    pub(crate) files: u32,
    pub(crate) bytes: u64,
    pub(crate) variables: &'a [Variable],
    pub(crate) filled: &'a [String],
    pub(crate) digest: Option<&'a [u8]>,
    pub(crate) request: Option<Request<'a>>,
}

/// Inserts the store of a template.
pub(crate) async fn insert_store(db: &mut Connection, store: StoreId) -> Result<(), StoreError> {
    let query = sqlx::query!("INSERT INTO stores (id) VALUES ($1)", store.0);
    chassis::postgres::query("insert template store", query.execute(&mut *db)).await?;
    Ok(())
}

/// Inserts a template, or changes it to its next version; a template that ships with Backlot is featured when it is inserted. A next
/// version keeps what operators have marked.
pub(crate) async fn write(db: &mut Connection, new: &NewVersion<'_>) -> Result<(), StoreError> {
    let details = new.details;
    let query = sqlx::query!(
        "INSERT INTO templates (id, store_id, publisher_id, starter, version, title, description, category, tags, difficulty, picture,
             recommended_agent, featured, hidden, words)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $4::text IS NOT NULL, $13,
             setweight(to_tsvector('simple', $6::text), 'A') || setweight(to_tsvector('simple', array_to_string($9::text[], ' ')), 'B')
                 || to_tsvector('simple', $7::text))
         ON CONFLICT (id) DO UPDATE SET
             version = excluded.version, title = excluded.title, description = excluded.description, category = excluded.category,
             tags = excluded.tags, difficulty = excluded.difficulty, picture = excluded.picture,
             recommended_agent = excluded.recommended_agent, words = excluded.words, hidden = templates.hidden OR excluded.hidden,
             updated_at = clock_timestamp()",
        new.template.0,
        new.store.0,
        new.publisher.0,
        new.starter,
        signed(new.version),
        details.title,
        details.description,
        details.category,
        &details.tags,
        details.difficulty as i16,
        details.picture,
        details.recommended_agent,
        new.hidden,
    );
    chassis::postgres::query("write template", query.execute(&mut *db)).await?;
    write_version(db, new).await
}

async fn write_version(db: &mut Connection, new: &NewVersion<'_>) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "INSERT INTO template_versions (template_id, version, tree, files, bytes, variables, filled, digest, publisher_id, request_id,
             fingerprint, source_store_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        new.template.0,
        signed(new.version),
        new.tree.as_bytes(),
        signed(new.files),
        i64::try_from(new.bytes).unwrap_or(i64::MAX),
        json(new.variables)?,
        json(new.filled)?,
        new.digest,
        new.publisher.0,
        new.request.map(|request| request.id),
        new.request.map(|request| request.fingerprint),
        new.source.map(|store| store.0),
    );
    chassis::postgres::query("insert template version", query.execute(&mut *db)).await?;
    Ok(())
}

/// A version of a template.
pub(crate) async fn version(db: impl PgExecutor<'_>, id: TemplateId, number: u32) -> Result<Option<Version>, StoreError> {
    let query = sqlx::query!(
        "SELECT tree, variables, filled FROM template_versions WHERE template_id = $1 AND version = $2",
        id.0,
        signed(number),
    );
    let row = chassis::postgres::query("select template version", query.fetch_optional(db)).await?;
    row.map(|row| {
        let (variables, filled) = (from_json(&row.variables)?, from_json(&row.filled)?);
        Ok(Version { number, tree: Oid::from_bytes(&row.tree)?, variables, filled })
    })
    .transpose()
}

/// All versions of a template, the newest first.
pub(crate) async fn versions(db: impl PgExecutor<'_>, id: TemplateId) -> Result<Vec<VersionInfo>, StoreError> {
    let query =
        sqlx::query!("SELECT version, files, bytes, created_at FROM template_versions WHERE template_id = $1 ORDER BY version DESC", id.0,);
    let rows = chassis::postgres::query("select template versions", query.fetch_all(db)).await?;
    let info = |number, files, bytes, created_at| VersionInfo { number: unsigned(number), files: unsigned(files), bytes, created_at };
    Ok(rows.into_iter().map(|row| info(row.version, row.files, row.bytes, row.created_at)).collect())
}

/// Whether a template has a version of this digest.
pub(crate) async fn has_digest(db: &mut Connection, id: TemplateId, digest: &[u8]) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM template_versions WHERE template_id = $1 AND digest = $2) AS "found!""#,
        id.0,
        digest,
    );
    chassis::postgres::query("select starter version", query.fetch_one(&mut *db)).await
}

/// A publication that has an idempotency key.
pub(crate) struct RecordedPublication {
    pub(crate) template: TemplateId,
    /// SHA-256 of the user and the request.
    pub(crate) fingerprint: Vec<u8>,
    /// Its template was unpublished. A later one may have the same id.
    pub(crate) is_unpublished: bool,
}

/// What a user published with an idempotency key.
pub(crate) async fn find_recorded(
    db: impl PgExecutor<'_>,
    publisher: UserId,
    request_id: &str,
) -> Result<Option<RecordedPublication>, StoreError> {
    let query = sqlx::query!(
        r#"SELECT template_id AS "template_id!", fingerprint AS "fingerprint!", false AS "is_unpublished!" FROM template_versions
           WHERE publisher_id = $1 AND request_id = $2
           UNION ALL
           SELECT template_id, fingerprint, true FROM unpublished_requests WHERE publisher_id = $1 AND request_id = $2
           LIMIT 1"#,
        publisher.0,
        request_id,
    );
    let row = chassis::postgres::query("select publication", query.fetch_optional(db)).await?;
    Ok(row.map(|row| RecordedPublication {
        template: TemplateId(row.template_id),
        fingerprint: row.fingerprint,
        is_unpublished: row.is_unpublished,
    }))
}

/// Counts a use.
pub(crate) async fn count_use(db: &mut Connection, id: TemplateId) -> Result<(), StoreError> {
    let query = sqlx::query!("UPDATE templates SET uses = uses + 1 WHERE id = $1", id.0);
    chassis::postgres::query("count template use", query.execute(&mut *db)).await?;
    Ok(())
}

/// Features or hides a template. `None` keeps a mark as it is. Returns `false` if there is no such template.
pub(crate) async fn mark(
    db: impl PgExecutor<'_>,
    id: TemplateId,
    featured: Option<bool>,
    hidden: Option<bool>,
) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "UPDATE templates SET featured = coalesce($2, featured), hidden = coalesce($3, hidden) WHERE id = $1",
        id.0,
        featured,
        hidden,
    );
    Ok(chassis::postgres::query("mark template", query.execute(db)).await?.rows_affected() == 1)
}

/// Deletes a locked template with its versions and reviews, and leaves its store. What is said about it stays, see
/// [`super::unpublished_templates`].
pub(crate) async fn delete(db: &mut Connection, template: &Template) -> Result<(), StoreError> {
    // A report holds this row until it is written. The statement after it sees the report.
    let lock = sqlx::query!("SELECT id FROM templates WHERE id = $1 FOR UPDATE", template.id.0);
    chassis::postgres::query("lock template for deletion", lock.fetch_optional(&mut *db)).await?;
    let query = sqlx::query!("DELETE FROM templates WHERE id = $1", template.id.0);
    chassis::postgres::query("delete template", query.execute(&mut *db)).await?;
    unused_stores::leave_store(db, template.store).await
}
