//! The compiler of previews: one request on the input, one answer on the output. See `compiler::worker`.

use std::process::ExitCode;

fn main() -> ExitCode {
    compiler::worker::run(compiler::worker::answer)
}
