//! What the databases have of deleted accounts at the end of a run.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use sqlx::{AssertSqlSafe, PgPool};
use test_support::canary::Stopwatch;
use tokio::time::sleep;

use super::{
    check::{
        Violation,
        accounts::{self, Account},
    },
    record::DeletedAccount,
};
use crate::deployment::Deployment;

const POLL: Duration = Duration::from_millis(100);
/// The limit for the end of a deletion. It is final after ten seconds, and the services look each second.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
const SERVICES: [&str; 3] = ["auth", "agent-streaming", "project-storage"];

/// Waits until the deletions have ended, and checks what is left.
///
/// # Errors
/// The database does not answer.
pub async fn check(deployment: &Deployment, deleted: &[DeletedAccount]) -> Result<Vec<Violation>> {
    if deleted.is_empty() {
        return Ok(Vec::new());
    }
    let users: Vec<String> = deleted.iter().map(|account| account.user.clone()).collect();
    let auth = deployment.pool("auth").await?;
    let clock = Stopwatch::start();
    let waiting = loop {
        let waiting = waiting(&auth, &users).await?;
        if waiting.is_empty() || clock.elapsed() > ENDS_WITHIN {
            break waiting;
        }
        sleep(POLL).await;
    };
    let ends = ends(&auth, &users).await?;
    let mut accounts: BTreeMap<String, Account> = deleted.iter().map(|account| (account.user.clone(), Account::default())).collect();
    for (user, account) in &mut accounts {
        account.is_waiting = waiting.contains(user);
        account.ends = ends.get(user).copied().unwrap_or_default();
    }
    for service in SERVICES {
        let pool = deployment.pool(service).await?;
        for (place, user) in found(&pool, &users).await? {
            accounts.entry(user).or_default().left.push(format!("{service}.{place}"));
        }
    }
    let owners: BTreeMap<&str, &str> =
        deleted.iter().flat_map(|account| account.turns.iter().map(|turn| (turn.as_str(), account.user.as_str()))).collect();
    let turns: Vec<String> = owners.keys().map(|turn| (*turn).to_owned()).collect();
    for (place, turn) in found(&deployment.pool("agent-streaming").await?, &turns).await? {
        let user = owners.get(turn.as_str()).map(|user| (*user).to_owned()).unwrap_or_default();
        accounts.entry(user).or_default().left.push(format!("turn {turn} in agent-streaming.{place}"));
    }
    Ok(accounts::check(&accounts))
}

/// The accounts that a service has not acknowledged.
async fn waiting(auth: &PgPool, users: &[String]) -> Result<Vec<String>> {
    let select = "SELECT user_id::text FROM account_deletions WHERE user_id = ANY($1::text[]::uuid[])";
    Ok(sqlx::query_scalar(select).bind(users).fetch_all(auth).await?)
}

/// How often the audit log has the end of a deletion.
async fn ends(auth: &PgPool, users: &[String]) -> Result<BTreeMap<String, i64>> {
    let select = "SELECT user_id::text, count(*) FROM audit_events
        WHERE kind = 'user.data_deleted' AND user_id = ANY($1::text[]::uuid[]) GROUP BY user_id";
    let rows: Vec<(String, i64)> = sqlx::query_as(select).bind(users).fetch_all(auth).await?;
    Ok(rows.into_iter().collect())
}

/// The columns of a database that have one of these ids, each with the id.
async fn found(pool: &PgPool, ids: &[String]) -> Result<Vec<(String, String)>> {
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT format('SELECT %L, %I::text FROM %I WHERE %I = ANY($1::text[]::uuid[])', table_name || '.' || column_name,
            column_name, table_name, column_name)
        FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
        WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' AND data_type = 'uuid'
            AND NOT EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = format('%I', table_name)::regclass)",
    )
    .fetch_all(pool)
    .await?;
    let select = columns.join(" UNION ");
    Ok(sqlx::query_as(AssertSqlSafe(select)).bind(ids).fetch_all(pool).await?)
}
