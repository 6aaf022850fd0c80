//! What every process has, and no word of the business. In reading order:
//!
//! - [`config`]: the environment, read once, every fault reported together; [`secret`]: the one secret of a cluster and the
//!   keys derived from it.
//! - [`telemetry`]: logs, traces, metrics and Sentry, set up first and flushed last.
//! - [`lifecycle`], [`task`], [`clock`]: signals become one token; the only places that spawn; the only clock.
//! - [`postgres`], [`redis`]: the two engines, with spans, metrics and limits.
//! - [`identity`], [`verifier`], [`context`], [`propagation`], `deadline`, [`server`], [`client`]: who calls, on whose behalf, in which trace, for
//!   how long, through one standard stack both ways.
//! - [`listen`], [`share`], [`edge`]: the accept loop of HTTP and gRPC; what one client may hold of what all share; how often one
//!   address may ask.
//! - [`error`], [`page`], [`limit`]: from a typed error to a status; page tokens; asking the rate limiter.
//! - `failpoint`, [`seeded_bug`] (features `failpoints`, `seeded-bugs`): faults and bugs for the chaos harness.
//! - `testing` (feature `testing`): private engines and waiting, for the tests of the crates above.

mod caller;
mod cause;
pub mod client;
pub mod clock;
pub mod config;
pub mod context;
mod deadline;
pub mod edge;
pub mod error;
mod failpoint;
pub mod identity;
pub mod jitter;
pub mod lifecycle;
pub mod limit;
pub mod listen;
pub mod page;
pub mod postgres;
pub mod propagation;
pub mod redis;
pub mod secret;
pub mod seeded_bug;
pub mod server;
pub mod share;
pub mod task;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod verifier;

/// Makes `ring` the process's TLS provider. Everything that speaks TLS here is built without one of its own and panics when
/// none is installed, so `main` and every test that makes a client calls this first. A second call does nothing.
pub fn install_crypto() {
    // An error means that one is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
