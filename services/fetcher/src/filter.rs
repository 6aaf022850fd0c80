//! A filter of system calls. What it does not allow fails with "operation not permitted".

use std::{collections::BTreeMap, io};

use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};

/// Reading and writing open streams, memory, locks of its own threads, time, random numbers, and the end.
const COMPUTING: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
];

/// A call with the number of an argument and the values that this may have.
pub type ArgumentRule = (i64, u8, &'static [libc::c_int]);

/// Puts all threads of the process under a filter, for ever. It allows what computing needs, `calls`, and those of `arguments`.
///
/// # Errors
/// The system has no such filters.
pub fn enter(calls: &[i64], arguments: &[ArgumentRule]) -> io::Result<()> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let mut rules: BTreeMap<_, _> = COMPUTING.iter().chain(calls).map(|call| (*call, Vec::new())).collect();
    // A full stack and a full memory end the process with a signal to itself.
    rules.insert(libc::SYS_tgkill, vec![rule(0, u64::from(std::process::id()))?]);
    for (call, argument, values) in arguments {
        let values = values.iter().map(|value| rule(*argument, u64::from(value.unsigned_abs())));
        rules.insert(*call, values.collect::<io::Result<_>>()?);
    }
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, architecture).map_err(io::Error::other)?;
    let program = BpfProgram::try_from(filter).map_err(io::Error::other)?;
    seccompiler::apply_filter_all_threads(&program).map_err(io::Error::other)
}

/// Allows a call whose argument has the value.
fn rule(argument: u8, value: u64) -> io::Result<SeccompRule> {
    let is_it = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).map_err(io::Error::other)?;
    SeccompRule::new(vec![is_it]).map_err(io::Error::other)
}
