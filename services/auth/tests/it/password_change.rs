use proto::{
    auth::{ChangePasswordRequest, ChangePasswordResponse},
    error::{ErrorCode, Fault},
};
use rate_limit::Policies;

use crate::{
    harness::{Client, Cluster, PASSWORD, answer, within_a_minute},
    mailbox::Mailbox,
};

const EMAIL: &str = "ada@example.org";
const NEW: &str = "another horse, another battery";

pub(crate) async fn change(client: &Client, access: &str, current: &str, new: &str) -> Result<ChangePasswordResponse, Box<Fault>> {
    let message = ChangePasswordRequest { current_password: current.into(), password: new.into(), ..Default::default() };
    answer(client.client.clone().change_password(client.authorized(message, access)).await)
}

#[tokio::test]
async fn a_change_ends_every_session_and_starts_a_new_one_for_the_caller() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    let account = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let other = gateway.sign_in(EMAIL, PASSWORD).await.expect("session");
    let access = gateway.exchange(&account.session_token).await.expect("token").access_token;
    let program = gateway.refresh_token(&access).await.expect("token");

    let changed = change(&gateway, &access, PASSWORD, NEW).await.expect("changed");
    let session = changed.session.expect("session");
    assert_ne!(session.id, account.session.expect("session").id);
    assert_ne!(changed.session_token, account.session_token);
    for ended in [&account.session_token, &other.session_token] {
        assert_eq!(gateway.exchange(ended).await.expect_err("ended").reason, "SESSION_ENDED");
    }
    assert_eq!(gateway.refresh(&program.refresh_token).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(gateway.exchange(&changed.session_token).await.expect("token").session_id, session.id);
    assert_eq!(gateway.sign_in(EMAIL, PASSWORD).await.expect_err("the old password").reason, "BAD_CREDENTIALS");
    gateway.sign_in(EMAIL, NEW).await.expect("the new password");
    let log: i64 = sqlx::query_scalar("select count(*) from revocations").fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!(log, 3);
}

#[tokio::test]
async fn a_change_needs_the_current_password_and_a_strong_new_one() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    let account = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let access = gateway.exchange(&account.session_token).await.expect("token").access_token;
    let long = "x".repeat(257);
    for (current, new, reason, field) in [
        ("a guess", NEW, "BAD_CREDENTIALS", None),
        (PASSWORD, "passwordpassword", "WEAK_PASSWORD", Some("password")),
        (PASSWORD, "ada@example.org", "WEAK_PASSWORD", Some("password")),
        (PASSWORD, "short", "INVALID_FIELD", Some("password")),
        (PASSWORD, &long, "INVALID_FIELD", Some("password")),
        (&long, NEW, "INVALID_FIELD", Some("current_password")),
        ("", NEW, "INVALID_FIELD", Some("current_password")),
    ] {
        let fault = change(&gateway, &access, current, new).await.expect_err("refused");
        let named = fault.violations.first().map(|violation| violation.field.as_str());
        assert_eq!((fault.reason.as_str(), named), (reason, field));
    }
    let program = gateway.refresh_token(&access).await.expect("token");
    let of_program = gateway.refresh(&program.refresh_token).await.expect("token").access_token;
    assert_eq!(change(&gateway, &of_program, PASSWORD, NEW).await.expect_err("a program").reason, "SESSION_REQUIRED");
    gateway.exchange(&account.session_token).await.expect("nothing has changed");
    gateway.sign_out(&account.session_token).await.expect("signed out");
    let fault = change(&gateway, &access, PASSWORD, NEW).await.expect_err("ended");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "SESSION_ENDED"));
}

#[tokio::test]
async fn guesses_are_counted_like_those_of_sign_ins() {
    let cluster = Cluster::with_policies(Policies::shipped()).await;
    let replica = cluster.auth().await;
    let account = replica.gateway_for("198.51.100.7").sign_up(EMAIL, PASSWORD).await.expect("account");
    let thief = replica.gateway_for("203.0.113.9");
    let access = thief.exchange(&account.session_token).await.expect("token").access_token;
    for _ in 0..5 {
        let fault = change(&thief, &access, "a guess", NEW).await.expect_err("wrong");
        assert_eq!((fault.reason.as_str(), fault.message.as_str()), ("BAD_CREDENTIALS", "the current password is wrong"));
    }
    let fault = change(&thief, &access, PASSWORD, NEW).await.expect_err("limited");
    assert_eq!((fault.code, fault.quota[0].policy.as_str()), (ErrorCode::RateLimited, "auth-guess"));
    replica.gateway_for("198.51.100.7").sign_in(EMAIL, PASSWORD).await.expect("the person is not locked out");
}

