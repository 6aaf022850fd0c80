//! The first rate limit: how many requests one address may send. It is counted in this process, before any other work.

mod refusals;

use std::{net::IpAddr, sync::Arc, time::Duration};

use governor::{clock::Clock as _, middleware::NoOpMiddleware};
use tower_governor::{
    governor::{GovernorConfigBuilder, SharedRateLimiter},
    key_extractor::PeerIpKeyExtractor,
};

use self::refusals::Refusals;
use crate::{config::Env, network::client_networks, task::Tasks};

/// How often the guard drops the state of idle addresses and logs its refusals.
const CLEANUP_PERIOD: Duration = Duration::from_secs(60);

/// The limit of one address: `burst` requests at once, then `per_second`. Zero per second switches the guard off.
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

    /// The limit, multiplied by a factor.
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

/// Counts the requests of each address.
#[derive(Clone)]
pub struct Guard {
    limiters: Arc<[Limiter]>,
    refusals: Arc<Refusals>,
}

impl Guard {
    /// The guard of a service. A task in `tasks` drops the state of idle addresses.
    #[must_use]
    pub fn new(edge: Edge, service: &'static str, tasks: &Tasks) -> Self {
        // The /64, the /56 and the /48 of an IPv6 address have one, two and four times the limit.
        let limiters: Arc<[Limiter]> = [1, 2, 4].into_iter().filter_map(|factor| edge.times(factor).limiter()).collect();
        let guard = Self { limiters, refusals: Arc::new(Refusals::new(service)) };
        let (cleaned, stop) = (guard.clone(), tasks.token());
        tasks.spawn(async move {
            while stop.run_until_cancelled(tokio::time::sleep(CLEANUP_PERIOD)).await.is_some() {
                cleaned.limiters.iter().for_each(|limiter| limiter.retain_recent());
                cleaned.refusals.log();
            }
            cleaned.refusals.log();
        });
        guard
    }

    /// Counts a request.
    ///
    /// # Errors
    /// The address has sent too many requests. The error is the time to wait.
    pub fn check(&self, address: IpAddr) -> Result<(), Duration> {
        for (limiter, network) in self.limiters.iter().zip(client_networks(address)) {
            if let Err(not_until) = limiter.check_key(&network.0) {
                self.refusals.count(network);
                return Err(not_until.wait_time_from(limiter.clock().now()));
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
    async fn zero_switches_the_guard_off() {
        let guard = Guard::new(Edge { per_second: 0, burst: 1 }, "gateway", &Tasks::new());
        assert!((0..1000).all(|_| guard.check("192.0.2.1".parse().unwrap()).is_ok()));
    }
}
