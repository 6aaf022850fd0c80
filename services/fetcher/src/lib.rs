//! The process that fetches npm packages, which `backlot-compiler fetch` runs. It alone talks to the registry and reads what the registry
//! sends. Whoever starts it keeps the limits of each person and the database.
//!
//! - [`message`]: the job, and what both sides say. [`tree`], [`refusal`]: values of `npm` on the way between them.
//! - [`worker`]: the process. `task`: what it does. `requests`: what it asks its caller and the registry for. `registry`: HTTP.
//! - [`limits`]: resource limits of a process. `filter`: its system calls. `sandbox`: both of this one. [`testing`]: for tests.

#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
pub mod filter;
pub mod limits;
pub mod message;
pub mod refusal;
mod registry;
mod requests;
mod sandbox;
mod task;
pub mod tree;
pub mod worker;

pub use self::sandbox::{MEMORY, PROCESSOR_TIME};

/// How much is read for one page.
#[must_use]
pub fn package_limits() -> npm::Limits {
    npm::Limits {
        packument_bytes: 32 << 20,
        packuments_bytes: 1 << 30,
        packuments: 3_000,
        packed_bytes: 32 << 20,
        unpacked_bytes: 128 << 20,
        total_bytes: 256 << 20,
        ..npm::Limits::default()
    }
}

/// What tests use.
#[doc(hidden)]
pub mod testing {
    use std::io;

    use crate::sandbox;

    /// Confines the calling process as one that fetches.
    ///
    /// # Errors
    /// The system refuses it.
    pub fn confine() -> io::Result<()> {
        sandbox::limit()?;
        sandbox::enter()
    }
}
