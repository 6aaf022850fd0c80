//! Safe wrappers of system calls that the standard library lacks.

use std::{
    io,
    process::{Child, Command},
    time::{Duration, Instant},
};

const POLL: Duration = Duration::from_millis(20);

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    #[allow(unsafe_code, reason = "takes nothing, returns a number and cannot fail")]
    // SAFETY: no pointers, no preconditions.
    let uid = unsafe { libc::geteuid() };
    uid == 0
}

/// Sends a signal to a process.
///
/// # Errors
/// The process does not exist, or it belongs to another user.
pub fn signal(pid: u32, signal: i32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    #[allow(unsafe_code, reason = "takes and returns numbers")]
    // SAFETY: no pointers; a missing process or one of another user is an error.
    let result = unsafe { libc::kill(pid, signal) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives the calling thread the lowest scheduling priority. Does nothing on systems other than Linux, where threads have no priority of
/// their own.
///
/// # Errors
/// The system call fails.
#[cfg(feature = "testing")]
pub fn lower_priority() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        #[allow(unsafe_code, reason = "takes and returns numbers")]
        // SAFETY: no pointers, no preconditions; 0 is the calling thread.
        let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Whether a process with this id exists.
#[must_use]
pub fn exists(pid: u32) -> bool {
    signal(pid, 0).map_or_else(|error| error.raw_os_error() == Some(libc::EPERM), |()| true)
}

/// Lets the kernel send the signal to the child when the thread that spawns it dies, so that no child outlives a killed parent. Spawn the
/// child from a thread that lives as long as the child should. Does nothing on systems other than Linux.
pub fn die_with_parent(command: &mut Command, signal: i32) {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt as _;
        let parent = libc::pid_t::try_from(std::process::id()).unwrap_or_default();
        #[allow(unsafe_code, reason = "prctl must be called between fork and exec")]
        // SAFETY: the closure makes two system calls that are safe after a fork, and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, signal) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // The parent may have died before the call of prctl.
                if libc::getppid() == parent { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
            });
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (command, signal);
}

/// Waits until the child has ended. Returns false if it has not after `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < until => std::thread::sleep(POLL),
            Ok(None) => return false,
            Ok(Some(_)) | Err(_) => return true,
        }
    }
}
