//! A mail with a link that somebody makes void while the process that has claimed it makes its token.

use std::time::Duration;

use chassis::{
    postgres::{Pool, Tx, begin},
    testing::eventually,
};

use crate::{email_change::Fixture, session_list::revoke_all};

const OLD: &str = "ada@example.org";
const NEW: &str = "new@example.org";
const LIMIT: Duration = Duration::from_secs(60);

/// Keeps tokens from being made and deleted until the transaction ends.
async fn hold_tokens(pool: &Pool) -> Tx {
    let mut tx = begin(pool).await.expect("a transaction");
    sqlx::query("lock table email_tokens in access exclusive mode").execute(&mut *tx).await.expect("locked");
    tx
}

/// Waits until a statement with this text waits for a lock.
pub(crate) async fn blocked(pool: &Pool, statement: &'static str) {
    let select = "select count(*) from pg_stat_activity
                  where datname = current_database() and wait_event_type = 'Lock' and strpos(query, $1) > 0";
    eventually(LIMIT, || async {
        let count: i64 = sqlx::query_scalar(select).bind(statement).fetch_one(pool).await.expect("count");
        (count > 0).then_some(())
    })
    .await;
}

async fn tokens(pool: &Pool) -> i64 {
    let select = "select count(*) from email_tokens where purpose = 'change_email'";
    sqlx::query_scalar(select).fetch_one(pool).await.expect("count")
}

#[tokio::test]
async fn a_mail_that_is_void_when_its_token_is_made_gets_none() {
    let fixture = Fixture::start().await;
    let pool = &fixture.cluster.database.pool;
    let access = fixture.account(OLD).await;
    let held = hold_tokens(pool).await;
    fixture.gateway.change_email(&access, NEW).await.expect("accepted");
    blocked(pool, "insert into email_tokens").await;
    let (revoked, ()) = tokio::join!(revoke_all(&fixture.gateway, &access, false), async {
        // The mail is deleted, and the tokens are next.
        blocked(pool, "delete from email_tokens where (email_identity").await;
        held.rollback().await.expect("released");
    });
    assert_eq!(revoked, Ok(0));
    let mails = fixture.mailbox.settled(&fixture.cluster).await;
    assert!(mails.iter().all(|mail| mail.to != NEW), "{mails:?}");
    assert_eq!(tokens(pool).await, 0);
}

#[tokio::test]
async fn a_mail_about_a_factor_that_is_void_when_its_token_is_made_is_not_sent() {
    let fixture = Fixture::start().await;
    let pool = &fixture.cluster.database.pool;
    let access = fixture.account(OLD).await;
    fixture.gateway.add_app(&access).await;
    let before = fixture.mailbox.last(&fixture.cluster).await.raw;
    let held = hold_tokens(pool).await;
    sqlx::query("update mail_queue set due_at = now(), sent_at = null").execute(pool).await.expect("due again");
    blocked(pool, "insert into email_tokens").await;
    sqlx::query("update mail_queue set sent_at = now()").execute(pool).await.expect("void");
    held.rollback().await.expect("released");
    assert_eq!(fixture.mailbox.last(&fixture.cluster).await.raw, before, "it was not sent again, with another token or without one");
}

#[tokio::test]
async fn a_token_that_is_made_before_its_mail_is_void_is_deleted() {
    let fixture = Fixture::start().await;
    let pool = &fixture.cluster.database.pool;
    let access = fixture.account(OLD).await;
    let held = hold_tokens(pool).await;
    fixture.gateway.change_email(&access, NEW).await.expect("accepted");
    blocked(pool, "insert into email_tokens").await;
    let mut account = begin(pool).await.expect("a transaction");
    sqlx::query("select id from users where email = $1 for no key update").bind(OLD).fetch_one(&mut *account).await.expect("locked");
    let (revoked, token) = tokio::join!(revoke_all(&fixture.gateway, &access, false), async {
        held.rollback().await.expect("released");
        let mails = fixture.mailbox.settled(&fixture.cluster).await;
        assert_eq!(tokens(pool).await, 1);
        account.rollback().await.expect("released");
        mails.into_iter().find(|mail| mail.to == NEW).expect("a mail").token()
    });
    assert_eq!(revoked, Ok(0));
    assert_eq!(tokens(pool).await, 0);
    assert_eq!(fixture.gateway.confirm_email(&access, &token).await.expect_err("void").reason, "LINK_INVALID");
}
