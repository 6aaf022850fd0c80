//! The compiler of previews: one request on the input, one answer on the output. See `compiler::worker`.

use std::process::ExitCode;

use compiler::worker;
use compiler_client::worker::{EDIT, OUTLINE, PACKAGES, SITE};

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(PACKAGES) => worker::run_packages(),
        Some(EDIT) => worker::run(worker::answer_edit),
        Some(OUTLINE) => worker::run(worker::answer_outline),
        Some(SITE) => worker::run_site(),
        _ => worker::run(worker::answer),
    }
}
