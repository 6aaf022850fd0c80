//! The first guard: how many requests one address may send, counted in this process, so that a flood costs nothing behind it.

mod refused;

use std::{net::IpAddr, sync::Arc, time::Duration};

use governor::{clock::Clock as _, middleware::NoOpMiddleware};
use tower_governor::{
    governor::{GovernorConfigBuilder, SharedRateLimiter},
    key_extractor::PeerIpKeyExtractor,
};

use self::refused::Refused;
use crate::{config::Env, share::networks, task::Tasks};

/// How often the guard forgets addresses that are quiet again, and tells whom it has refused.
const TIDY: Duration = Duration::from_secs(60);

/// `burst` requests at once, then `per_second`. Zero per second switches the guard off.
#[derive(Debug, Clone, Copy)]
pub struct Edge {
    pub per_second: u32,
    pub burst: u32,
}

impl Edge {
    pub fn read(env: &mut Env) -> Self {
        let edge = Self {
            per_second: env.get("BACKLOT_EDGE_PER_SECOND", "50", "requests a second that one address may send; 0 disables this limit"),
            burst: env.get("BACKLOT_EDGE_BURST", "100", "requests that one address may send at once"),
        };
        if edge.per_second > 0 && edge.burst == 0 {
            env.out_of_bounds("BACKLOT_EDGE_BURST", "must be a whole number from 1 to 4294967295");
        }
        edge
    }

    /// The same guard with so many times its limits.
    #[must_use]
    pub fn times(self, factor: u32) -> Self {
        Self { per_second: self.per_second.saturating_mul(factor), burst: self.burst.saturating_mul(factor) }
    }

    fn limiter(self) -> Option<Limiter> {
        let period = Duration::from_secs(1).checked_div(self.per_second)?;
        let mut builder = GovernorConfigBuilder::default().key_extractor(PeerIpKeyExtractor);
        let config = builder.period(period).burst_size(self.burst.max(1)).finish()?;
        Some(Arc::clone(config.limiter()))
    }
}

type Limiter = SharedRateLimiter<IpAddr, NoOpMiddleware>;

/// What the guard remembers of addresses.
#[derive(Clone)]
pub struct Guard {
    limiters: Arc<[Limiter]>,
    refused: Arc<Refused>,
}

impl Guard {
    /// The guard of a service. `tasks` keeps its memory small.
    #[must_use]
    pub fn new(edge: Edge, service: &'static str, tasks: &Tasks) -> Self {
        // An IPv6 address is counted with its /64; the networks around it may send twice and four times as much.
        let limiters: Arc<[Limiter]> = [1, 2, 4].into_iter().filter_map(|factor| edge.times(factor).limiter()).collect();
        let guard = Self { limiters, refused: Arc::new(Refused::new(service)) };
        let (kept, stop) = (guard.clone(), tasks.token());
        tasks.spawn(async move {
            while stop.run_until_cancelled(tokio::time::sleep(TIDY)).await.is_some() {
                kept.limiters.iter().for_each(|limiter| limiter.retain_recent());
                kept.refused.tell();
            }
            kept.refused.tell();
        });
        guard
    }

    /// Counts a request.
    ///
    /// # Errors
    /// The address has sent too many; so long it has to wait.
    pub fn check(&self, address: IpAddr) -> Result<(), Duration> {
        for (limiter, network) in self.limiters.iter().zip(networks(address)) {
            if let Err(not) = limiter.check_key(&network.0) {
                self.refused.count(network);
                return Err(not.wait_time_from(limiter.clock().now()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wider_networks_of_ipv6_have_limits_too() {
        let passed = |address: fn(u32) -> String| {
            let guard = Guard::new(Edge { per_second: 1, burst: 10 }, "gateway", &Tasks::new());
            (0..200).filter(|at| guard.check(address(*at).parse().unwrap()).is_ok()).count()
        };
        assert_eq!(passed(|_| "192.0.2.1".to_owned()), 10);
        assert_eq!(passed(|at| format!("2001:db8::{at:x}")), 10);
        assert_eq!(passed(|at| format!("2001:db8:0:{at:x}::1")), 20);
        assert_eq!(passed(|at| format!("2001:db8:0:{at:x}00::1")), 40);
        assert_eq!(passed(|at| format!("2001:db8:{at:x}::1")), 200);
    }

    #[tokio::test]
    async fn zero_switches_it_off() {
        let guard = Guard::new(Edge { per_second: 0, burst: 1 }, "gateway", &Tasks::new());
        assert!((0..1000).all(|_| guard.check("192.0.2.1".parse().unwrap()).is_ok()));
    }
}
