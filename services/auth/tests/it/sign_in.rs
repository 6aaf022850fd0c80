use std::{
    pin::pin,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use proto::{auth::SignUpRequest, error::ErrorCode};

use crate::harness::{Cluster, PASSWORD, Settings, answer};

#[tokio::test]
async fn every_sign_in_starts_its_own_session() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let account = gateway.sign_up("Ada@example.org", PASSWORD).await.expect("account");
    let (one, two) = (
        gateway.sign_in("ada@EXAMPLE.org", PASSWORD).await.expect("session"),
        gateway.sign_in("Ada@example.org", PASSWORD).await.expect("session"),
    );
    assert_eq!((&one.user, &two.user), (&account.user, &account.user));
    let mut tokens = vec![account.session_token, one.session_token, two.session_token];
    for token in &tokens {
        gateway.exchange(token).await.expect("every session is valid");
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 3);
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_have_the_same_answer() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let wrong = gateway.sign_in("ada@example.org", "Correct horse battery staple").await.expect_err("wrong");
    assert_eq!((wrong.code, wrong.reason.as_str()), (ErrorCode::Unauthenticated, "BAD_CREDENTIALS"));
    for email in ["nobody@example.org", "no address", "a@b@c"] {
        assert_eq!(gateway.sign_in(email, PASSWORD).await.expect_err(email), wrong);
    }
}

/// Series of sign-ins. The test passes if the medians of one series are about equal.
const SERIES: usize = 5;

/// A hash takes tens of milliseconds here. Without one the answer for the unknown address would be many times faster, and so would that of
/// an account with a hash of an earlier setting.
#[tokio::test]
async fn an_unknown_address_takes_as_long_as_a_wrong_password() {
    let cluster = Cluster::start().await;
    let earlier = cluster.auth().await.gateway();
    for email in ["old@example.org", "disabled@example.org"] {
        earlier.sign_up(email, PASSWORD).await.expect("account");
    }
    sqlx::query("update users set disabled_at = now() where email like 'dis%'").execute(&cluster.database.pool).await.expect("disabled");
    let cost = [("BACKLOT_ARGON2_MEMORY_KIB", "16384"), ("BACKLOT_ARGON2_ITERATIONS", "3"), ("BACKLOT_HASH_THREADS", "1")];
    let gateway = cluster.auth_with(Settings(&cost)).await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2].as_secs_f64()
    };
    let wrong = "not the password";
    // The first address is unknown.
    let attempts = [("eve@example.org", wrong), ("ada@example.org", wrong), ("old@example.org", wrong), ("disabled@example.org", PASSWORD)];
    // On a busy machine the medians of one series may differ. Without the hash they would differ in every series.
    let mut series = Vec::new();
    for _ in 0..SERIES {
        let mut times = vec![Vec::new(); attempts.len()];
        for _ in 0..7 {
            for ((email, password), times) in attempts.iter().zip(&mut times) {
                let started = Instant::now();
                gateway.sign_in(email, password).await.expect_err("wrong");
                times.push(started.elapsed());
            }
        }
        let medians: Vec<_> = times.into_iter().map(median).collect();
        if medians.iter().all(|time| (0.5..2.0).contains(&(time / medians[0]))) {
            return;
        }
        series.push(medians);
    }
    panic!("{attempts:?}: {series:?}");
}

#[tokio::test]
async fn an_invalid_field_is_named_with_its_limit() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let (long, endless) = ("a".repeat(255), "x".repeat(257));
    for (email, password, field, limit) in [
        ("", PASSWORD, "email", "1 to 254 characters"),
        (long.as_str(), PASSWORD, "email", "1 to 254 characters"),
        ("a\0@b", PASSWORD, "email", "no control characters"),
        ("a@b", "", "password", "1 to 256 characters"),
        ("a@b", endless.as_str(), "password", "1 to 256 characters"),
    ] {
        let fault = gateway.sign_in(email, password).await.expect_err(field);
        assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", field));
        assert!(fault.violations[0].description.contains(limit), "{fault:?}");
    }
}

