//! The folders of the tools that read the OpenAPI document.

use std::path::{Path, PathBuf};

/// The folder in which `make test` installs the tools, or else the folder of their configuration.
#[must_use]
pub(crate) fn folder() -> PathBuf {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of a service")]
    let named = std::env::var_os("BACKLOT_OPENAPI_TOOLS");
    named.map_or_else(sources, PathBuf::from)
}

/// The folder of their configuration: versions, rules and hooks.
#[must_use]
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi")
}
