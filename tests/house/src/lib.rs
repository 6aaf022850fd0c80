//! The repository as data, for the tests that check it. The product is tested elsewhere.
//!
//! - [`source`]: files, and what their code names; [`packages`]: crates, and what they depend on.
//! - `tests/tidy` has the rules of the source, `tests/deploy` compares what is deployed with what there is.

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
