//! The checks of one request, together with those of the networks around its addresses.

use crate::{
    counter::Check,
    decision::Decision,
    limiter::{Limiter, Verdict},
    network,
};

/// Takes the units of all checks, or none. A check of an IPv6 address is refused if one of the networks around the address is. The
/// verdict has one decision per check, in order.
pub(crate) async fn run(limiter: &Limiter, checks: &[Check]) -> Verdict {
    let networks: Vec<(usize, Check)> = checks
        .iter()
        .enumerate()
        .flat_map(|(index, check)| network::wider_checks(check).into_iter().map(move |wider| (index, wider)))
        .collect();
    let all: Vec<Check> = checks.iter().cloned().chain(networks.iter().map(|(_, wider)| wider.clone())).collect();
    let mut verdict = limiter.check(&all).await;
    let of_networks = verdict.decisions.split_off(checks.len());
    for ((index, _), decision) in networks.iter().zip(of_networks) {
        refuse_with(&mut verdict.decisions[*index], decision);
    }
    verdict
}

/// Refuses what the network refuses, for as long as the longer of the two.
fn refuse_with(decision: &mut Decision, network: Decision) {
    if network.allowed {
        return;
    }
    *decision = Decision {
        allowed: false,
        remaining: 0,
        reset_after: decision.reset_after.max(network.reset_after),
        retry_after: decision.retry_after.max(network.retry_after),
    };
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_refusal_of_a_network_refuses_the_check() {
        let decision = |allowed, seconds| Decision {
            allowed,
            remaining: 4,
            reset_after: Duration::from_secs(seconds),
            retry_after: Duration::from_secs(seconds),
        };
        let mut allowed = decision(true, 5);
        refuse_with(&mut allowed, decision(true, 9));
        assert_eq!(allowed, decision(true, 5));
        refuse_with(&mut allowed, decision(false, 9));
        assert_eq!(allowed, Decision { remaining: 0, ..decision(false, 9) });
    }
}
