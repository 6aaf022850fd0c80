//! The options of a private server.

use std::{path::PathBuf, sync::Arc, time::Duration};

/// The superuser of a private server. A client of its socket needs no password.
pub(crate) const SUPERUSER: &str = "app";

/// The options of a private server.
#[derive(Clone)]
pub struct Options {
    /// The folder of `postgres` and `initdb`. By default the PATH and the usual folders are searched.
    pub bin_dir: Option<PathBuf>,
    /// May be off if the data may be lost when the machine crashes.
    pub fsync: bool,
    pub max_connections: u32,
    /// The limit for a start, including recovery after a crash.
    pub start_limit: Duration,
    /// Called with a message before a step that takes long.
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
