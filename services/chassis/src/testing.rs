//! For the tests of the crates above: private engines that begin with the test process and end with it, and waiting for what
//! happens elsewhere. Feature `testing`.

mod access;
pub mod canary;
pub mod issuer;
mod postgres;
mod redis;

use std::{future::Future, io, process::Command, time::Duration};

use private_postgres::sys;
use tokio::net::TcpListener;

pub use self::{
    access::assert_access_table,
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

/// Lets the kernel kill the command's process when the thread that starts it ends, so that a test that is killed leaves nothing.
pub fn die_with_parent(command: &mut Command) {
    sys::die_with_parent(command, libc::SIGKILL);
}

/// Gives the calling thread the lowest priority: it runs when nobody else wants to.
///
/// # Errors
/// The system refuses.
pub fn give_way() -> io::Result<()> {
    sys::give_way()
}

/// What may be sent to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Kill,
    Terminate,
    /// It stands still until it is told to go on.
    Stop,
    Continue,
}

/// Sends a signal to a process.
///
/// # Errors
/// There is no such process, or it is not ours.
pub fn signal(process: u32, signal: Signal) -> io::Result<()> {
    let number = match signal {
        Signal::Kill => libc::SIGKILL,
        Signal::Terminate => libc::SIGTERM,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
    };
    sys::signal(process, number)
}

/// Asks again until there is an answer, and returns it. Time that others took from this process does not count ([`canary`]).
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
        let clock = canary::Stopwatch::start();
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            assert!(clock.elapsed() < limit, "waited {limit:?} in vain at {place}");
            tokio::time::sleep(POLL).await;
        }
    }
}
