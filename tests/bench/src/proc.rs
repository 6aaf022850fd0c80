//! CPU time and memory of other processes, from `/proc`.

use std::{fs, str::FromStr, time::Duration};

/// The clock ticks per second in `/proc`, which is a constant of the kernel's interface.
const TICKS: f64 = 100.0;

/// The CPU time of a process so far; `None` without `/proc`.
pub(crate) fn cpu_of(pid: u32) -> Option<Duration> {
    Some(Stat::read(pid)?.own())
}

/// The CPU time of a process and of its children that have exited.
pub(crate) fn cpu_with_exited_children(pid: u32) -> Option<Duration> {
    let stat = Stat::read(pid)?;
    Some(stat.own() + stat.reaped())
}

/// The CPU time of the children of a process that have exited.
pub(crate) fn cpu_of_exited_children(pid: u32) -> Option<Duration> {
    Some(Stat::read(pid)?.reaped())
}

/// The CPU time of a PostgreSQL server: the postmaster, its exited children, and its running children.
pub(crate) fn cpu_of_postgres(postmaster: u32) -> Option<Duration> {
    let server = Stat::read(postmaster)?;
    let live: Duration = children_of(postmaster).into_iter().filter_map(cpu_of).sum();
    Some(server.own() + server.reaped() + live)
}

/// The CPU time of the calling thread so far; `None` without `/proc` or the statistics of the scheduler.
pub(crate) fn cpu_of_thread() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}

/// The resident memory of a process in bytes, including shared pages.
pub(crate) fn memory_of(pid: u32) -> Option<f64> {
    let kilobytes: f64 = number_in(&format!("/proc/{pid}/status"), "VmRSS:")?;
    Some(kilobytes * 1024.0)
}

/// The largest resident memory of a process so far, in bytes.
pub(crate) fn peak_of(pid: u32) -> Option<f64> {
    let kilobytes: f64 = number_in(&format!("/proc/{pid}/status"), "VmHWM:")?;
    Some(kilobytes * 1024.0)
}

/// The processes that a process has started and that run.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    all.filter(|child| Stat::read(*child).is_some_and(|stat| stat.parent == u64::from(pid))).collect()
}

/// The limit for open files of this process and its children.
pub(crate) fn open_files() -> Option<usize> {
    number_in("/proc/self/limits", "Max open files")
}

/// The first number after a word at the beginning of a line.
fn number_in<T: FromStr>(file: &str, word: &str) -> Option<T> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The used fields of `/proc/<pid>/stat`.
struct Stat {
    parent: u64,
    user: u64,
    system: u64,
    reaped_user: u64,
    reaped_system: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses can contain any character. The state and the parent follow it.
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        let number = |field: usize| fields.get(field)?.parse().ok();
        Some(Self { parent: number(1)?, user: number(11)?, system: number(12)?, reaped_user: number(13)?, reaped_system: number(14)? })
    }

    fn own(&self) -> Duration {
        time(self.user + self.system)
    }

    fn reaped(&self) -> Duration {
        time(self.reaped_user + self.reaped_system)
    }
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52 ticks")]
fn time(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / TICKS)
}
