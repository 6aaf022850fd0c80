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
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        counter::{Clock, memory::Memory},
        policy::Policies,
    };

    /// The networks of row A17, and the tries of each one.
    const NETWORKS: usize = 200;
    const TRIES: usize = 100;

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

    /// The subject of a try, as auth names it, and the number of pairs that the policy allows for its network: in ten networks six are IPv4,
    /// two are of a /64 and two change their /64 within a /56 or a /48.
    fn source(number: usize, at: usize) -> (String, usize) {
        match number % 10 {
            0..=5 => (format!("address:203.0.{}.{}", number / 250, number % 250), 25),
            6 | 7 => (format!("address:2001:db8:{number:x}::/64"), 25),
            8 => (format!("address:2001:db8:{number:x}:{at:x}::/64"), 50),
            _ => (format!("address:2001:db8:{number:x}:{at:x}00::/64"), 100),
        }
    }

    /// Row A17 of the reference with its number of tries, for the counters: the requests that auth sends for wrong pairs. That auth sends
    /// them is tested there.
    #[tokio::test]
    async fn a17_each_network_with_a_list_of_passwords_is_refused_in_time() {
        let (policies, limiter) = (Policies::shipped(), Limiter::new(None, Memory::new(1_000_000, Clock::System)));
        let policy = |name: &str| Arc::clone(policies.named(name).unwrap());
        let (once, stuffing) = (policy("auth-once"), policy("auth-stuffing"));
        let mut tried = 0;
        for number in 0..NETWORKS {
            let (mut wrong, mut is_refused) = (0, false);
            for at in 0..TRIES {
                tried += 1;
                let (subject, _) = source(number, at);
                let asked = Check { policy: Arc::clone(&stuffing), subject: subject.clone(), cost: 0 };
                if !run(&limiter, &[asked]).await.allowed() {
                    is_refused = true;
                    continue;
                }
                assert!(!is_refused, "{subject}: checked after its network was refused");
                let pair = Check { policy: Arc::clone(&once), subject: format!("pair:{number}-{at}"), cost: 1 };
                let counted = Check { policy: Arc::clone(&stuffing), subject, cost: 1 };
                assert!(run(&limiter, &[pair, counted]).await.allowed(), "network {number}, try {at}");
                wrong += 1;
            }
            assert_eq!(wrong, source(number, 0).1, "network {number}");
        }
        assert_eq!(tried, 20_000);
        let other = Check { policy: stuffing, subject: "address:192.0.2.99".into(), cost: 0 };
        assert!(run(&limiter, &[other]).await.allowed(), "others are not affected");
    }
}
