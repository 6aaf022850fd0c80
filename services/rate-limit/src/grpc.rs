//! The RPCs: decode, call one function, encode.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chassis::error::status;
use proto::{
    error::Violations,
    rate_limit::{
        Algorithm, CheckRequest, CheckResponse, ListPoliciesRequest, ListPoliciesResponse, Policy as WirePolicy, PolicyCheck,
        PolicyDecision, rate_limit_service_server::RateLimitService,
    },
};
use tonic::{Request, Response, Status};

use crate::{
    app::App,
    check,
    counter::Check,
    error::{Error, SERVICE},
    limiter::Verdict,
    policy::{Policies, Policy, Rule},
};

const MAX_CHECKS: usize = 8;
const MAX_SUBJECT_CHARACTERS: usize = 256;
const MAX_POLICY_BYTES: usize = 63;

/// The service as tonic mounts it.
pub(crate) struct Service(pub(crate) Arc<App>);

#[tonic::async_trait]
impl RateLimitService for Service {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let checks = decode(&self.0.policies, request.into_inner().checks).map_err(status)?;
        let verdict = check::run(&self.0.limiter, &checks).await;
        Ok(Response::new(encode(&checks, &verdict)))
    }

    async fn list_policies(&self, _: Request<ListPoliciesRequest>) -> Result<Response<ListPoliciesResponse>, Status> {
        let policies = self.0.policies.iter().map(describe).collect();
        Ok(Response::new(ListPoliciesResponse { policies }))
    }
}

fn decode(policies: &Policies, wire: Vec<PolicyCheck>) -> Result<Vec<Check>, Error> {
    let mut violations = Violations::default();
    if !(1..=MAX_CHECKS).contains(&wire.len()) {
        violations.add("checks", format!("must contain 1 to {MAX_CHECKS} checks"));
    }
    let mut seen = HashSet::new();
    let mut checks = Vec::with_capacity(wire.len());
    let mut unknown = None;
    for (i, check) in wire.iter().enumerate().take(MAX_CHECKS) {
        let cost = check.cost.unwrap_or(1);
        violations.length(&format!("checks[{i}].policy"), &check.policy, 1..=MAX_POLICY_BYTES);
        if !(1..=MAX_SUBJECT_CHARACTERS).contains(&check.subject.chars().count()) {
            violations.add(format!("checks[{i}].subject"), format!("must be 1 to {MAX_SUBJECT_CHARACTERS} characters"));
        }
        if !seen.insert((&check.policy, &check.subject)) {
            violations.add(format!("checks[{i}]"), "repeats an earlier check of the same policy and subject");
        }
        match policies.named(&check.policy) {
            None => unknown = unknown.or(Some(&check.policy)),
            Some(policy) if cost > policy.max_cost() => {
                violations.add(
                    format!("checks[{i}].cost"),
                    format!("must be at most {}, the most that policy {} allows at once", policy.max_cost(), policy.name),
                );
            }
            Some(policy) => checks.push(Check { policy: Arc::clone(policy), subject: check.subject.clone(), cost }),
        }
    }
    violations.check(SERVICE).map_err(|fault| Error::Invalid(Box::new(fault)))?;
    match unknown {
        Some(name) => Err(Error::UnknownPolicy(name.clone())),
        None => Ok(checks),
    }
}

fn encode(checks: &[Check], verdict: &Verdict) -> CheckResponse {
    let decisions = checks
        .iter()
        .zip(&verdict.decisions)
        .map(|(check, decision)| PolicyDecision {
            policy: check.policy.name.clone(),
            allowed: decision.allowed,
            limit: check.policy.limit,
            remaining: decision.remaining,
            reset_after: Some(wire(decision.reset_after)),
            window: Some(wire(check.policy.window)),
            retry_after: Some(wire(decision.retry_after)),
        })
        .collect();
    let allowed = verdict.allowed();
    let retry_after = (!allowed).then(|| wire(verdict.retry_after()));
    CheckResponse { allowed, decisions, retry_after, degraded: verdict.degraded }
}

fn describe(policy: &Policy) -> WirePolicy {
    let algorithm = match policy.rule {
        Rule::SlidingLog(_) => Algorithm::SlidingLog,
        Rule::Gcra(_) => Algorithm::Gcra,
    };
    WirePolicy { name: policy.name.clone(), limit: policy.limit, window: Some(wire(policy.window)), algorithm: algorithm.into() }
}

fn wire(duration: Duration) -> pbjson_types::Duration {
    // The limits of policies keep every duration far below the range of the types.
    pbjson_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_names_all_invalid_fields() {
        let wire = |policy: &str, subject: &str, cost| PolicyCheck { policy: policy.into(), subject: subject.into(), cost };
        let checks = vec![
            wire("agent", "", None),
            wire("agent", &"é".repeat(256), Some(4)),
            wire("save", &"x".repeat(257), None),
            wire("", "u", None),
            wire("general", "u", None),
            wire("general", "u", Some(0)),
        ];
        let Err(Error::Invalid(fault)) = decode(&Policies::shipped(), checks) else { panic!("accepted") };
        let found: Vec<_> = fault.violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(found, ["checks[0].subject", "checks[1].cost", "checks[2].subject", "checks[3].policy", "checks[5]"]);
        assert!(fault.violations[1].description.contains("at most 3"));
        assert!(fault.violations[2].description.contains("256"));
    }

    #[test]
    fn the_number_of_checks_is_bounded() {
        let checks = |n: usize| (0..n).map(|i| PolicyCheck { policy: "agent".into(), subject: format!("u{i}"), cost: None }).collect();
        for n in [0, 9, 100_000] {
            let Err(Error::Invalid(fault)) = decode(&Policies::shipped(), checks(n)) else { panic!("{n} accepted") };
            assert_eq!(fault.violations[0].field, "checks");
        }
        assert_eq!(decode(&Policies::shipped(), checks(8)).expect("eight").len(), 8);
    }

    #[test]
    fn an_unknown_policy_is_refused_by_name() {
        let check = PolicyCheck { policy: "nope".into(), subject: "u".into(), cost: None };
        let error = decode(&Policies::shipped(), vec![check]).expect_err("unknown");
        assert_eq!(error.to_string(), "there is no policy `nope`");
    }
}
