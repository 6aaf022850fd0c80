//! The executable, built beside the journeys that kill it: cargo hands its path to them.

use std::process::ExitCode;

fn main() -> ExitCode {
    backlot::cli::run()
}
