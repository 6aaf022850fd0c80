//! `make bench`, and every process that it measures. Built alone (see Cargo.toml).

use std::process::ExitCode;

fn main() -> ExitCode {
    bench::run()
}
