//! Calls the rate-limit service.

mod general;

use std::time::Duration;

use proto::{
    error::{ErrorCode, Fault, QuotaViolation},
    rate_limit::{CheckRequest, CheckResponse, PolicyCheck, PolicyDecision, rate_limit_service_client::RateLimitServiceClient},
};

pub use self::general::General;
use crate::{client::ServiceChannel, context::Context};

/// Takes one unit of each (policy, subject), or of none if one of them refuses.
///
/// # Errors
/// RESOURCE_EXHAUSTED, reason RATE_LIMITED, with the policy that has the longest wait; UNAVAILABLE if rate-limit does not answer.
pub async fn check(
    client: &mut RateLimitServiceClient<ServiceChannel>,
    context: &Context,
    service: &str,
    checks: &[(&str, &str)],
) -> Result<CheckResponse, Fault> {
    ask(client, context, service, checks.iter().map(|check| with_cost(*check, None)).collect()).await
}

/// Whether the policy would allow one unit for the subject. Takes none.
///
/// # Errors
/// Those of [`check`].
pub async fn peek(
    client: &mut RateLimitServiceClient<ServiceChannel>,
    context: &Context,
    service: &str,
    check: (&str, &str),
) -> Result<(), Fault> {
    ask(client, context, service, vec![with_cost(check, Some(0))]).await.map(drop)
}

fn with_cost((policy, subject): (&str, &str), cost: Option<u32>) -> PolicyCheck {
    PolicyCheck { policy: policy.to_owned(), subject: subject.to_owned(), cost }
}

async fn ask(
    client: &mut RateLimitServiceClient<ServiceChannel>,
    context: &Context,
    service: &str,
    checks: Vec<PolicyCheck>,
) -> Result<CheckResponse, Fault> {
    // rate-limit does not need the user's access token.
    let anonymous = Context { user: None, ..context.clone() };
    let answer = client.check(anonymous.request(CheckRequest { checks })).await.map_err(|status| {
        tracing::warn!(error = %status.message(), "rate-limit did not answer");
        Fault::new(service, ErrorCode::Unavailable, "UNAVAILABLE", "rate limits cannot be checked now").retry_after(Duration::from_secs(1))
    })?;
    let answer = answer.into_inner();
    if answer.allowed { Ok(answer) } else { Err(refusal(service, &answer)) }
}

/// The fault for the client if a policy refused.
#[must_use]
pub fn refusal(service: &str, answer: &CheckResponse) -> Fault {
    let strictest = answer.decisions.iter().filter(|d| !d.allowed).max_by_key(|d| duration(d.retry_after.as_ref()));
    let wait = duration(answer.retry_after.as_ref()).max(Duration::from_millis(1));
    let mut fault = Fault::new(service, ErrorCode::RateLimited, "RATE_LIMITED", "too many requests").retry_after(wait);
    if let Some(decision) = strictest {
        let window = duration(decision.window.as_ref()).as_secs();
        fault.message = format!("policy `{}` allows {} per {window} s", decision.policy, decision.limit);
        fault.quota = vec![QuotaViolation { policy: decision.policy.clone(), description: format!("{} per {window} s", decision.limit) }];
        fault = with_decision(fault, decision, window);
    }
    fault
}

fn with_decision(fault: Fault, decision: &PolicyDecision, window: u64) -> Fault {
    let reset = duration(decision.reset_after.as_ref()).as_millis().div_ceil(1000);
    fault
        .with("policy", decision.policy.clone())
        .with("limit", decision.limit.to_string())
        .with("remaining", decision.remaining.to_string())
        .with("reset", reset.to_string())
        .with("window", window.to_string())
}

fn duration(wire: Option<&pbjson_types::Duration>) -> Duration {
    wire.map_or(Duration::ZERO, |d| Duration::new(u64::try_from(d.seconds).unwrap_or_default(), u32::try_from(d.nanos).unwrap_or_default()))
}
