//! Resource limits of the process.

use std::io;

use compiler_client::worker::PROCESSOR_TIME;
use rlimit::Resource;

/// The address space of a worker that compiles a tree, in bytes.
pub(super) const MEMORY: u64 = 512 << 20;
/// That of a worker that bundles packages. Its four stacks and the allocator's arenas are reserved, and hardly used.
pub(super) const PACKAGES_MEMORY: u64 = 1536 << 20;
/// Processor time between the signal that names the limit and the end without a name, in seconds.
const GRACE: u64 = 5;
/// The three streams, and nothing else.
const HANDLES: u64 = 3;

/// A limit that is lower already stays. The caller has a deadline of its own; the processor time also holds if the caller dies.
pub(super) fn set(memory: u64) -> io::Result<()> {
    let seconds = PROCESSOR_TIME.as_secs();
    let one = |resource, limit| (resource, limit, limit);
    let limits = [
        one(Resource::AS, memory),
        (Resource::CPU, seconds, seconds + GRACE),
        one(Resource::CORE, 0),
        one(Resource::FSIZE, 0),
        one(Resource::NOFILE, HANDLES),
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
