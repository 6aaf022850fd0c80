//! What all services share. It knows nothing of accounts, projects and turns. In reading order:
//!
//! - [`config`]: reads the environment once and reports all faults together; [`secret`]: the secret of a cluster and the keys derived
//!   from it.
//! - [`telemetry`]: logs, traces, metrics and Sentry. It is set up first and flushed last.
//! - [`lifecycle`], [`task`], [`clock`]: shutdown signals, spawning of tasks, and the clock.
//! - [`postgres`], [`redis`]: the two engines, with spans, metrics and limits.
//! - [`identity`], [`verifier`], [`context`], [`propagation`], `deadline`, [`server`], [`client`]: caller, user, trace and deadline of a
//!   request, and the middleware of gRPC servers and clients that carries them.
//! - [`revocations`]: the sessions that have ended, as auth reports them.
//! - [`tls`]: certificates of the roles, for connections between them.
//! - [`listen`], [`share`], [`network`], [`edge`], [`origin`]: the accept loop for HTTP and gRPC; limits of what one client may hold of a
//!   shared resource; the networks of an address; the rate limit by address before all others; the public URL.
//! - [`outbound`]: the guard of outbound addresses that persons set.
//! - [`doorbell`], [`tail`]: what wakes the other replicas of a service, and the viewers of a log that follow it as one.
//! - [`deletion_log`]: what deletes here what another service has deleted. [`reseal`]: what seals values with a new cluster secret.
//! - [`git_id`]: the ids of git. [`error`], [`page`], [`limit`]: typed errors to gRPC statuses; page tokens; calls of the rate-limit service.
//! - `failpoint`, [`fault_time`], [`seeded_bug`] (features `failpoints`, `seeded-bugs`): faults, short times and bugs for the chaos harness.
//! - `testing` (feature `testing`): private engines and polling helpers for the tests of other crates.

mod caller;
mod cause;
pub mod client;
pub mod clock;
pub mod config;
pub mod context;
mod deadline;
pub mod deletion_log;
pub mod doorbell;
pub mod edge;
pub mod error;
mod failpoint;
pub mod fault_time;
pub mod git_id;
pub mod identity;
pub mod jitter;
pub mod lifecycle;
pub mod limit;
pub mod listen;
pub mod network;
pub mod origin;
pub mod outbound;
pub mod page;
pub mod postgres;
pub mod propagation;
pub mod redis;
pub mod reseal;
pub mod revocations;
pub mod secret;
pub mod seeded_bug;
pub mod server;
pub mod share;
pub mod tail;
pub mod task;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tls;
pub mod verifier;

/// Makes `ring` the TLS provider of the process. The TLS clients here are built without a provider and panic if none is installed, so
/// `main` and every test with a client call this first. A second call does nothing.
pub fn install_crypto() {
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
