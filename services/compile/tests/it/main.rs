//! Tests of the service with a real PostgreSQL. Those that compile start the real executable.

mod builds;
mod faults;
mod harness;
mod packages;
mod sites;
mod upstream;
