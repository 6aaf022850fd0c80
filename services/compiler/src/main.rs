//! The compiler of previews: one request on the input, one answer on the output. See `compiler::worker`.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(compiler_client::worker::PACKAGES) {
        compiler::worker::run_packages()
    } else {
        compiler::worker::run(compiler::worker::answer)
    }
}
