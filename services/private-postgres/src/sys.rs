//! The system calls that the standard library does not offer, each in one safe function.

use std::{
    io,
    process::{Child, Command},
    time::{Duration, Instant},
};

const POLL: Duration = Duration::from_millis(20);

/// Whether this process is root, under which PostgreSQL refuses to run.
pub(crate) fn is_root() -> bool {
    #[allow(unsafe_code, reason = "takes nothing, returns a number and cannot fail")]
    // SAFETY: no pointers, no preconditions.
    let uid = unsafe { libc::geteuid() };
    uid == 0
}

/// Sends a signal to a process.
///
/// # Errors
/// There is no such process, or it is not ours.
pub fn signal(pid: u32, signal: i32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    #[allow(unsafe_code, reason = "takes and returns numbers")]
    // SAFETY: no pointers; a process that is not ours or not there is an error, not undefined.
    let result = unsafe { libc::kill(pid, signal) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives the calling thread the lowest priority. Elsewhere than on Linux, where threads have one of their own, nothing happens.
#[cfg(feature = "testing")]
///
/// # Errors
/// The system refuses.
pub fn give_way() -> io::Result<()> {
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

/// Whether a process of this number exists.
#[must_use]
pub fn exists(pid: u32) -> bool {
    signal(pid, 0).map_or_else(|error| error.raw_os_error() == Some(libc::EPERM), |()| true)
}

/// Lets the kernel send the signal to the child when the thread that spawns it dies, so that a killed parent leaves nothing
/// behind. Spawn it from a thread that lives as long as the child should. Where the kernel cannot do this, nothing happens.
pub fn die_with_parent(command: &mut Command, signal: i32) {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt as _;
        let parent = libc::pid_t::try_from(std::process::id()).unwrap_or_default();
        #[allow(unsafe_code, reason = "only code between fork and exec can ask for this")]
        // SAFETY: the closure makes two system calls that are safe after a fork, and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, signal) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // The parent may have died before the call above.
                if libc::getppid() == parent { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
            });
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (command, signal);
}

/// Waits for a child to end, at most this long.
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
