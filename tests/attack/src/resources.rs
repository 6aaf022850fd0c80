//! The memory and the descriptors of a process.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio_util::sync::CancellationToken;

/// The limit for connections and cache entries to be released.
const RELEASED_WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);
/// The tolerance for descriptors, which pools and background work open and close.
const FILES: usize = 16;
/// The tolerance for memory in bytes, which caches keep.
const MEMORY: u64 = 64 * 1024 * 1024;

#[derive(Debug, Clone, Copy, Default)]
pub struct Resources {
    pub files: usize,
    /// Bytes.
    pub memory: u64,
}

impl Resources {
    fn now(process: u32) -> Option<Self> {
        let files = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?.count();
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let kilobytes: u64 = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()?;
        Some(Self { files, memory: kilobytes * 1024 })
    }
}

/// Waits until the process uses no more resources than `before`. Returns the current ones.
///
/// # Errors
/// The resources are not released in time, or the process has exited.
pub async fn settled(process: u32, before: Option<Resources>) -> Result<Resources> {
    let until = Instant::now() + RELEASED_WITHIN;
    loop {
        let now = Resources::now(process).context("the process has exited")?;
        let Some(before) = before else { return Ok(now) };
        if now.files <= before.files + FILES && now.memory <= before.memory + MEMORY {
            return Ok(now);
        }
        ensure!(Instant::now() < until, "{now:?} {RELEASED_WITHIN:?} after the attack, {before:?} before it");
        tokio::time::sleep(POLL).await;
    }
}

/// Measures the peak of the resources.
pub struct Peak {
    most: Arc<Mutex<Resources>>,
    stop: CancellationToken,
    watching: tokio::task::JoinHandle<Option<()>>,
}

impl Peak {
    #[must_use]
    pub fn start(process: u32) -> Self {
        let (most, stop) = (Arc::new(Mutex::new(Resources::default())), CancellationToken::new());
        let noted = Arc::clone(&most);
        let watch = async move {
            loop {
                if let Some(now) = Resources::now(process) {
                    let mut most = noted.lock().unwrap_or_else(PoisonError::into_inner);
                    *most = Resources { files: most.files.max(now.files), memory: most.memory.max(now.memory) };
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let watching = chassis::task::spawn(stop.clone().run_until_cancelled_owned(watch));
        Self { most, stop, watching }
    }

    pub async fn stop(self) -> Resources {
        self.stop.cancel();
        let _ = self.watching.await;
        *self.most.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
