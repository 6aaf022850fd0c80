//! The agents that turns run with, and the catalogues that they were selected from.

use std::time::Duration;

use chassis::postgres::query;
use sqlx::{PgPool, types::Json};

use super::StoreError;
use crate::{model::agents::Agent, selection::Catalogue};

/// Stores a catalogue and its agents, or that they are still in use.
pub(crate) async fn store(db: &PgPool, version: &str, catalogue: &Catalogue, agents: &[&Agent]) -> Result<(), StoreError> {
    let versions: Vec<String> = agents.iter().map(|agent| agent.version.clone()).collect();
    let insert = sqlx::query!(
        "WITH stored AS (INSERT INTO catalogues (version, profiles) VALUES ($1, $2) ON CONFLICT (version) DO UPDATE SET stored_at = clock_timestamp())
        INSERT INTO agents (version, definition)
        SELECT version, definition FROM unnest($3::text[]) WITH ORDINALITY v (version, at)
            JOIN jsonb_array_elements($4) WITH ORDINALITY d (definition, at) USING (at)
        ON CONFLICT (version) DO UPDATE SET stored_at = clock_timestamp()",
        version,
        Json(catalogue) as _,
        &versions,
        Json(agents) as _,
    );
    query("store catalogue", insert.execute(db)).await?;
    Ok(())
}

/// The agent with this version.
pub(crate) async fn find(db: &PgPool, version: &str) -> Result<Option<Agent>, StoreError> {
    let row = sqlx::query_scalar!(r#"SELECT definition AS "definition: Json<Agent>" FROM agents WHERE version = $1"#, version);
    Ok(query("select agent", row.fetch_optional(db)).await?.map(|agent| agent.0))
}

/// The catalogue with this version.
pub(crate) async fn find_catalogue(db: &PgPool, version: &str) -> Result<Option<Catalogue>, StoreError> {
    let row = sqlx::query_scalar!(r#"SELECT profiles AS "profiles: Json<Catalogue>" FROM catalogues WHERE version = $1"#, version);
    Ok(query("select catalogue", row.fetch_optional(db)).await?.map(|catalogue| catalogue.0))
}

/// Deletes the catalogues, agents and skills that no replica has had for this long and that no open turn runs with.
pub(crate) async fn delete_old(db: &PgPool, age: Duration) -> Result<(), StoreError> {
    let delete = sqlx::query!(
        "WITH open AS (SELECT agent_version, skills FROM turns WHERE ended_at IS NULL),
            old AS (SELECT clock_timestamp() - $1::float8 * interval '1 second' AS at),
            gone_catalogues AS (DELETE FROM catalogues c USING old WHERE c.stored_at < old.at),
            gone_agents AS (DELETE FROM agents a USING old
                WHERE a.stored_at < old.at AND NOT EXISTS (SELECT 1 FROM open WHERE open.agent_version = a.version)),
            gone_sets AS (DELETE FROM skill_sets s USING old
                WHERE s.stored_at < old.at AND NOT EXISTS (SELECT 1 FROM open WHERE open.skills = s.version))
        DELETE FROM skills k USING old WHERE k.stored_at < old.at
            AND NOT EXISTS (SELECT 1 FROM open JOIN skill_sets s ON s.version = open.skills WHERE k.version = ANY (s.skills))",
        age.as_secs_f64(),
    );
    query("delete old agents", delete.execute(db)).await?;
    Ok(())
}
