//! Reviews and reports of templates.

use proto::id::{TemplateId, UserId};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{Connection, StoreError, templates::latest};
use crate::model::template::{Key, Report, Review, time_of};

/// The reviews of a template after a key, the last changed first.
pub(crate) async fn page(db: impl PgExecutor<'_>, template: TemplateId, after: Option<Key>, limit: i64) -> Result<Vec<Review>, StoreError> {
    let (time, user) = after.map_or_else(|| (latest(), Uuid::max()), |(micros, user)| (time_of(micros), user));
    let query = sqlx::query!(
        "SELECT user_id, stars, text, created_at, updated_at FROM template_reviews
         WHERE template_id = $1 AND (updated_at, user_id) < ($2, $3) ORDER BY updated_at DESC, user_id DESC LIMIT $4",
        template.0,
        time,
        user,
        limit,
    );
    let rows = chassis::postgres::query("select reviews", query.fetch_all(db)).await?;
    let review = |user, stars, text, created_at, updated_at| Review { user: UserId(user), stars, text, created_at, updated_at };
    Ok(rows.into_iter().map(|row| review(row.user_id, row.stars, row.text, row.created_at, row.updated_at)).collect())
}

/// Writes the review of a user, and counts it. The template is locked.
pub(crate) async fn write(db: &mut Connection, template: TemplateId, user: UserId, stars: i16, text: &str) -> Result<Review, StoreError> {
    let query = sqlx::query!(
        r#"WITH old AS (
               SELECT stars FROM template_reviews WHERE template_id = $1 AND user_id = $2
           ), t AS (
               UPDATE templates SET ratings = ratings + CASE WHEN EXISTS (SELECT 1 FROM old) THEN 0 ELSE 1 END,
                   stars = stars + $3::smallint - coalesce((SELECT stars FROM old), 0)
               WHERE id = $1
           )
           INSERT INTO template_reviews (template_id, user_id, stars, text) VALUES ($1, $2, $3, $4)
           ON CONFLICT (template_id, user_id) DO UPDATE SET stars = excluded.stars, text = excluded.text, updated_at = excluded.updated_at
           RETURNING created_at, updated_at"#,
        template.0,
        user.0,
        stars,
        text,
    );
    let row = chassis::postgres::query("write review", query.fetch_one(&mut *db)).await?;
    Ok(Review { user, stars, text: text.to_owned(), created_at: row.created_at, updated_at: row.updated_at })
}

/// Deletes the review of a user, and no longer counts it. The template is locked. Returns `false` if there is none.
pub(crate) async fn delete(db: &mut Connection, template: TemplateId, user: UserId) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "WITH old AS (DELETE FROM template_reviews WHERE template_id = $1 AND user_id = $2 RETURNING stars)
         UPDATE templates SET ratings = ratings - 1, stars = templates.stars - old.stars FROM old WHERE id = $1",
        template.0,
        user.0,
    );
    Ok(chassis::postgres::query("delete review", query.execute(&mut *db)).await?.rows_affected() == 1)
}

/// Writes the report of a user. Returns `false` if there is no such template.
pub(crate) async fn report(db: impl PgExecutor<'_>, template: TemplateId, user: UserId, reason: &str) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "INSERT INTO template_reports (template_id, user_id, reason) SELECT id, $2::uuid, $3::text FROM templates WHERE id = $1 FOR KEY SHARE
         ON CONFLICT (template_id, user_id) DO UPDATE SET reason = excluded.reason, updated_at = excluded.updated_at",
        template.0,
        user.0,
        reason,
    );
    Ok(chassis::postgres::query("write report", query.execute(db)).await?.rows_affected() == 1)
}

/// Deletes the reports of a template, or the one of a user. Returns their number. With its last report, nothing is kept of an unpublished
/// template that no operator has hidden.
pub(crate) async fn dismiss_reports(db: impl PgExecutor<'_>, template: TemplateId, user: Option<UserId>) -> Result<u64, StoreError> {
    let query = sqlx::query_scalar!(
        r#"WITH u AS (
             DELETE FROM unpublished_templates WHERE id = $1 AND NOT hidden AND NOT EXISTS (
                 SELECT 1 FROM template_reports WHERE template_id = $1 AND $2::uuid IS NOT NULL AND user_id <> $2
             )
         ), r AS (
             DELETE FROM template_reports WHERE template_id = $1 AND ($2::uuid IS NULL OR user_id = $2) RETURNING 1
         )
         SELECT count(*) AS "dismissed!" FROM r"#,
        template.0,
        user.map(|user| user.0),
    );
    let dismissed = chassis::postgres::query("delete reports", query.fetch_one(db)).await?;
    Ok(u64::try_from(dismissed).unwrap_or_default())
}

/// A position in the list of reports: a time in microseconds since 1970, a template and a user.
pub(crate) type ReportKey = (i64, Uuid, Uuid);

/// The reports of a template, or of all, after a key, the last changed first.
pub(crate) async fn reports(
    db: impl PgExecutor<'_>,
    template: Option<TemplateId>,
    after: Option<ReportKey>,
    limit: i64,
) -> Result<Vec<Report>, StoreError> {
    let first = || (latest(), Uuid::max(), Uuid::max());
    let (time, after_template, user) = after.map_or_else(first, |(micros, template, user)| (time_of(micros), template, user));
    let query = sqlx::query!(
        "SELECT template_id, user_id, reason, updated_at FROM template_reports
         WHERE ($1::uuid IS NULL OR template_id = $1) AND (updated_at, template_id, user_id) < ($2, $3, $4)
         ORDER BY updated_at DESC, template_id DESC, user_id DESC LIMIT $5",
        template.map(|template| template.0),
        time,
        after_template,
        user,
        limit,
    );
    let rows = chassis::postgres::query("select reports", query.fetch_all(db)).await?;
    let report = |template, user, reason, updated_at| Report { template: TemplateId(template), user: UserId(user), reason, updated_at };
    Ok(rows.into_iter().map(|row| report(row.template_id, row.user_id, row.reason, row.updated_at)).collect())
}
