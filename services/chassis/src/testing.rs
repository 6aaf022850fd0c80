//! For tests of all crates: private engines that live as long as the test process, polling until a condition holds, a proxy that can be shut, and
//! an authenticator for passkeys. Feature `testing`.

mod access;
mod authenticator;
pub mod canary;
mod gate;
pub mod issuer;
mod lines;
pub mod mmdb;
mod postgres;
mod redis;

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use private_postgres::sys;
use tokio::net::TcpListener;

pub use self::{
    access::{assert_access_table, assert_access_tables},
    authenticator::Authenticator,
    gate::Gate,
    issuer::Issuer,
    lines::{Line, Lines},
    postgres::{TestDatabase, database_url, postgres},
    redis::{TestRedis, redis},
};
use crate::{
    caller::Caller,
    identity::{
        jws,
        signer::{self, CallerClaims},
    },
    secret::ClusterSecret,
};

const POLL: Duration = Duration::from_millis(10);

/// The cluster secret of tests.
#[must_use]
pub fn secret() -> ClusterSecret {
    ClusterSecret::of_bytes(b"a cluster secret that only tests have")
}

/// A caller token for calls of `from` to `to` that ends at `exp`, in seconds since 1970.
///
/// # Panics
/// The secret is a bundle without the key for these calls.
#[must_use]
pub fn caller_token_until(secret: &ClusterSecret, from: Caller, to: Caller, exp: u64) -> String {
    let claims = CallerClaims { iss: from.name().into(), aud: to.name().into(), iat: exp.saturating_sub(60), exp, addr: None };
    let pair = secret.pair(from, to).first().copied().map(signer::key).expect("a key for these calls");
    jws::sign_hs256(&pair, None, &claims).expect("claims as JSON")
}

/// A listener on a free port of the loopback interface.
///
/// # Panics
/// No port is free.
pub async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port on 127.0.0.1")
}

/// The compiler of this build, or the one that BACKLOT_TEST_COMPILER names. The first call builds it.
///
/// # Panics
/// It cannot be built.
#[must_use]
pub fn compiler() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        #[allow(clippy::disallowed_methods, reason = "a variable of the tests, and no setting")]
        if let Some(path) = std::env::var_os("BACKLOT_TEST_COMPILER") {
            return path.into();
        }
        let status = Command::new(env!("CARGO")).args(["build", "--quiet", "--package", "compiler"]).status().expect("cargo");
        assert!(status.success(), "the compiler cannot be built");
        let this = std::env::current_exe().expect("the path of the test");
        this.ancestors().nth(2).expect("the target folder").join("backlot-compiler")
    })
}

/// Makes the kernel kill the process of the command when the thread that spawned it ends, so that a killed test leaves no processes.
pub fn die_with_parent(command: &mut Command) {
    sys::die_with_parent(command, libc::SIGKILL);
}

/// Gives the calling thread the lowest priority, so that it runs only on processors that are otherwise idle.
///
/// # Errors
/// The system refuses the priority.
pub fn lower_priority() -> io::Result<()> {
    sys::lower_priority()
}

/// A signal to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Kill,
    Terminate,
    /// The process is stopped until it gets [`Signal::Continue`].
    Stop,
    Continue,
}

/// Sends a signal to a process.
///
/// # Errors
/// The process does not exist or belongs to another user.
pub fn signal(process: u32, signal: Signal) -> io::Result<()> {
    let number = match signal {
        Signal::Kill => libc::SIGKILL,
        Signal::Terminate => libc::SIGTERM,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
    };
    sys::signal(process, number)
}

/// Calls the probe until it returns a value, and returns the value. Time in which this process was starved does not count ([`canary`]).
///
/// # Panics
/// The probe returns no value within the limit.
#[track_caller]
pub fn eventually<T, F, Fut>(limit: Duration, probe: F) -> impl Future<Output = T>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let location = std::panic::Location::caller();
    async move {
        let clock = canary::Stopwatch::start();
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            assert!(clock.elapsed() < limit, "the condition at {location} did not hold within {limit:?}");
            tokio::time::sleep(POLL).await;
        }
    }
}
