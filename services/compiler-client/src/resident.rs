//! The resident memory of a worker. A process is limited to a number of addresses, which stacks reserve and hardly use, so its caller bounds what
//! is resident.

use std::{fs, future, time::Duration};

use tokio::time;

/// What a worker may have, in bytes.
pub(crate) const MAX_RESIDENT: u64 = 512 << 20;
/// How often it is read. The addresses of a worker bound what it can get meanwhile.
const INTERVAL: Duration = Duration::from_millis(20);

/// Returns when the process has had more than `limit` bytes. It does not return after the end of the process, and where the system does not say
/// how many there are.
pub(crate) async fn exceeded(process: Option<u32>, limit: u64) {
    let Some(process) = process else { return future::pending().await };
    let status = format!("/proc/{process}/status");
    while let Some(peak) = fs::read_to_string(&status).ok().as_deref().and_then(peak) {
        if peak > limit {
            return;
        }
        time::sleep(INTERVAL).await;
    }
    future::pending().await
}

/// The most bytes that were resident, of the status of a process. One that has ended has none.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_names_the_peak() {
        assert_eq!(peak("Name:\tx\nVmPeak:\t  900000 kB\nVmHWM:\t  1024 kB\nVmRSS:\t     512 kB\n"), Some(1 << 20));
        for none in ["", "Name:\tx\nState:\tZ (zombie)\n", "VmHWM:\tmany kB\n", "VmHWM:\t18446744073709551615 kB\n"] {
            assert_eq!(peak(none), None, "{none}");
        }
    }
}
