//! `make bench`, and every process that it measures. It must be built without other packages (see Cargo.toml).

use std::process::ExitCode;

fn main() -> ExitCode {
    bench::run()
}
