//! Allows one cluster per data folder. Two would share a private database that either of them stops.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};
use chassis::secret;
use tokio::time::{Instant, sleep};

/// How long to wait for the lock: a killed process holds it until the operating system has removed the process.
const WAIT_LIMIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// Held as long as the cluster runs. The operating system releases it when the process ends.
#[derive(Debug)]
pub(super) struct Lock(#[allow(dead_code, reason = "the open file is the lock")] File);

/// Locks the folder, if necessary after a short wait.
pub(super) async fn acquire(data: &Path) -> anyhow::Result<Lock> {
    let until = Instant::now() + WAIT_LIMIT;
    loop {
        match try_acquire(data) {
            Err(_) if Instant::now() < until => sleep(PAUSE).await,
            result => return result,
        }
    }
}

/// Locks the folder, which is created if absent.
fn try_acquire(data: &Path) -> anyhow::Result<Lock> {
    secret::make_data_dir(data).with_context(|| format!("cannot create the data folder {}", data.display()))?;
    let path = data.join("lock");
    let failed = || format!("cannot lock {}", path.display());
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).with_context(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let by = if holder.trim().is_empty() { String::new() } else { format!(" by process {}", holder.trim()) };
            bail!("{} is in use{by}: stop that cluster, or set another folder for this one with BACKLOT_DATA_DIR", data.display());
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
    }
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.with_context(failed)?;
    Ok(Lock(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_cluster_at_a_time() {
        let parent = tempfile::tempdir().expect("folder");
        let data = parent.path().join("data");
        let first = try_acquire(&data).expect("free");
        let refusal = try_acquire(&data).expect_err("in use").to_string();
        assert!(
            refusal.contains(&format!("is in use by process {}", std::process::id())) && refusal.contains("BACKLOT_DATA_DIR"),
            "{refusal}"
        );
        drop(first);
        try_acquire(&data).expect("free again");
    }
}
