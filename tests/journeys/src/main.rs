//! The executable that journeys start and kill. Cargo builds it with them and tells them its path.

use std::process::ExitCode;

fn main() -> ExitCode {
    backlot::cli::run()
}
