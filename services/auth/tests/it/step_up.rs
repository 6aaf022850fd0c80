//! The recent proof that sensitive RPCs need.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chassis::testing::eventually;
use futures::future::join_all;
use proto::{
    auth::{StepUpRequest, StepUpResponse},
    error::{ErrorCode, Fault},
};
use rate_limit::Policies;
use serde_json::{Value, json};

use crate::{
    admin::Admin,
    harness::{Client, Cluster, PASSWORD, answer, within_a_minute},
};

const EMAIL: &str = "ada@example.org";

pub(crate) async fn step_up(client: &Client, access: &str, password: &str) -> Result<StepUpResponse, Box<Fault>> {
    let message = StepUpRequest { password: password.into(), ..Default::default() };
    answer(client.client.clone().step_up(client.authorized(message, access)).await)
}

/// Makes the proofs of all sessions older.
pub(crate) async fn age_proofs(cluster: &Cluster) {
    let age = "update sessions set authenticated_at = authenticated_at - interval '10 minutes'";
    sqlx::query(age).execute(&cluster.database.pool).await.expect("aged");
}

pub(crate) fn claims(access_token: &str) -> Value {
    let body = access_token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(body).expect("base64url")).expect("JSON")
}

#[tokio::test]
async fn a_refresh_token_needs_a_recent_proof() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let begun = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let before = gateway.access_of(&begun.session_token).await;
    gateway.refresh_token(&before).await.expect("the sign-up is recent");
    age_proofs(&cluster).await;
    let fault = gateway.refresh_token(&before).await.expect_err("too old");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Forbidden, "STEP_UP_REQUIRED"));
    assert_eq!(fault.metadata["methods"], "password");
    let fault = step_up(&gateway, &before, "a guess").await.expect_err("wrong");
    assert_eq!((fault.reason.as_str(), fault.message.as_str()), ("BAD_CREDENTIALS", "the password is wrong"));
    gateway.refresh_token(&before).await.expect_err("still too old");

    let renewed = step_up(&gateway, &before, PASSWORD).await.expect("proved");
    let (old, new) = (begun.session.expect("session"), renewed.session.expect("session"));
    assert!(new.id != old.id && renewed.session_token != begun.session_token && new.is_current);
    assert_eq!((new.expire_time, new.create_time, new.device), (old.expire_time, old.create_time, old.device), "no longer life");
    assert_eq!(gateway.exchange(&begun.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(gateway.refresh_token(&before).await.expect_err("ended").reason, "SESSION_ENDED");
    let after = gateway.access_of(&renewed.session_token).await;
    gateway.refresh_token(&after).await.expect("recent");
    let log: Vec<String> =
        sqlx::query_scalar("select session_id::text from revocations").fetch_all(&cluster.database.pool).await.expect("log");
    assert_eq!(log, [old.id], "the programs go on");
}

#[tokio::test]
async fn an_access_token_says_when_and_how_its_person_proved_who_they_are() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let begun = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let first = claims(&gateway.access_of(&begun.session_token).await);
    assert_eq!(first["amr"], json!(["pwd"]));
    age_proofs(&cluster).await;
    let old = gateway.access_of(&begun.session_token).await;
    let time = |claims: &Value| claims["auth_time"].as_u64().expect("seconds");
    assert_eq!(time(&first) - time(&claims(&old)), 600);
    let renewed = step_up(&gateway, &old, PASSWORD).await.expect("proved");
    let last = claims(&gateway.access_of(&renewed.session_token).await);
    assert!(time(&last) >= time(&first) && last["amr"] == json!(["pwd"]), "{last}");
}

#[tokio::test]
async fn the_start_of_a_session_of_the_release_before_is_its_proof() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let begun = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let access = gateway.access_of(&begun.session_token).await;
    let pool = &cluster.database.pool;
    sqlx::query("update sessions set authenticated_at = null, amr = default").execute(pool).await.expect("as before");
    gateway.refresh_token(&access).await.expect("recent");
    sqlx::query("update sessions set created_at = created_at - interval '10 minutes'").execute(pool).await.expect("older");
    assert_eq!(gateway.refresh_token(&access).await.expect_err("too old").reason, "STEP_UP_REQUIRED");
}