#[tokio::test]
async fn a_weaker_hash_is_replaced_when_its_owner_signs_in() {
    let cluster = Cluster::start().await;
    cluster.auth().await.gateway().sign_up("ada@example.org", PASSWORD).await.expect("account");
    let stored = || async {
        let text: String = sqlx::query_scalar("select password_hash from users").fetch_one(&cluster.database.pool).await.expect("hash");
        text
    };
    let old = stored().await;
    assert!(old.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{old}");

    let gateway = cluster.auth_with(Settings(&[("BACKLOT_ARGON2_MEMORY_KIB", "128")])).await.gateway();
    gateway.sign_in("ada@example.org", "not the password").await.expect_err("wrong");
    assert_eq!(stored().await, old);
    gateway.sign_in("ada@example.org", PASSWORD).await.expect("session");
    let new = stored().await;
    assert!(new.starts_with("$argon2id$v=19$m=128,t=1,p=1$"), "{new}");
    gateway.sign_in("ada@example.org", PASSWORD).await.expect("session");
    assert_eq!(stored().await, new, "it is strong enough now");
}

#[tokio::test]
async fn a_flood_is_refused_in_part_and_the_rest_is_served() {
    let cluster = Cluster::start().await;
    let small_queue = [("BACKLOT_ARGON2_MEMORY_KIB", "65536"), ("BACKLOT_HASH_THREADS", "1"), ("BACKLOT_HASH_QUEUE", "1")];
    let replica = cluster.auth_with(Settings(&small_queue)).await;
    let gateway = replica.gateway();
    let results = join_all((0..12).map(|_| gateway.sign_in("nobody@example.org", PASSWORD))).await;
    let faults: Vec<_> = results.into_iter().map(|r| r.expect_err("no such account")).collect();
    let refused: Vec<_> = faults.iter().filter(|f| f.reason == "SHARE_EXHAUSTED").collect();
    assert!(!refused.is_empty() && refused.len() < faults.len(), "{} of {}", refused.len(), faults.len());
    assert!(refused.iter().all(|f| f.code == ErrorCode::RateLimited && f.retry_after.is_some()));
    assert!(faults.iter().all(|f| ["SHARE_EXHAUSTED", "BAD_CREDENTIALS"].contains(&f.reason.as_str())));
    assert_eq!(gateway.sign_in("nobody@example.org", PASSWORD).await.expect_err("no account").reason, "BAD_CREDENTIALS");
}

/// Addresses whose sign-ins wait for the one thread before the owner's, and the sign-ins of each.
const STRANGERS: usize = 8;
const SIGN_INS_EACH: usize = 12;

#[tokio::test]
async fn sign_ins_from_other_addresses_do_not_delay_the_owner_to_the_end() {
    let cluster = Cluster::start().await;
    let slow = [("BACKLOT_ARGON2_MEMORY_KIB", "16384"), ("BACKLOT_HASH_THREADS", "1"), ("BACKLOT_HASH_WAIT", "1h")];
    let replica = cluster.auth_with(Settings(&slow)).await;
    let home = replica.gateway_for("198.51.100.7");
    home.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let strangers: Vec<_> = (0..STRANGERS).map(|at| replica.gateway_for(&format!("203.0.113.{at}"))).collect();
    let mut flood: FuturesUnordered<_> =
        (0..STRANGERS * SIGN_INS_EACH).map(|at| strangers[at % STRANGERS].sign_in("nobody@example.org", "a guess")).collect();
    // When some are answered, the others wait.
    let mut answered = 0;
    while answered < STRANGERS {
        assert_eq!(flood.next().await.expect("more").expect_err("wrong").reason, "BAD_CREDENTIALS");
        answered += 1;
    }
    let mut signed_in = pin!(home.sign_in("ada@example.org", PASSWORD));
    loop {
        tokio::select! {
            session = &mut signed_in => break drop(session.expect("a session")),
            Some(answer) = flood.next() => {
                assert_eq!(answer.expect_err("wrong").reason, "BAD_CREDENTIALS");
                answered += 1;
            }
        }
    }
    assert!(answered <= STRANGERS * SIGN_INS_EACH / 2, "{answered} of {} sign-ins of strangers came first", STRANGERS * SIGN_INS_EACH);
}

#[tokio::test]
async fn programs_may_sign_in_without_the_gateway() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let message =
        SignUpRequest { email: "ada@example.org".into(), password: PASSWORD.into(), display_name: "Ada".into(), ..Default::default() };
    let account = answer(replica.direct().sign_up(message).await).expect("account");
    assert_eq!(account.user.expect("user").display_name, "Ada");
    replica.gateway().exchange(&account.session_token).await.expect("token");
}
