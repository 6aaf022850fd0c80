//! Tests over the public items of the crate.

mod fuzz;
mod hostile;
mod install;
mod locks;
mod npm;
mod packuments;
mod registry;
mod resolution;
mod semver;