#[tokio::test]
async fn programs_and_operators_cannot_prove_anything() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    let begun = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let program = gateway.refresh_token(&gateway.access_of(&begun.session_token).await).await.expect("token");
    let of_program = gateway.refresh(&program.refresh_token).await.expect("token").access_token;
    assert_eq!(step_up(&gateway, &of_program, PASSWORD).await.expect_err("a program").reason, "SESSION_REQUIRED");
    let acting = Admin::of(&replica).impersonate(EMAIL, "ticket 7", 5).await.expect("session");
    let of_operator = gateway.access_of(&acting.session_token).await;
    assert_eq!(step_up(&gateway, &of_operator, PASSWORD).await.expect_err("an operator").reason, "IMPERSONATED");
    assert!(claims(&of_operator).get("amr").is_none(), "nobody has proved to be the person");
}

#[tokio::test]
async fn guesses_at_a_step_up_are_counted_like_those_of_sign_ins() {
    let cluster = Cluster::with_policies(Policies::shipped()).await;
    let replica = cluster.auth().await;
    let account = replica.gateway_for("198.51.100.7").sign_up(EMAIL, PASSWORD).await.expect("account");
    let thief = replica.gateway_for("203.0.113.9");
    let access = thief.access_of(&account.session_token).await;
    for _ in 0..5 {
        assert_eq!(step_up(&thief, &access, "a guess").await.expect_err("wrong").reason, "BAD_CREDENTIALS");
    }
    let fault = step_up(&thief, &access, PASSWORD).await.expect_err("limited");
    assert_eq!((fault.code, fault.quota[0].policy.as_str()), (ErrorCode::RateLimited, "auth-guess"));
    replica.gateway_for("198.51.100.7").sign_in(EMAIL, PASSWORD).await.expect("the person is not locked out");
}

/// Waits until a statement with this text waits for a lock.
pub(crate) async fn blocked(cluster: &Cluster, statement: &str) {
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like $1";
    eventually(Duration::from_secs(30), || async {
        let select = sqlx::query_scalar(waiting).bind(format!("%{statement}%"));
        let count: i64 = select.fetch_one(&cluster.database.pool).await.ok()?;
        (count > 0).then_some(())
    })
    .await;
}

/// A sign-in at the same time replaces an outdated hash of the same password. The step-up verifies the password again.
#[tokio::test]
async fn a_step_up_is_repeated_if_the_hash_was_replaced_meanwhile() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let begun = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    gateway.sign_up("eve@example.org", PASSWORD).await.expect("another hash of the same password");
    let access = gateway.access_of(&begun.session_token).await;
    let pool = &cluster.database.pool;
    // The step-up has found the session, and waits before it reads the hash.
    let mut reads = chassis::postgres::begin(pool).await.expect("transaction");
    sqlx::query("lock table user_addresses in access exclusive mode").execute(&mut *reads).await.expect("locked");
    let replaced = async {
        blocked(&cluster, "from_known_address").await;
        let mut account = chassis::postgres::begin(pool).await.expect("transaction");
        sqlx::query("select from users for update").execute(&mut *account).await.expect("locked");
        reads.rollback().await.expect("unlocked");
        // It has verified the password.
        blocked(&cluster, "for no key update").await;
        let replace =
            "update users set password_hash = (select password_hash from users where email like 'eve@%') where email like 'ada@%'";
        sqlx::query(replace).execute(&mut *account).await.expect("replaced");
        account.commit().await.expect("committed");
    };
    let (renewed, ()) = within_a_minute(async { tokio::join!(step_up(&gateway, &access, PASSWORD), replaced) }).await;
    renewed.expect("the same password");
}

#[tokio::test]
async fn a4_of_fifty_step_ups_of_one_session_one_succeeds() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let begun = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let access = gateway.access_of(&begun.session_token).await;
    let tries = join_all((0..50).map(|_| step_up(&gateway, &access, PASSWORD)));
    let (done, refused): (Vec<_>, Vec<_>) = within_a_minute(tries).await.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 1);
    for fault in refused.into_iter().map(|result| result.expect_err("refused")) {
        // One address uses only its share of the threads for passwords. The race itself has one answer.
        assert!(matches!(fault.reason.as_str(), "SESSION_ENDED" | "SHARE_EXHAUSTED"), "{fault:?}");
    }
    let left: i64 = sqlx::query_scalar("select count(*) from sessions").fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!(left, 1);
}
