//! What the process gives up: it has a bounded memory and processor time, and writes no file. On Linux a filter allows the
//! system calls of computing and of connections: it can open no file, start no program and no thread, and reach no other process.

#[cfg(target_os = "linux")]
mod filter;

use std::{io, time::Duration};

use crate::limits::{self, ProcessLimits};

/// The address space, in bytes. The versions of a large project take a third of it.
pub const MEMORY: u64 = 1 << 30;
/// The processor time. A resolution has a limit of its steps, which is reached long before.
pub const PROCESSOR_TIME: Duration = Duration::from_secs(120);
/// The three streams, the event queue of the runtime, and connections to the registry.
const HANDLES: u64 = 64;

/// Sets the limits of resources.
pub(crate) fn limit() -> io::Result<()> {
    limits::set(&ProcessLimits { memory: MEMORY, processor_time: PROCESSOR_TIME, handles: HANDLES })
}

#[cfg(target_os = "linux")]
pub(crate) fn enter() -> io::Result<()> {
    filter::enter()
}

/// Other systems have the limits alone.
#[cfg(not(target_os = "linux"))]
pub(crate) fn enter() -> io::Result<()> {
    Ok(())
}
