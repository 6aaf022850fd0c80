//! How a private server runs.

use std::{path::PathBuf, sync::Arc, time::Duration};

/// The superuser of a private server. Whoever can open its socket is this user.
pub(crate) const SUPERUSER: &str = "app";

/// How a private server runs.
#[derive(Clone)]
pub struct Options {
    /// Where `postgres` and `initdb` are; searched for when absent.
    pub bin_dir: Option<PathBuf>,
    /// Off only where the data may be lost with the machine.
    pub fsync: bool,
    pub max_connections: u32,
    /// How long a start may take, recovery after a crash included.
    pub start_limit: Duration,
    /// Told what takes a while.
    pub progress: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bin_dir: None,
            fsync: true,
            max_connections: 200,
            start_limit: Duration::from_secs(300),
            progress: Arc::new(|text| tracing::info!("{text}")),
        }
    }
}
