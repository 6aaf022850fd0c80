//! One cluster per data folder: two would share a database that only one of them stops.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};
use chassis::secret;
use tokio::time::{Instant, sleep};

/// A process that was killed holds its folder until the system has cleared it away.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// Held as long as the cluster runs; the system lets go of it when the process dies in any way.
#[derive(Debug)]
pub(super) struct Lock(#[allow(dead_code, reason = "the open file is the lock")] File);

/// Takes the folder, if need be after a short wait.
pub(super) async fn take_soon(data: &Path) -> anyhow::Result<Lock> {
    let until = Instant::now() + PATIENCE;
    loop {
        match take(data) {
            Err(_) if Instant::now() < until => sleep(PAUSE).await,
            taken => return taken,
        }
    }
}

/// Takes the folder, which is made if absent.
fn take(data: &Path) -> anyhow::Result<Lock> {
    secret::make_data_dir(data).with_context(|| format!("cannot make the data folder {}", data.display()))?;
    let path = data.join("lock");
    let failed = || format!("cannot lock {}", path.display());
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).with_context(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let by = if holder.trim().is_empty() { String::new() } else { format!(" by process {}", holder.trim()) };
            bail!("{} is in use{by}: stop that cluster, or give this one a folder of its own with BACKLOT_DATA_DIR", data.display());
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
        let first = take(&data).expect("free");
        let refusal = take(&data).expect_err("taken").to_string();
        assert!(
            refusal.contains(&format!("is in use by process {}", std::process::id())) && refusal.contains("BACKLOT_DATA_DIR"),
            "{refusal}"
        );
        drop(first);
        take(&data).expect("free again");
    }
}
