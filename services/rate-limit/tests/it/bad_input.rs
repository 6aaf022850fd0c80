//! What is refused, with the field and the limit named; nothing is taken by a refused request.

use chassis::identity::Caller;
use proto::{error::ErrorCode, rate_limit::PolicyCheck};

use crate::harness::{ask, check, cost, start};

#[tokio::test]
async fn bad_requests_name_field_and_limit() {
    let running = start(&[]).await;
    let mut client = running.client(Caller::Gateway);
    let good = || ask("agent", "ann");
    let many = |n: usize| (0..n).map(|i| ask("agent", &format!("u{i}"))).collect::<Vec<PolicyCheck>>();
    let rows: Vec<(Vec<PolicyCheck>, &str, &str)> = vec![
        (vec![], "checks", "1 to 8"),
        (many(9), "checks", "1 to 8"),
        (vec![good(), ask("agent", "")], "checks[1].subject", "1 to 256"),
        (vec![good(), ask("agent", &"x".repeat(257))], "checks[1].subject", "1 to 256"),
        (vec![good(), ask("", "ann")], "checks[1].policy", "1 to 63"),
        (vec![good(), ask(&"p".repeat(64), "ann")], "checks[1].policy", "1 to 63"),
        (vec![good(), cost("save", "ann", 31)], "checks[1].cost", "at most 30"),
        (vec![good(), cost("save", "ann", u32::MAX)], "checks[1].cost", "at most 30"),
        (vec![good(), good()], "checks[1]", "again"),
    ];
    for (checks, field, limit) in rows {
        let fault = check(&mut client, checks).await.expect_err(field);
        assert_eq!(
            (fault.code, fault.reason.as_str(), fault.domain.as_str()),
            (ErrorCode::InvalidArgument, "INVALID_FIELD", "rate-limit.backlot.dev")
        );
        assert!(fault.violations.iter().any(|v| v.field == field && v.description.contains(limit)), "{field}: {:?}", fault.violations);
    }
    let unknown = check(&mut client, vec![good(), ask("nope", "ann")]).await.expect_err("unknown");
    assert_eq!(
        (unknown.code, unknown.reason.as_str(), unknown.metadata["policy"].as_str()),
        (ErrorCode::NotFound, "UNKNOWN_POLICY", "nope")
    );

    let left = check(&mut client, vec![cost("agent", "ann", 0)]).await.expect("an answer");
    assert_eq!(left.decisions[0].remaining, 3, "no refused request took a unit");
    running.stop().await;
}

/// Subjects are data, whatever is in them.
#[tokio::test]
async fn odd_subjects_are_counted_apart() {
    let redis = chassis::testing::redis().await;
    for settings in [vec![], vec![("REDIS_URL", redis.url.as_str())]] {
        let running = start(&settings).await;
        let mut client = running.client(Caller::Gateway);
        for subject in ["}{", "{a}:agent:log", "a%7D", "a}", "a\0b", "a\r\nFLUSHALL\r\n", " ", "é", "*"] {
            let answer = check(&mut client, vec![cost("agent", subject, 2)]).await.expect("an answer");
            assert_eq!((answer.allowed, answer.decisions[0].remaining), (true, 1), "{subject:?}");
        }
        running.stop().await;
    }
}
