//! The RPCs: decode, ask the limiter, encode.

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
    counter::Ask,
    decision::Decision,
    error::{Error, SERVICE},
    limiter::{Limiter, Verdict},
    network,
    policy::{Policies, Policy, Rule},
};

const MAX_CHECKS: usize = 8;
const MAX_SUBJECT_CHARS: usize = 256;
const MAX_POLICY_BYTES: usize = 63;

pub(crate) struct Service {
    pub(crate) policies: Policies,
    pub(crate) limiter: Arc<Limiter>,
}

#[tonic::async_trait]
impl RateLimitService for Service {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let asks = decode(&self.policies, request.into_inner().checks).map_err(status)?;
        let around: Vec<(usize, Ask)> =
            asks.iter().enumerate().flat_map(|(at, ask)| network::around(ask).into_iter().map(move |wider| (at, wider))).collect();
        let all: Vec<Ask> = asks.iter().cloned().chain(around.iter().map(|(_, wider)| wider.clone())).collect();
        let mut verdict = self.limiter.check(&all).await;
        join(&mut verdict, asks.len(), around.iter().map(|(at, _)| *at));
        Ok(Response::new(encode(&asks, &verdict)))
    }

    async fn list_policies(&self, _: Request<ListPoliciesRequest>) -> Result<Response<ListPoliciesResponse>, Status> {
        let policies = self.policies.iter().map(describe).collect();
        Ok(Response::new(ListPoliciesResponse { policies }))
    }
}

fn decode(policies: &Policies, checks: Vec<PolicyCheck>) -> Result<Vec<Ask>, Error> {
    let mut violations = Violations::default();
    if !(1..=MAX_CHECKS).contains(&checks.len()) {
        violations.add("checks", format!("must hold 1 to {MAX_CHECKS} checks"));
    }
    let mut seen = HashSet::new();
    let mut asks = Vec::with_capacity(checks.len());
    let mut unknown = None;
    for (i, check) in checks.iter().enumerate().take(MAX_CHECKS) {
        let cost = check.cost.unwrap_or(1);
        violations.length(&format!("checks[{i}].policy"), &check.policy, 1..=MAX_POLICY_BYTES);
        if !(1..=MAX_SUBJECT_CHARS).contains(&check.subject.chars().count()) {
            violations.add(format!("checks[{i}].subject"), format!("must be 1 to {MAX_SUBJECT_CHARS} characters"));
        }
        if !seen.insert((&check.policy, &check.subject)) {
            violations.add(format!("checks[{i}]"), "asks the same policy for the same subject again");
        }
        match policies.named(&check.policy) {
            None => unknown = unknown.or(Some(&check.policy)),
            Some(policy) if cost > policy.max_cost() => {
                violations.add(
                    format!("checks[{i}].cost"),
                    format!("must be at most {}, which is all that policy {} has", policy.max_cost(), policy.name),
                );
            }
            Some(policy) => asks.push(Ask { policy: Arc::clone(policy), subject: check.subject.clone(), cost }),
        }
    }
    violations.check(SERVICE).map_err(|fault| Error::Invalid(Box::new(fault)))?;
    match unknown {
        Some(name) => Err(Error::UnknownPolicy(name.clone())),
        None => Ok(asks),
    }
}

/// Makes the decisions of the networks part of those of the asks that they are around: what a network refuses is refused.
fn join(verdict: &mut Verdict, asks: usize, around: impl Iterator<Item = usize>) {
    let wider = verdict.decisions.split_off(asks);
    for (at, of_network) in around.zip(wider).filter(|(_, decision)| !decision.allowed) {
        let decision = &mut verdict.decisions[at];
        let longest = (decision.retry_after.max(of_network.retry_after), decision.reset_after.max(of_network.reset_after));
        *decision = Decision { allowed: false, remaining: 0, retry_after: longest.0, reset_after: longest.1 };
    }
}

fn encode(asks: &[Ask], verdict: &Verdict) -> CheckResponse {
    let decisions = asks
        .iter()
        .zip(&verdict.decisions)
        .map(|(ask, decision)| PolicyDecision {
            policy: ask.policy.name.clone(),
            allowed: decision.allowed,
            limit: ask.policy.limit,
            remaining: decision.remaining,
            reset_after: Some(wire(decision.reset_after)),
            window: Some(wire(ask.policy.window)),
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
    // Policies keep every time far below the types' ends.
    pbjson_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_names_every_field() {
        let check = |policy: &str, subject: &str, cost| PolicyCheck { policy: policy.into(), subject: subject.into(), cost };
        let checks = vec![
            check("agent", "", None),
            check("agent", &"é".repeat(256), Some(4)),
            check("save", &"x".repeat(257), None),
            check("", "u", None),
            check("general", "u", None),
            check("general", "u", Some(0)),
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
    fn an_unknown_policy_is_named() {
        let check = PolicyCheck { policy: "nope".into(), subject: "u".into(), cost: None };
        let error = decode(&Policies::shipped(), vec![check]).expect_err("unknown");
        assert_eq!(error.to_string(), "there is no policy named `nope`");
    }
}
