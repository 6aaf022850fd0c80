//! The processor time of one file. A thread watches it, and ends the process with a status that says why.

use std::{
    io, process,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use compiler_client::worker::FILE_TIME_EXCEEDED;
use rustix::time::{ClockId, clock_gettime};

/// A build without optimization needs about so many times as long for the same work, and gets it.
pub const SLOWNESS: u32 = if cfg!(debug_assertions) { 6 } else { 1 };
/// The thread subtracts, sleeps, and ends the process.
const STACK: usize = 256 << 10;

/// The processor time of the process when its last file began, in nanoseconds.
static BEGAN: AtomicU64 = AtomicU64::new(0);

/// Another file begins.
pub(super) fn begin_file() {
    BEGAN.store(processor_time(), Ordering::Relaxed);
}

/// Starts the thread that ends the process when a file has used `limit` of processor time. What comes before the first file and after the
/// last one counts as part of it.
pub(super) fn watch(limit: Duration) -> io::Result<()> {
    // Before the filter, which refuses the search for a faster clock.
    begin_file();
    let limit = limit.saturating_mul(SLOWNESS);
    // Without a name: the thread would set it itself, perhaps under the filter.
    thread::Builder::new().stack_size(STACK).spawn(move || end_after(limit)).map(drop)
}

fn end_after(limit: Duration) {
    loop {
        let used = processor_time().saturating_sub(BEGAN.load(Ordering::Relaxed));
        let rest = limit.saturating_sub(Duration::from_nanos(used));
        if rest.is_zero() {
            process::exit(FILE_TIME_EXCEEDED);
        }
        // One thread works, so that the file cannot use more than this meanwhile.
        thread::sleep(rest);
    }
}

/// That of all threads of the process, in nanoseconds.
fn processor_time() -> u64 {
    let time = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
