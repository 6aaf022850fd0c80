//! The entry point. The commands are in [`backlot::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    backlot::cli::run()
}
