//! The repository as data, for tests that check the repository itself.
//!
//! - [`source`]: files and the names in their code; [`packages`]: crates and their dependencies.
//! - `tests/tidy` has the rules for the source. `tests/deploy` compares the deployment with the settings, metrics and services that exist.

pub mod packages;
pub mod source;

use std::path::Path;

/// The root of the repository.
///
/// # Panics
/// If this crate is not where it should be.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate is in a folder of `tests`")
}
