//! The system calls that the process may make besides those of computing.

use std::io;

use crate::filter::{self, ArgumentRule};

/// Connections, and waiting for them.
const CALLS: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

/// Sockets of the internet, flags of open files, and the names of threads, which they set themselves.
const ARGUMENTS: &[ArgumentRule] = &[
    (libc::SYS_socket, 0, &[libc::AF_INET, libc::AF_INET6]),
    (libc::SYS_fcntl, 1, &[libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL, libc::F_DUPFD_CLOEXEC]),
    (libc::SYS_prctl, 0, &[libc::PR_SET_NAME]),
];

/// Puts all threads of the process under the filter, for ever.
pub(super) fn enter() -> io::Result<()> {
    filter::enter(CALLS, ARGUMENTS)
}
