//! `make chaos`, and every process of the cluster that it breaks.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A process of the cluster is this same executable with a role as its argument.
    if std::env::args_os().len() > 1 { backlot::cli::run() } else { chaos::command::run() }
}
