//! Tests of the service with a real PostgreSQL. Those that compile start the real executable.

mod builds;
mod edits;
mod faults;
mod harness;
mod outlines;
mod packages;
mod planted;
#[path = "../../../compiler/tests/planted/mod.rs"]
mod planted_faults;
mod refresh;
mod sites;
mod tools;
mod upstream;
mod vendored;
