//! `make chaos`, and every process of the cluster under test.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The processes of the cluster run this executable with a role as the argument.
    if std::env::args_os().len() > 1 { backlot::cli::run() } else { chaos::command::run() }
}
