//! The executable that journeys start and kill: `backlot` as it is shipped.

use std::process::ExitCode;

fn main() -> ExitCode {
    backlot::cli::run()
}
