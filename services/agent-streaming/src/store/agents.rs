//! The agents that turns run with, and the catalogues that they were selected from.

use chassis::postgres::query;
use sqlx::{PgPool, types::Json};

use super::StoreError;
use crate::{model::agents::Agent, selection::Catalogue};

/// Stores a catalogue and its agents, unless they are stored.
pub(crate) async fn store(db: &PgPool, version: &str, catalogue: &Catalogue, agents: &[&Agent]) -> Result<(), StoreError> {
    let versions: Vec<String> = agents.iter().map(|agent| agent.version.clone()).collect();
    let insert = sqlx::query!(
        "WITH stored AS (INSERT INTO catalogues (version, profiles) VALUES ($1, $2) ON CONFLICT DO NOTHING)
        INSERT INTO agents (version, definition)
        SELECT version, definition FROM unnest($3::text[]) WITH ORDINALITY v (version, at)
            JOIN jsonb_array_elements($4) WITH ORDINALITY d (definition, at) USING (at)
        ON CONFLICT DO NOTHING",
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
