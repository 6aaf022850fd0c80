use std::{
    pin::pin,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use proto::{auth::SignUpRequest, error::ErrorCode};

use crate::harness::{Cluster, PASSWORD, Settings, answer};

#[tokio::test]
async fn every_sign_in_is_a_session_of_its_own() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let made = gateway.sign_up("Ada@example.org", PASSWORD).await.expect("account");
    let (one, two) = (
        gateway.sign_in("ada@EXAMPLE.org", PASSWORD).await.expect("session"),
        gateway.sign_in("Ada@example.org", PASSWORD).await.expect("session"),
    );
    assert_eq!((&one.user, &two.user), (&made.user, &made.user));
    let mut tokens = vec![made.session_token, one.session_token, two.session_token];
    for token in &tokens {
        gateway.exchange(token).await.expect("each of them lives");
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 3);
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_are_told_alike() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let wrong = gateway.sign_in("ada@example.org", "Correct horse battery staple").await.expect_err("wrong");
    assert_eq!((wrong.code, wrong.reason.as_str()), (ErrorCode::Unauthenticated, "BAD_CREDENTIALS"));
    for email in ["nobody@example.org", "no address", "a@b@c"] {
        assert_eq!(gateway.sign_in(email, PASSWORD).await.expect_err(email), wrong);
    }
}

/// Series of sign-ins whose times are compared, until one is even.
const SERIES: usize = 5;

/// The hash costs tens of milliseconds here; without one the unknown address would answer many times faster.
#[tokio::test]
async fn an_unknown_address_takes_as_long_as_a_wrong_password() {
    let cluster = Cluster::start().await;
    let cost = [("BACKLOT_ARGON2_MEMORY_KIB", "16384"), ("BACKLOT_ARGON2_ITERATIONS", "3"), ("BACKLOT_HASH_THREADS", "1")];
    let gateway = cluster.auth_with(Settings(&cost)).await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2].as_secs_f64()
    };
    // On a busy machine one series may be as uneven as the load; without the hash none would be even.
    let mut ratios = Vec::new();
    for _ in 0..SERIES {
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for _ in 0..7 {
            for (email, times) in [("ada@example.org", &mut known), ("eve@example.org", &mut unknown)] {
                let started = Instant::now();
                gateway.sign_in(email, "not the password").await.expect_err("wrong");
                times.push(started.elapsed());
            }
        }
        let ratio = median(known) / median(unknown);
        if (0.5..2.0).contains(&ratio) {
            return;
        }
        ratios.push(ratio);
    }
    panic!("{ratios:?}");
}

#[tokio::test]
async fn a_bad_field_is_named_with_its_limit() {
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
async fn a_weaker_hash_is_made_stronger_by_its_owner_only() {
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
    assert_eq!(stored().await, new, "strong enough now");
}

#[tokio::test]
async fn a_flood_is_told_to_come_back_and_the_rest_is_served() {
    let cluster = Cluster::start().await;
    let narrow = [("BACKLOT_ARGON2_MEMORY_KIB", "65536"), ("BACKLOT_HASH_THREADS", "1"), ("BACKLOT_HASH_QUEUE", "1")];
    let replica = cluster.auth_with(Settings(&narrow)).await;
    let gateway = replica.gateway();
    let results = join_all((0..12).map(|_| gateway.sign_in("nobody@example.org", PASSWORD))).await;
    let faults: Vec<_> = results.into_iter().map(|r| r.expect_err("no such account")).collect();
    let refused: Vec<_> = faults.iter().filter(|f| f.reason == "SHARE_EXHAUSTED").collect();
    assert!(!refused.is_empty() && refused.len() < faults.len(), "{} of {}", refused.len(), faults.len());
    assert!(refused.iter().all(|f| f.code == ErrorCode::RateLimited && f.retry_after.is_some()));
    assert!(faults.iter().all(|f| ["SHARE_EXHAUSTED", "BAD_CREDENTIALS"].contains(&f.reason.as_str())));
    assert_eq!(gateway.sign_in("nobody@example.org", PASSWORD).await.expect_err("no account").reason, "BAD_CREDENTIALS");
}

/// Sign-ins of strangers that wait for the one thread, before the person's.
const STRANGERS: usize = 8;
const OF_EACH: usize = 12;

#[tokio::test]
async fn many_sign_ins_of_strangers_put_a_person_neither_off_nor_last() {
    let cluster = Cluster::start().await;
    let slow = [("BACKLOT_ARGON2_MEMORY_KIB", "16384"), ("BACKLOT_HASH_THREADS", "1"), ("BACKLOT_HASH_WAIT", "1h")];
    let replica = cluster.auth_with(Settings(&slow)).await;
    let home = replica.gateway_for("198.51.100.7");
    home.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let strangers: Vec<_> = (0..STRANGERS).map(|at| replica.gateway_for(&format!("203.0.113.{at}"))).collect();
    let mut flood: FuturesUnordered<_> =
        (0..STRANGERS * OF_EACH).map(|at| strangers[at % STRANGERS].sign_in("nobody@example.org", "a guess")).collect();
    // Once some are answered the others wait.
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
    assert!(answered <= STRANGERS * OF_EACH / 2, "{answered} of {} strangers came first", STRANGERS * OF_EACH);
}

#[tokio::test]
async fn programs_may_sign_in_without_the_gateway() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let message =
        SignUpRequest { email: "ada@example.org".into(), password: PASSWORD.into(), display_name: "Ada".into(), token_in_answer: false };
    let made = answer(replica.direct().sign_up(message).await).expect("account");
    assert_eq!(made.user.expect("user").display_name, "Ada");
    replica.gateway().exchange(&made.session_token).await.expect("token");
}
