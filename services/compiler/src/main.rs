//! The compiler of previews: one request on the input, one answer on the output. See `compiler::worker`. With `fetch` it is the process that
//! fetches packages, see `fetcher::worker`.

use std::{process::ExitCode, time::Duration};

use compiler::worker;
use compiler_client::worker::{EDIT, FETCH, OUTLINE, PACKAGES, PROCESSOR_TIME, SITE};

/// The arguments are what to do, and the processor time of a file in milliseconds.
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next();
    // Without it the limit of the process remains.
    let file_time = arguments.next().and_then(|text| text.parse().ok()).map_or(PROCESSOR_TIME, Duration::from_millis);
    match what.as_deref() {
        Some(PACKAGES) => worker::run_packages(),
        Some(EDIT) => worker::run(worker::answer_edit, file_time),
        Some(OUTLINE) => worker::run(worker::answer_outline, file_time),
        Some(SITE) => worker::run_site(),
        Some(FETCH) => fetcher::worker::run(),
        _ => worker::run(worker::answer, file_time),
    }
}
