//! Invalid requests are refused with the field and the limit, and take no units.

use chassis::identity::Caller;
use proto::{error::ErrorCode, rate_limit::PolicyCheck};

use crate::harness::{check, one_unit, start, units};

#[tokio::test]
async fn an_invalid_request_is_refused_with_field_and_limit() {
    let running = start(&[]).await;
    let mut client = running.client(Caller::Gateway);
    let good = || one_unit("agent", "ann");
    let many = |n: usize| (0..n).map(|i| one_unit("agent", &format!("u{i}"))).collect::<Vec<PolicyCheck>>();
    let rows: Vec<(Vec<PolicyCheck>, &str, &str)> = vec![
        (vec![], "checks", "1 to 8"),
        (many(9), "checks", "1 to 8"),
        (vec![good(), one_unit("agent", "")], "checks[1].subject", "1 to 256"),
        (vec![good(), one_unit("agent", &"x".repeat(257))], "checks[1].subject", "1 to 256"),
        (vec![good(), one_unit("", "ann")], "checks[1].policy", "1 to 63"),
        (vec![good(), one_unit(&"p".repeat(64), "ann")], "checks[1].policy", "1 to 63"),
        (vec![good(), units("save", "ann", 31)], "checks[1].cost", "at most 30"),
        (vec![good(), units("save", "ann", u32::MAX)], "checks[1].cost", "at most 30"),
        (vec![good(), good()], "checks[1]", "repeats"),
    ];
    for (checks, field, limit) in rows {
        let fault = check(&mut client, checks).await.expect_err(field);
        assert_eq!(
            (fault.code, fault.reason.as_str(), fault.domain.as_str()),
            (ErrorCode::InvalidArgument, "INVALID_FIELD", "rate-limit.backlot.dev")
        );
        assert!(fault.violations.iter().any(|v| v.field == field && v.description.contains(limit)), "{field}: {:?}", fault.violations);
    }
    let unknown = check(&mut client, vec![good(), one_unit("nope", "ann")]).await.expect_err("unknown");
    assert_eq!(
        (unknown.code, unknown.reason.as_str(), unknown.metadata["policy"].as_str()),
        (ErrorCode::NotFound, "UNKNOWN_POLICY", "nope")
    );

    let left = check(&mut client, vec![units("agent", "ann", 0)]).await.expect("an answer");
    assert_eq!(left.decisions[0].remaining, 3, "no refused request took a unit");
    running.stop().await;
}

/// The characters of a subject have no special meaning.
#[tokio::test]
async fn subjects_with_special_characters_are_counted_separately() {
    let redis = chassis::testing::redis().await;
    for settings in [vec![], vec![("REDIS_URL", redis.url.as_str())]] {
        let running = start(&settings).await;
        let mut client = running.client(Caller::Gateway);
        for subject in ["}{", "{a}:agent:log", "a%7D", "a}", "a\0b", "a\r\nFLUSHALL\r\n", " ", "é", "*"] {
            let answer = check(&mut client, vec![units("agent", subject, 2)]).await.expect("an answer");
            assert_eq!((answer.allowed, answer.decisions[0].remaining), (true, 1), "{subject:?}");
        }
        running.stop().await;
    }
}
