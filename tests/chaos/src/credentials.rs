//! The refresh tokens that auth has of the programs of a round.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{
    check::{self, Rules, Violation},
    record::Credentials,
};
use crate::deployment::{Deployment, timeline::FaultHistory};

/// Checks the observations of a round.
///
/// # Errors
/// The database does not answer.
pub async fn check(deployment: &Deployment, observed: &Credentials, faults: &FaultHistory, rules: &Rules) -> Result<Vec<Violation>> {
    let sessions: Vec<String> = observed.programs.iter().map(|program| program.session.clone()).collect();
    let select = "SELECT session_id::text, count(*) FROM refresh_tokens
        WHERE used_at IS NULL AND session_id = ANY($1::text[]::uuid[]) GROUP BY session_id";
    let live: Vec<(String, i64)> = sqlx::query_as(select).bind(&sessions).fetch_all(&deployment.pool("auth").await?).await?;
    let live: BTreeMap<String, i64> = live.into_iter().collect();
    Ok(check::credentials::check(observed, &live, faults, rules))
}
