//! Changes of rows that only tests make.

use std::time::Duration;

use proto::id::{ProjectId, TurnId, UserId};
use sqlx::{PgPool, Postgres, Transaction};

/// Locks a turn's row like a claim that has not committed yet.
pub(crate) async fn hold(db: &PgPool, turn: TurnId) -> Transaction<'static, Postgres> {
    let mut tx = chassis::postgres::begin(db).await.unwrap();
    sqlx::query("UPDATE turns SET epoch = epoch + 1 WHERE id = $1").bind(turn.0).execute(&mut *tx).await.unwrap();
    tx
}

/// Changes the id of a turn.
pub(crate) async fn rename(db: &PgPool, turn: TurnId, to: TurnId) {
    let rename = "WITH entries AS (UPDATE turn_metadata SET turn_id = $2 WHERE turn_id = $1) UPDATE turns SET id = $2 WHERE id = $1";
    sqlx::query(rename).bind(turn.0).bind(to.0).execute(db).await.unwrap();
}

/// Ends a turn as if it had ended that many hours ago.
pub(crate) async fn end(db: &PgPool, turn: TurnId, hours: f64) {
    let end = "UPDATE turns SET state = 'failed', end_due = NULL, ended_at = now() - $2 * interval '1 hour' WHERE id = $1";
    sqlx::query(end).bind(turn.0).bind(hours).execute(db).await.unwrap();
}

/// Stores a key of a person, or one that they set for a project.
pub(crate) async fn insert_key(db: &PgPool, user: UserId, project: Option<ProjectId>) {
    let insert = "INSERT INTO provider_keys (id, user_id, project_id, provider, display_name, base_url, last_four, sealed)
                  VALUES (gen_random_uuid(), $1, $2, 'openai', '', '', '', '')";
    sqlx::query(insert).bind(user.0).bind(project.map(|id| id.0)).execute(db).await.unwrap();
}

/// Makes the rows of a table with `stored_at` older.
pub(crate) async fn age(db: &PgPool, table: &'static str, by: Duration) {
    let age = sqlx::AssertSqlSafe(format!("UPDATE {table} SET stored_at = stored_at - $1 * interval '1 second'"));
    sqlx::query(age).bind(by.as_secs_f64()).execute(db).await.unwrap();
}

/// The number of rows of a table, which may be followed by a WHERE clause.
pub(crate) async fn count(db: &PgPool, rows: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {rows}"))).fetch_one(db).await.unwrap()
}

/// Ends a turn that has changed `a.txt`.
pub(crate) async fn end_with(db: &PgPool, turn: TurnId, state: &str, revision: &str) {
    let end = "UPDATE turns SET state = $2, revision = $3, files = '{a.txt}', ended_at = now() WHERE id = $1";
    sqlx::query(end).bind(turn.0).bind(state).bind(revision).execute(db).await.unwrap();
}