/// A sign-in that verified the old password must not start a session after the change.
#[tokio::test]
async fn a_sign_in_with_the_old_password_at_the_same_time_has_no_session_afterwards() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let (mut old, mut new) = (PASSWORD, NEW);
    for _ in 0..10 {
        let session = gateway.sign_in(EMAIL, old).await.expect("session");
        let access = gateway.exchange(&session.session_token).await.expect("token").access_token;
        let (changed, begun) =
            within_a_minute(async { tokio::join!(change(&gateway, &access, old, new), gateway.sign_in(EMAIL, old)) }).await;
        changed.expect("changed");
        if let Ok(begun) = begun {
            assert_eq!(gateway.exchange(&begun.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
        }
        let left: i64 = sqlx::query_scalar("select count(*) from sessions").fetch_one(&cluster.database.pool).await.expect("count");
        assert_eq!(left, 1);
        (old, new) = (new, old);
    }
}

/// The sign-in has verified the old password, and the change commits before its session begins.
#[tokio::test]
async fn a_sign_in_notices_a_change_after_its_verification() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let mut tx = chassis::postgres::begin(&cluster.database.pool).await.expect("transaction");
    sqlx::query("select from users for update").execute(&mut *tx).await.expect("locked");
    let waiting = chassis::task::spawn({
        let gateway = gateway.clone();
        async move { gateway.sign_in(EMAIL, PASSWORD).await.map(drop).map_err(|fault| fault.reason) }
    });
    chassis::testing::eventually(std::time::Duration::from_secs(30), || async {
        let blocked = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%for share%'";
        let count: i64 = sqlx::query_scalar(blocked).fetch_one(&cluster.database.pool).await.ok()?;
        (count > 0).then_some(())
    })
    .await;
    sqlx::query("update users set password_hash = (select password_hash from users) || 'x'").execute(&mut *tx).await.expect("changed");
    tx.commit().await.expect("committed");
    let outcome = within_a_minute(waiting).await.expect("no panic");
    assert!(outcome.is_err(), "{outcome:?}");
}

/// Whoever knew the old password has no link and no known address left.
#[tokio::test]
async fn a_new_password_voids_older_links_and_forgets_addresses() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    let begun = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let stranger = "insert into user_addresses (user_id, address, signed_in_at) select id, '192.0.2.99', now() from users";
    sqlx::query(stranger).execute(&cluster.database.pool).await.expect("an address");
    gateway.request_reset("ada@example.org").await.expect("accepted");
    let link = mailbox.last(&cluster).await.token();
    let access = gateway.exchange(&begun.session_token).await.expect("token").access_token;
    change(&gateway, &access, PASSWORD, NEW).await.expect("changed");
    assert_eq!(gateway.confirm_reset(&link, PASSWORD).await.expect_err("void").reason, "LINK_INVALID");
    let known: i64 = sqlx::query_scalar("select count(*) from user_addresses where address = '192.0.2.99'")
        .fetch_one(&cluster.database.pool)
        .await
        .expect("count");
    assert_eq!(known, 0);
}

/// A sign-in at the same time replaces an outdated hash of the same password. The change verifies the password again.
#[tokio::test]
async fn a_change_is_repeated_if_the_hash_was_replaced_meanwhile() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    let account = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let access = gateway.exchange(&account.session_token).await.expect("token").access_token;
    // The first replacement finds another hash. A sequence counts also what is rolled back.
    for sql in [
        "create sequence replacements",
        "create function miss_the_first() returns trigger language plpgsql as $$
         begin return case when nextval('replacements') > 1 then new end; end $$",
        "create trigger miss_the_first before update of password_hash on users for each row execute function miss_the_first()",
    ] {
        sqlx::query(sql).execute(&cluster.database.pool).await.expect("a trigger");
    }
    change(&gateway, &access, PASSWORD, NEW).await.expect("changed");
    gateway.sign_in(EMAIL, NEW).await.expect("the new password");
}
