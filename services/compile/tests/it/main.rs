//! Tests of the service with a real PostgreSQL. Those that compile start the real executable.

mod builds;
mod bytecode;
mod checks;
mod edits;
mod faults;
mod fetching;
mod harness;
mod outlines;
mod packages;
mod planted;
#[path = "../../../compiler/tests/planted/mod.rs"]
mod planted_faults;
#[path = "../../../compiler/tests/published/mod.rs"]
mod published;
mod refresh;
mod sites;
mod templates;
mod tools;
#[path = "../../../../tests/support/src/upstream.rs"]
#[allow(unreachable_pub, reason = "a module of test-support, which depends on this crate")]
mod upstream;
mod vendored;
