//! The memory and descriptors that a process holds.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio_util::sync::CancellationToken;

/// Connections and caches end by themselves within this time.
const GONE_WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);
/// Descriptors that pools and background work open and close.
const FILES: usize = 16;
/// Memory that caches keep. The allocator gives back what nobody uses.
const MEMORY: u64 = 64 * 1024 * 1024;

#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    pub files: usize,
    /// Bytes.
    pub memory: u64,
}

impl Held {
    fn now(process: u32) -> Option<Self> {
        let files = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?.count();
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let kilobytes: u64 = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()?;
        Some(Self { files, memory: kilobytes * 1024 })
    }
}

/// Waits until the process holds no more than before, and returns what it holds.
///
/// # Errors
/// It is not given back in time, or the process has ended.
pub async fn settled(process: u32, before: Option<Held>) -> Result<Held> {
    let until = Instant::now() + GONE_WITHIN;
    loop {
        let now = Held::now(process).context("the process has ended")?;
        let Some(before) = before else { return Ok(now) };
        if now.files <= before.files + FILES && now.memory <= before.memory + MEMORY {
            return Ok(now);
        }
        ensure!(Instant::now() < until, "{now:?} is held {GONE_WITHIN:?} after the attack, {before:?} before it");
        tokio::time::sleep(POLL).await;
    }
}

/// The most that was held.
pub struct Peak {
    most: Arc<Mutex<Held>>,
    stop: CancellationToken,
    watching: tokio::task::JoinHandle<Option<()>>,
}

impl Peak {
    #[must_use]
    pub fn start(process: u32) -> Self {
        let (most, stop) = (Arc::new(Mutex::new(Held::default())), CancellationToken::new());
        let noted = Arc::clone(&most);
        let watch = async move {
            loop {
                if let Some(now) = Held::now(process) {
                    let mut most = noted.lock().unwrap_or_else(PoisonError::into_inner);
                    *most = Held { files: most.files.max(now.files), memory: most.memory.max(now.memory) };
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let watching = chassis::task::spawn(stop.clone().run_until_cancelled_owned(watch));
        Self { most, stop, watching }
    }

    pub async fn stop(self) -> Held {
        self.stop.cancel();
        let _ = self.watching.await;
        *self.most.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
