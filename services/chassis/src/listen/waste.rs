//! Requests that clients of one address have wasted: given up before their answer was whole, or sent above their limit.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::Limits;
use crate::share::networks;

/// Bytes that are read at once from an address that is read slowly. They hold about twenty requests.
pub(super) const SLOW_READ: usize = 1024;
/// Addresses that are kept before those with nothing to remember are looked for.
const KEPT: usize = 1024;

/// What one address (IPv6: /64) has wasted, by all of its connections, and when the next of them may read.
#[derive(Debug)]
pub(super) struct Waste {
    recent: Mutex<Recent>,
    many: u64,
    pause: Duration,
}

#[derive(Debug)]
struct Recent {
    /// Wasted requests that are not yet forgotten.
    count: u64,
    /// Up to here it is known what was forgotten.
    at: Instant,
    /// When the next slow read may be.
    next_read: Instant,
}

impl Waste {
    fn new(limits: &Limits) -> Arc<Self> {
        let now = Instant::now();
        let pause = Duration::from_secs_f64(SLOW_READ as f64 / limits.slow_pace as f64);
        let many = limits.many_resets as u64;
        Arc::new(Self { recent: Mutex::new(Recent { count: 0, at: now, next_read: now }), many, pause })
    }

    /// Adds wasted requests and answers how many are remembered. One a second is forgotten, and no more than twice the limit is
    /// remembered, so that an address that stops wasting requests is soon read at full speed again.
    pub(super) fn add(&self, more: u64, now: Instant) -> u64 {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = now.duration_since(recent.at).as_secs();
        recent.at += Duration::from_secs(seconds);
        recent.count = (recent.count.saturating_sub(seconds) + more).min(2 * self.many);
        recent.count
    }

    /// Whether more is wasted than by people who merely leave pages.
    pub(super) fn is_large(&self) -> bool {
        self.add(0, Instant::now()) > self.many
    }

    /// When the connection that asks may read [`SLOW_READ`] bytes: all of an address read one after the other.
    pub(super) fn next_read(&self) -> Instant {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let at = recent.next_read.max(Instant::now() + self.pause);
        recent.next_read = at + self.pause;
        at
    }
}

/// All addresses of a listener.
#[derive(Debug)]
pub(super) struct Wastes {
    known: Mutex<Known>,
    limits: Limits,
}

#[derive(Debug)]
struct Known {
    by: HashMap<IpAddr, Arc<Waste>>,
    /// How many there may be before the next look at them.
    most: usize,
}

impl Wastes {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { known: Mutex::new(Known { by: HashMap::new(), most: KEPT }), limits: limits.clone() }
    }

    /// The waste of an address. It outlives the connection, which could otherwise begin anew.
    pub(super) fn of(&self, address: IpAddr) -> Arc<Waste> {
        let (network, _) = networks(address)[0];
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.by.len() >= known.most {
            let now = Instant::now();
            known.by.retain(|_, waste| Arc::strong_count(waste) > 1 || waste.add(0, now) > 0);
            known.most = KEPT.max(2 * known.by.len());
        }
        Arc::clone(known.by.entry(network).or_insert_with(|| Waste::new(&self.limits)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    fn limits() -> Limits {
        Limits::read(&mut Env::of([("BACKLOT_MANY_RESETS", "20"), ("BACKLOT_SLOW_PACE", "204800")]))
    }

    #[test]
    fn wasted_requests_are_forgotten_one_a_second() {
        let waste = Waste::new(&limits());
        let begun = waste.recent.lock().unwrap().at;
        let at = |seconds| begun + Duration::from_secs(seconds);
        for second in 0..500 {
            assert_eq!(waste.add(1, at(second)), 1, "as many as are forgotten");
        }
        assert_eq!(waste.add(1_000, at(500)), 40);
        assert_eq!(waste.add(0, at(500) + Duration::from_millis(1_500)), 39);
        assert_eq!(waste.add(0, at(502)), 38);
        assert_eq!(waste.add(0, at(600)), 0);
    }

    #[test]
    fn the_connections_of_an_address_read_one_after_the_other() {
        let waste = Waste::new(&limits());
        let reads: Vec<_> = (0..100).map(|_| waste.next_read()).collect();
        assert!(reads.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(5)));
    }

    #[test]
    fn an_address_that_comes_back_is_still_known() {
        let wastes = Wastes::new(&limits());
        let address = |at: u32| IpAddr::from(at.to_be_bytes());
        let many = |address: IpAddr| wastes.of(address).add(100, Instant::now());
        many("2001:db8::1".parse().unwrap());
        let kept = wastes.of(address(0));
        for at in 1..5 * u32::try_from(KEPT).unwrap() {
            wastes.of(address(at));
        }
        assert!(wastes.of("2001:db8::2".parse().unwrap()).is_large());
        assert!(!wastes.of("2001:db8:0:1::1".parse().unwrap()).is_large());
        assert!(Arc::ptr_eq(&kept, &wastes.of(address(0))));
        assert!(wastes.known.lock().unwrap().by.len() <= KEPT + 1, "those with nothing to remember are dropped");
    }
}
