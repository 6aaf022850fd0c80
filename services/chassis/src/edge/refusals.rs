//! Counts and logs refused requests. One line per request would let a client fill the disk, so the guard logs one line per address and
//! minute.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use opentelemetry::{KeyValue, global, metrics::Counter};

use crate::network::Network;

/// Networks that are counted separately. Further networks are counted together.
const MAX_NETWORKS: usize = 1_000;
/// Networks that are logged with their address: those with the most refusals.
const MAX_LINES: usize = 20;

static REFUSED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let description = "requests that were refused because their address sends too many";
    global::meter("backlot").u64_counter("backlot.edge.refused").with_description(description).build()
});

/// The refusals of one guard since they were last logged.
#[derive(Debug)]
pub(super) struct Refusals {
    service: &'static str,
    tally: Mutex<Tally>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Refused requests by network.
    by_network: HashMap<Network, u64>,
    /// Refused requests of further networks.
    others: u64,
}

impl Tally {
    fn count(&mut self, network: Network) {
        if self.by_network.len() < MAX_NETWORKS || self.by_network.contains_key(&network) {
            *self.by_network.entry(network).or_default() += 1;
        } else {
            self.others += 1;
        }
    }

    /// The networks with the most refusals, and the number of refused requests of all others.
    fn top(self) -> (Vec<(Network, u64)>, u64) {
        let mut top: Vec<_> = self.by_network.into_iter().collect();
        top.sort_unstable_by_key(|(network, requests)| (std::cmp::Reverse(*requests), *network));
        let others = top.split_off(top.len().min(MAX_LINES));
        (top, self.others + others.iter().map(|(_, requests)| requests).sum::<u64>())
    }
}

impl Refusals {
    pub(super) fn new(service: &'static str) -> Self {
        Self { service, tally: Mutex::default() }
    }

    pub(super) fn count(&self, network: Network) {
        REFUSED.add(1, &[KeyValue::new("svc", self.service)]);
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).count(network);
    }

    /// Logs the refusals and resets the counts.
    pub(super) fn log(&self) {
        let tally = std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner));
        let (top, others) = tally.top();
        let service = self.service;
        for ((network, prefix), requests) in top {
            tracing::warn!(svc = service, address = %format!("{network}/{prefix}"), requests, "refused requests of an address that sends too many");
        }
        if others > 0 {
            tracing::warn!(svc = service, requests = others, "refused requests of further addresses that send too many");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_flood_from_many_addresses_makes_few_lines() {
        let mut tally = Tally::default();
        let network = |at: u32| (IpAddr::from(at.to_be_bytes()), 32);
        let networks = u32::try_from(MAX_NETWORKS).unwrap() + 500;
        for at in 0..networks {
            tally.count(network(at));
        }
        (0..7).for_each(|_| tally.count(network(3)));
        assert_eq!((tally.by_network.len(), tally.others), (MAX_NETWORKS, 500));
        let (top, others) = tally.top();
        assert_eq!((top.len(), top[0], top[1]), (MAX_LINES, (network(3), 8), (network(0), 1)));
        assert_eq!(others, u64::from(networks) - u64::try_from(MAX_LINES).unwrap());
    }

    #[test]
    fn a_refusal_is_logged_once() {
        let refusals = Refusals::new("gateway");
        refusals.count(("192.0.2.1".parse().unwrap(), 32));
        refusals.log();
        assert_eq!(*refusals.tally.lock().unwrap(), Tally::default());
    }
}
