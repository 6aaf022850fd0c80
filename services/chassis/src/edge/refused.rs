//! What the edge has refused. A line for each request would fill the disk as fast as one client can send, so each is counted, and one
//! line a minute tells of each address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{LazyLock, Mutex, PoisonError},
};

use opentelemetry::{KeyValue, global, metrics::Counter};

/// Networks that are told apart between two tellings; more are counted together.
const KEPT: usize = 1_000;
/// Lines of one telling. Those that were refused most are named.
const NAMED: usize = 20;

static REFUSED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let description = "requests that were refused because their address sends too many";
    global::meter("backlot").u64_counter("backlot.edge.refused").with_description(description).build()
});

/// A network with the length of its prefix.
type Network = (IpAddr, u8);

/// Counts what one guard refuses.
#[derive(Debug)]
pub(super) struct Refused {
    service: &'static str,
    since: Mutex<Tally>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    by: HashMap<Network, u64>,
    others: u64,
}

impl Tally {
    fn count(&mut self, network: Network) {
        if self.by.len() < KEPT || self.by.contains_key(&network) {
            *self.by.entry(network).or_default() += 1;
        } else {
            self.others += 1;
        }
    }

    /// The networks that are named, and how many requests others have sent.
    fn told(self) -> (Vec<(Network, u64)>, u64) {
        let mut named: Vec<_> = self.by.into_iter().collect();
        named.sort_unstable_by_key(|(network, requests)| (std::cmp::Reverse(*requests), *network));
        let others = named.split_off(named.len().min(NAMED));
        (named, self.others + others.iter().map(|(_, requests)| requests).sum::<u64>())
    }
}

impl Refused {
    pub(super) fn new(service: &'static str) -> Self {
        Self { service, since: Mutex::default() }
    }

    pub(super) fn count(&self, network: Network) {
        REFUSED.add(1, &[KeyValue::new("svc", self.service)]);
        self.since.lock().unwrap_or_else(PoisonError::into_inner).count(network);
    }

    /// Writes the lines of what was refused since the last time.
    pub(super) fn tell(&self) {
        let tally = std::mem::take(&mut *self.since.lock().unwrap_or_else(PoisonError::into_inner));
        let (named, others) = tally.told();
        let service = self.service;
        for ((network, prefix), requests) in named {
            tracing::warn!(svc = service, address = %format!("{network}/{prefix}"), requests, "refused requests of an address that sends too many");
        }
        if others > 0 {
            tracing::warn!(svc = service, requests = others, "refused requests of further addresses that send too many");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_addresses_makes_a_few_lines() {
        let mut tally = Tally::default();
        let network = |at: u32| (IpAddr::from(at.to_be_bytes()), 32);
        let networks = u32::try_from(KEPT).unwrap() + 500;
        for at in 0..networks {
            tally.count(network(at));
        }
        (0..7).for_each(|_| tally.count(network(3)));
        assert_eq!((tally.by.len(), tally.others), (KEPT, 500));
        let (named, others) = tally.told();
        assert_eq!((named.len(), named[0], named[1]), (NAMED, (network(3), 8), (network(0), 1)));
        assert_eq!(others, u64::from(networks) - u64::try_from(NAMED).unwrap());
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        let refused = Refused::new("gateway");
        refused.count(("192.0.2.1".parse().unwrap(), 32));
        refused.tell();
        assert_eq!(*refused.since.lock().unwrap(), Tally::default());
    }
}
