//! Resource limits of the process.

use std::io;

use compiler_client::worker::PROCESSOR_TIME;
use fetcher::limits::{self, ProcessLimits};

/// The address space of a worker that compiles a tree, in bytes.
pub(super) const MEMORY: u64 = 512 << 20;
/// That of a worker that bundles. Its four stacks are reserved, and hardly used. The caller ends a worker with more than 512 MiB of resident
/// memory.
pub(super) const PACKAGES_MEMORY: u64 = 896 << 20;
/// The three streams, and nothing else.
const HANDLES: u64 = 3;

/// As [`limits::set`], with the memory of the kind of worker.
pub(super) fn set(memory: u64) -> io::Result<()> {
    limits::set(&ProcessLimits { memory, processor_time: PROCESSOR_TIME, handles: HANDLES })
}
