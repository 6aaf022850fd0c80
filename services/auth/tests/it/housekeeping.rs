//! The deletion of old rows beside other work.

use chassis::clock::now;

use crate::harness::{Cluster, PASSWORD, within_a_minute};

/// A row of each table whose rows end by themselves and are also deleted with their account.
const ROWS: &[(&str, &str)] = &[
    (
        "email_tokens",
        "insert into email_tokens (token_hash, purpose, user_id, email, email_identity, expires_at)
         select '\\x01', 'verify', id, email, email, now() from users",
    ),
    (
        "device_sign_ins",
        "insert into device_sign_ins (id, device_hash, user_hash, client_name, network, created_at, expires_at, wait)
         select gen_random_uuid(), '\\x01', '\\x01', 'x', 'x', now(), now(), 5",
    ),
    (
        "provider_flows",
        "insert into provider_flows (state_hash, browser_hash, provider, session_id, return_to, expires_at)
         select '\\x01', '\\x01', 'x', id, 'x', now() from sessions",
    ),
    (
        "pending_sign_ins",
        "insert into pending_sign_ins (token_hash, user_id, by_password, attempts, expires_at) select '\\x01', id, true, 0, now() from users",
    ),
];

#[tokio::test]
async fn old_rows_that_another_transaction_holds_are_left_for_the_next_time() {
    let cluster = Cluster::start().await;
    let pool = &cluster.database.pool;
    cluster.auth().await.gateway().sign_up("ada@example.org", PASSWORD).await.expect("account");
    for (table, insert) in ROWS {
        sqlx::query(*insert).execute(pool).await.expect(table);
    }
    let later = now() + time::Duration::minutes(1);
    let mut other = chassis::postgres::begin(pool).await.expect("a transaction");
    for (table, _) in ROWS {
        let lock = sqlx::AssertSqlSafe(format!("select 1 from {table} for update"));
        sqlx::query(lock).execute(&mut *other).await.expect(table);
    }
    let deleted = within_a_minute(auth::testing::delete_old_rows(pool, later)).await.expect("no wait");
    other.rollback().await.expect("released");
    assert_eq!((deleted, auth::testing::delete_old_rows(pool, later).await.expect("deleted")), (0, 4));
}
