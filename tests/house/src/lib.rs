//! Reads the repository, for tests that check the repository itself.
//!
//! - [`source`]: files and the names in their code. [`packages`]: crates and their dependencies.
//! - `tests/tidy` checks the rules for the source. `tests/deploy` compares the deployment with the settings, metrics and services that
//!   exist.

pub mod packages;
pub mod source;

use std::path::Path;

/// The root of the repository.
///
/// # Panics
/// If this crate is not two folders below the root.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("this crate is two folders below the root")
}
