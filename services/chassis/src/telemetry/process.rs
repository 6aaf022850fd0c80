//! Metrics of the process, from `/proc` on Linux. On other systems there is only the uptime.

use std::{fs, sync::LazyLock, time::Instant};

use opentelemetry::global;

/// The start of the process. Telemetry is the first thing that it sets up.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Registers the instruments.
pub(super) fn observe() {
    LazyLock::force(&STARTED);
    let meter = global::meter("chassis");
    meter
        .f64_observable_gauge("process.uptime")
        .with_unit("s")
        .with_description("time since the process began")
        .with_callback(|gauge| gauge.observe(STARTED.elapsed().as_secs_f64(), &[]))
        .build();
    meter
        .u64_observable_gauge("process.memory.usage")
        .with_unit("By")
        .with_description("resident memory of the process")
        .with_callback(|gauge| {
            if let Some(bytes) = resident_bytes() {
                gauge.observe(bytes, &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("process.open_file_descriptor.count")
        .with_unit("{file_descriptor}")
        .with_description("open file descriptors of the process")
        .with_callback(|gauge| {
            if let Some(count) = open_descriptors() {
                gauge.observe(count, &[]);
            }
        })
        .build();
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

fn open_descriptors() -> Option<u64> {
    // Without the descriptor of the listing itself.
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(count.saturating_sub(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_descriptors_are_read_on_linux() {
        if cfg!(target_os = "linux") {
            assert!(resident_bytes().is_some_and(|bytes| bytes > 1024 * 1024));
            assert!(open_descriptors().is_some_and(|count| count >= 3));
        }
    }
}
