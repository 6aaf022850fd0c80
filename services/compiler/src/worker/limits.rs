//! Resource limits of the process.

use std::io;

use rlimit::Resource;

/// The address space of a worker that compiles a tree, in bytes.
pub(super) const MEMORY: u64 = 512 << 20;
/// That of a worker that bundles packages. Its four stacks and the allocator's arenas are reserved, and hardly used.
pub(super) const PACKAGES_MEMORY: u64 = 1536 << 20;
/// Processor time, in seconds. The caller has a deadline of its own; this one also holds if the caller dies.
const SECONDS: u64 = 20;
/// The three streams, and nothing else.
const HANDLES: u64 = 3;

/// A limit that is lower already stays.
pub(super) fn set(memory: u64) -> io::Result<()> {
    let limits = [(Resource::AS, memory), (Resource::CPU, SECONDS), (Resource::CORE, 0), (Resource::FSIZE, 0), (Resource::NOFILE, HANDLES)];
    for (resource, limit) in limits {
        if !resource.is_supported() {
            continue;
        }
        let (_, hard) = resource.get()?;
        let limit = limit.min(hard);
        match resource.set(limit, limit) {
            // macOS has no limit of the address space.
            Err(_) if resource == Resource::AS && !cfg!(target_os = "linux") => {}
            result => result?,
        }
    }
    Ok(())
}
