//! Resource limits of a process that reads what strangers wrote.

use std::{io, time::Duration};

use rlimit::Resource;

/// Processor time between the signal that names the limit and the end without a name, in seconds.
const GRACE: u64 = 5;

/// What a process may use. It writes no file and leaves no memory behind.
#[derive(Debug, Clone, Copy)]
pub struct ProcessLimits {
    /// The address space, in bytes.
    pub memory: u64,
    /// The process ends with a signal then.
    pub processor_time: Duration,
    /// Open files, sockets and pipes.
    pub handles: u64,
}

/// Limits the calling process. A limit that is lower already stays. The caller has a deadline of its own; the processor time also holds if
/// the caller dies.
///
/// # Errors
/// The system refuses a limit.
pub fn set(of: &ProcessLimits) -> io::Result<()> {
    let seconds = of.processor_time.as_secs();
    let one = |resource, limit| (resource, limit, limit);
    let limits = [
        one(Resource::AS, of.memory),
        (Resource::CPU, seconds, seconds + GRACE),
        one(Resource::CORE, 0),
        one(Resource::FSIZE, 0),
        one(Resource::NOFILE, of.handles),
    ];
    for (resource, soft, most) in limits {
        if !resource.is_supported() {
            continue;
        }
        let (_, hard) = resource.get()?;
        match resource.set(soft.min(hard), most.min(hard)) {
            // macOS has no limit of the address space.
            Err(_) if resource == Resource::AS && !cfg!(target_os = "linux") => {}
            result => result?,
        }
    }
    Ok(())
}
