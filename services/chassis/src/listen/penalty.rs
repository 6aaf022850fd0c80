//! Penalties of clients that cause useless work. A client gets one point for each request that it abandons before the response is
//! complete, or sends above a limit.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::Limits;
use crate::network::client_network;

/// Bytes of one read from a throttled address. They contain about twenty requests.
pub(super) const THROTTLED_READ: usize = 1024;
/// The number of addresses at which those without a penalty are removed for the first time.
const CLEANUP_THRESHOLD: usize = 1024;

/// The penalty of one address (IPv6: /64), for all its connections together. It decreases by one point a second.
#[derive(Debug)]
pub(super) struct Penalty {
    state: Mutex<State>,
    /// The points above which the address is throttled.
    limit: u64,
    /// The time between two reads of a throttled address.
    pause: Duration,
}

#[derive(Debug)]
struct State {
    points: u64,
    /// The time of the last decrease.
    decreased_at: Instant,
    /// The earliest time of the next throttled read.
    next_read: Instant,
}

impl Penalty {
    fn new(limits: &Limits) -> Arc<Self> {
        let now = Instant::now();
        let pause = Duration::from_secs_f64(THROTTLED_READ as f64 / limits.slow_pace as f64);
        let limit = limits.many_resets as u64;
        Arc::new(Self { state: Mutex::new(State { points: 0, decreased_at: now, next_read: now }), limit, pause })
    }

    /// Adds points and returns the penalty. It is at most twice the limit, so that an address is soon read at full speed again.
    pub(super) fn add(&self, points: u64, now: Instant) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = now.duration_since(state.decreased_at).as_secs();
        state.decreased_at += Duration::from_secs(seconds);
        state.points = (state.points.saturating_sub(seconds) + points).min(2 * self.limit);
        state.points
    }

    /// Whether the address is throttled. Users who only leave pages stay below the limit.
    pub(super) fn exceeds_limit(&self) -> bool {
        self.add(0, Instant::now()) > self.limit
    }

    /// Reserves a read of [`THROTTLED_READ`] bytes for one connection and returns its time. The connections of an address read in turn.
    pub(super) fn reserve_read(&self) -> Instant {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let at = state.next_read.max(Instant::now() + self.pause);
        state.next_read = at + self.pause;
        at
    }
}

/// The penalties of all addresses of a listener.
#[derive(Debug)]
pub(super) struct Penalties {
    addresses: Mutex<Addresses>,
    limits: Limits,
}

#[derive(Debug)]
struct Addresses {
    penalties: HashMap<IpAddr, Arc<Penalty>>,
    /// The number of addresses at which the next cleanup happens.
    cleanup_at: usize,
}

impl Penalties {
    pub(super) fn new(limits: &Limits) -> Self {
        let addresses = Addresses { penalties: HashMap::new(), cleanup_at: CLEANUP_THRESHOLD };
        Self { addresses: Mutex::new(addresses), limits: limits.clone() }
    }

    /// The penalty of an address. It outlives the connection, so that a client cannot reset it with a new connection.
    pub(super) fn of(&self, address: IpAddr) -> Arc<Penalty> {
        let (network, _) = client_network(address);
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.penalties.len() >= addresses.cleanup_at {
            let now = Instant::now();
            addresses.penalties.retain(|_, penalty| Arc::strong_count(penalty) > 1 || penalty.add(0, now) > 0);
            addresses.cleanup_at = CLEANUP_THRESHOLD.max(2 * addresses.penalties.len());
        }
        Arc::clone(addresses.penalties.entry(network).or_insert_with(|| Penalty::new(&self.limits)))
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
    fn a_penalty_decreases_by_one_point_a_second() {
        let penalty = Penalty::new(&limits());
        let start = penalty.state.lock().unwrap().decreased_at;
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 0..500 {
            assert_eq!(penalty.add(1, at(second)), 1, "one point a second");
        }
        assert_eq!(penalty.add(1_000, at(500)), 40);
        assert_eq!(penalty.add(0, at(500) + Duration::from_millis(1_500)), 39);
        assert_eq!(penalty.add(0, at(502)), 38);
        assert_eq!(penalty.add(0, at(600)), 0);
    }

    #[test]
    fn the_connections_of_an_address_read_in_turn() {
        let penalty = Penalty::new(&limits());
        let reads: Vec<_> = (0..100).map(|_| penalty.reserve_read()).collect();
        assert!(reads.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(5)));
    }

    #[test]
    fn a_penalty_outlives_the_connections_of_its_address() {
        let penalties = Penalties::new(&limits());
        let address = |at: u32| IpAddr::from(at.to_be_bytes());
        penalties.of("2001:db8::1".parse().unwrap()).add(100, Instant::now());
        let kept = penalties.of(address(0));
        for at in 1..5 * u32::try_from(CLEANUP_THRESHOLD).unwrap() {
            penalties.of(address(at));
        }
        assert!(penalties.of("2001:db8::2".parse().unwrap()).exceeds_limit());
        assert!(!penalties.of("2001:db8:0:1::1".parse().unwrap()).exceeds_limit());
        assert!(Arc::ptr_eq(&kept, &penalties.of(address(0))));
        assert!(penalties.addresses.lock().unwrap().penalties.len() <= CLEANUP_THRESHOLD + 1, "addresses without a penalty are removed");
    }
}
