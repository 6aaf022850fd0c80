//! What stays of unpublished templates: the mark of an operator, reports, and the idempotency keys of their publications. A trigger keeps it
//! when a template is deleted.

use proto::id::{TemplateId, UserId};

use super::{Connection, StoreError};
use crate::model::project::StoreId;

/// Whether the next version of a template hides it: it is the first one from a project in the store `source`, and an operator has hidden another
/// template of the same publisher and store.
pub(crate) async fn hides(db: &mut Connection, (publisher, id): (UserId, TemplateId), source: StoreId) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar!(
        r#"SELECT NOT EXISTS (SELECT 1 FROM template_versions WHERE template_id = $2 AND source_store_id = $3) AND (
               EXISTS (SELECT 1 FROM unpublished_templates
                       WHERE publisher_id = $1 AND hidden AND source_store_ids @> ARRAY[$3::uuid])
               OR EXISTS (SELECT 1 FROM templates t JOIN template_versions v ON v.template_id = t.id
                          WHERE t.publisher_id = $1 AND t.hidden AND v.source_store_id = $3)
           ) AS "hides!""#,
        publisher.0,
        id.0,
        source.0,
    );
    chassis::postgres::query("select marks of publisher", query.fetch_one(&mut *db)).await
}

/// Takes the unpublished template that a new one of this publisher continues, if there is one: a hidden one first. The new one is made of a
/// project in the store `source`. Returns whether the new one is hidden, too: an operator has hidden a template of the same publisher and
/// store. The account of the publisher is locked.
pub(crate) async fn take(db: &mut Connection, publisher: UserId, source: StoreId) -> Result<(Option<TemplateId>, bool), StoreError> {
    let query = sqlx::query!(
        r#"WITH u AS (
               SELECT id, hidden FROM unpublished_templates
               WHERE publisher_id = $1 AND source_store_ids @> ARRAY[$2::uuid]
               ORDER BY hidden DESC, unpublished_at DESC LIMIT 1
           ), d AS (
               DELETE FROM unpublished_templates WHERE id = (SELECT id FROM u)
           )
           SELECT (SELECT id FROM u) AS "id?",
                  coalesce((SELECT hidden FROM u), false) OR EXISTS (
                      SELECT 1 FROM templates t JOIN template_versions v ON v.template_id = t.id
                      WHERE t.publisher_id = $1 AND t.hidden AND v.source_store_id = $2
                  ) AS "hidden!""#,
        publisher.0,
        source.0,
    );
    let row = chassis::postgres::query("take unpublished template", query.fetch_one(&mut *db)).await?;
    Ok((row.id.map(TemplateId), row.hidden))
}
