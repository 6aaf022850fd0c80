//! Nothing but the door: see the library's [`backlot::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    backlot::cli::run()
}
