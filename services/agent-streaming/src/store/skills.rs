//! The skills that turns run with.

use chassis::postgres::query;
use sqlx::{PgPool, types::Json};

use super::StoreError;
use crate::model::skills::{Skill, Skills};

/// Stores a set of skills, or that it is still in use.
pub(crate) async fn store(db: &PgPool, set: &Skills) -> Result<(), StoreError> {
    let skills: Vec<&Skill> = set.all().collect();
    let versions: Vec<String> = skills.iter().map(|skill| skill.version.clone()).collect();
    let insert = sqlx::query!(
        "WITH stored AS (INSERT INTO skill_sets (version, skills) VALUES ($1, $2) ON CONFLICT (version) DO UPDATE SET stored_at = clock_timestamp())
        INSERT INTO skills (version, definition)
        SELECT version, definition FROM unnest($2::text[]) WITH ORDINALITY v (version, at)
            JOIN jsonb_array_elements($3) WITH ORDINALITY d (definition, at) USING (at)
        ON CONFLICT (version) DO UPDATE SET stored_at = clock_timestamp()",
        set.version(),
        &versions,
        Json(&skills) as _,
    );
    query("store skills", insert.execute(db)).await?;
    Ok(())
}

/// The skills of the set with this version; none if it is not stored.
pub(crate) async fn find(db: &PgPool, version: &str) -> Result<Vec<Skill>, StoreError> {
    let rows = sqlx::query_scalar!(
        r#"SELECT s.definition AS "definition: Json<Skill>" FROM skill_sets t JOIN skills s ON s.version = ANY (t.skills) WHERE t.version = $1"#,
        version,
    );
    Ok(query("select skills", rows.fetch_all(db)).await?.into_iter().map(|skill| skill.0).collect())
}
