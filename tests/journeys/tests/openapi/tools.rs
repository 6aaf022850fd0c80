//! Where the programs are that read the OpenAPI document.

use std::path::{Path, PathBuf};

/// Where `make test` puts them, else where npm and pip put them by hand.
#[must_use]
pub(crate) fn folder() -> PathBuf {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of a process")]
    let named = std::env::var_os("BACKLOT_OPENAPI_TOOLS");
    named.map_or_else(sources, PathBuf::from)
}

/// What they are told: versions, rules and hooks.
#[must_use]
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi")
}
