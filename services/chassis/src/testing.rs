//! For the tests of the crates above: private engines that begin with the test process and end with it, and waiting for what
//! happens elsewhere. Feature `testing`.

pub mod issuer;
mod postgres;
mod redis;

use std::{future::Future, time::Duration};

use tokio::{net::TcpListener, time::Instant};

pub use self::{
    issuer::Issuer,
    postgres::{TestDatabase, database_url, postgres},
    redis::{TestRedis, redis},
};
use crate::secret::ClusterSecret;

const POLL: Duration = Duration::from_millis(10);

/// The secret of a cluster that exists only in tests.
#[must_use]
pub fn secret() -> ClusterSecret {
    ClusterSecret::of_bytes(b"a cluster secret that only tests have")
}

/// A listener on a free port of this machine.
///
/// # Panics
/// If there is none.
pub async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port on 127.0.0.1")
}

/// Asks again until there is an answer, and returns it.
///
/// # Panics
/// If there is none within the limit.
#[track_caller]
pub fn eventually<T, F, Fut>(limit: Duration, probe: F) -> impl Future<Output = T>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let place = std::panic::Location::caller();
    async move {
        let until = Instant::now() + limit;
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            assert!(Instant::now() < until, "waited {limit:?} in vain at {place}");
            tokio::time::sleep(POLL).await;
        }
    }
}
